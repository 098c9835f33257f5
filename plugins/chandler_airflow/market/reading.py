"""Requests of the market page: read from the warehouse, and answered as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import Response
from sqlalchemy import Connection

from chandler_airflow.market.access import ABOUT_ALL, HISTORY, INGEST, Access
from chandler_airflow.market.answers import AskedDay, AskedMoment, as_json, to_days, to_range, to_series
from chandler_airflow.market.gate import SeenSeries, Viewer, may_look, may_see_models
from chandler_airflow.market.warehouse import known_settings, reading
from etl.coarse import read_coarse
from etl.coverage import read_coverage
from etl.days import read_day, read_series
from etl.errors import ConfigError
from etl.incidents import Incident, IncidentState, Kind, Scope, Severity
from etl.marks import read_marks
from etl.series import Series, utc_day
from etl.settings import Settings
from etl.spelling import counted, once_in
from etl.traffic import read_traffic
from etl.warehouse import Wish, count_incidents, find_incident, known_series, list_incidents, read_champions

router = APIRouter(prefix="/api", dependencies=[Depends(may_look)])

_SHOWN_DAYS = 730
_SHOWN_NIGHTS = 90
_MOST_INCIDENTS = 200


@router.get("/me")
def show_me(access: Viewer) -> Response:
    """Say who is logged in, and what is wrong in feeds.toml."""
    faults = [str(fault) for fault in known_settings().faults if access.sees_fault(fault)]
    return as_json({"name": access.name, "faults": faults})


@router.get("/series")
def show_series(access: Viewer) -> Response:
    """List the series that the user may see, each with its feeds and with those of the same asset elsewhere."""
    from models.siblings import siblings_of

    with reading() as (connection, settings):
        found = {Series.parse(one.series): one for one in read_series(connection)}
    known = access.seen(found)
    return as_json(
        [
            asdict(found[one])
            | {"exchange": one.exchange, "symbol": one.symbol, "timeframe": one.timeframe}
            | {"feeds": _feeds(settings, one), "siblings": [str(other) for other in siblings_of(one, known)]}
            for one in known
        ]
    )


@router.get("/coverage")
def show_coverage(
    access: Viewer, start: AskedDay | None = None, end: AskedDay | None = None, dag: str | None = None
) -> Response:
    """Say of each day of each series what is held and what not; of a DAG's series alone if it has some."""
    days = to_days(start, end, usual=_SHOWN_DAYS, today=datetime.now(UTC).date())
    with reading() as (connection, settings):
        of_dag, known = _series_of(settings, dag), known_series(connection)
        wanted = known if of_dag is None else [one for one in of_dag if one in known]
        found = read_coverage(connection, days, set(access.seen(wanted)))
    return as_json({"start": days.start.date(), "days": (days.end - days.start).days, "series": found})


@router.get("/day")
def show_day(series: SeenSeries, day: AskedDay, access: Viewer) -> Response:
    """Give the account of one day, with the DAGs that could load it again."""
    with reading() as (connection, settings):
        account = read_day(connection, series, day)
        found = list_incidents(connection, Wish([series], time_range=utc_day(day)), _MOST_INCIDENTS)
    feeds = [
        {"dag_id": INGEST + name, "history_dag_id": HISTORY + name, "start": settings.feeds[name].start.date()}
        for name in _feeds(settings, series)
    ]
    told = {"feeds": feeds, "incidents": [incident_json(one, access) for one in found]}
    return as_json(asdict(account) | told | {"may_act": access.acts_on(series)})


@router.get("/candles")
def show_candles(
    series: SeenSeries,
    start: AskedMoment,
    end: AskedMoment,
    most: Annotated[int, Query(ge=10, le=5000)] = 1500,
    as_of: AskedMoment | None = None,
) -> Response:
    """Give candles of a range, so wide that there are not too many; as they stood at a moment if that is asked."""
    with reading() as (connection, _):
        return as_json(read_coarse(connection, series, to_range(start, end), most, as_of))


@router.get("/marks")
def show_marks(series: SeenSeries, start: AskedMoment, end: AskedMoment) -> Response:
    """Give what stands out in a range: anomalies, incidents, absences, revisions."""
    with reading() as (connection, _):
        return as_json(read_marks(connection, series, to_range(start, end)))


@router.get("/incidents")
def show_incidents(  # noqa: PLR0913  # a filter each
    access: Viewer,
    series: str | None = None,
    severity: Severity | None = None,
    kind: Kind | None = None,
    scope: Scope | None = None,
    state: IncidentState | None = None,
    history: bool | None = None,
    acknowledged: bool | None = None,
    false: bool | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """List incidents, the latest first."""
    asked = [to_series(series)] if series else None
    wish = Wish(
        severity=severity,
        kinds=[kind] if kind else (),
        scope=scope,
        states=[state] if state else (),
        is_history=history,
        is_acknowledged=acknowledged,
        is_false=false,
    )
    from models.readiness import why_no_model

    with reading() as (connection, settings):
        wish = replace(wish, series=seen_of(connection, asked, access))
        found, total = list_incidents(connection, wish, limit, offset), count_incidents(connection, wish)
        reason = None if total or read_champions(connection) else why_no_model(connection, settings.models)
    if offset >= max(total, 1):
        raise HTTPException(422, f"offset={offset} is beyond the last of {counted(total, 'incident')}; begin at 0")
    choices = {"kind": list(Kind), "severity": list(Severity), "scope": list(Scope), "state": list(IncidentState)}
    told = [incident_json(one, access) for one in found]
    return as_json({"total": total, "incidents": told, "choices": choices, "next": reason})


@router.get("/models", dependencies=[Depends(may_see_models)])
def show_models() -> Response:
    """List the models of the latest nights: who judges, how each compared, and why it is where it is."""
    from models.readiness import why_no_model
    from models.registry import State, latest_models
    from models.show import model_json, summary_of

    with reading() as (connection, settings):
        found, more = latest_models(connection, _SHOWN_NIGHTS)
        champions = [model.id for model in found if model.state is State.CHAMPION]
        reason = None if champions else why_no_model(connection, settings.models)
    left_out = {"metrics", "environment", "data_hash", "sha256"}
    told = [
        {name: value for name, value in model_json(model).items() if name not in left_out}
        | {"name": model.name, "metrics": summary_of(model)}
        for model in found
    ]
    return as_json({"models": told, "more": more, "champions": champions, "next": reason})


@router.get("/exchanges")
def show_exchanges(access: Viewer) -> Response:
    """Say how the exchanges have answered, and what of their budget is spent."""
    with reading() as (connection, settings):
        traffic = read_traffic(connection, settings, datetime.now(UTC))
    return as_json({"exchanges": [one for one in traffic if access.sees_exchange(one.exchange)]})


def seen_of(connection: Connection, asked: Sequence[Series] | None, access: Access) -> Sequence[Series] | None:
    """Return those series of `asked`, or of all, that the user may see; None for all without exception.

    Raises:
        HTTPException: 403, one of `asked` is none of them.
    """
    if asked is not None:
        for one in asked:
            access.check_sees(one)
        return asked
    return None if access.sees_all else access.seen(known_series(connection))


def seen_incident(connection: Connection, number: int, access: Access) -> Incident:
    """Return an incident that the user may see.

    Raises:
        HTTPException: 404, there is none of that number, or it is none of theirs.
    """
    with suppress(ConfigError):
        incident = find_incident(connection, number)
        if access.sees(incident.found.series):
            return incident
    raise HTTPException(404, f"there is no incident {number} that you may see; see chandler incidents")


def incident_json(incident: Incident, access: Access) -> Mapping[str, Any]:
    """Return what a list shows of an incident, and whether the user may judge it."""
    found = incident.found
    return {
        "id": incident.id,
        "series": str(found.series),
        "start": found.time_range.start,
        "end": found.time_range.end,
        "peak": found.peak,
        "kind": found.kind,
        "scope": found.scope,
        "severity": found.severity,
        "state": incident.state,
        "reason": incident.reason,
        "is_history": incident.is_history,
        "opened_at": incident.opened_at,
        "updated_at": incident.updated_at,
        "acknowledged_at": incident.acknowledged_at,
        "is_false": incident.is_false,
        "note": incident.note,
        "may_act": access.acts_on(found.series),
        "once_in_days": found.once_in_days,
        "once_in": once_in(found.once_in_days),
        "score": found.score,
        "move_pct": found.evidence.move_pct,
    }


def _feeds(settings: Settings, series: Series) -> list[str]:
    return [name for name, feed in settings.feeds.items() if feed.has(series)]


def _series_of(settings: Settings, dag: str | None) -> Iterable[Series] | None:
    """Return the series of a DAG that loads some; None for one that is about all.

    Raises:
        HTTPException: 404, it is none of ours.
    """
    if dag is None or dag in ABOUT_ALL:
        return None
    for prefix in (INGEST, HISTORY):
        if dag.startswith(prefix) and (feed := settings.feeds.get(dag.removeprefix(prefix))):
            return feed.series
    raise HTTPException(404, f"DAG {dag!r} loads no series: no feed of {settings.path} has a DAG of that name")
