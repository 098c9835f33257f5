"""Incidents in the warehouse: found, found again, changed, closed; what people said of them; and how it came to that.

Whoever finds incidents of a series holds it by `lock_scores`. Each change is on record.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from etl.errors import ConfigError
from etl.incidents import (
    Detector,
    Evidence,
    Found,
    Incident,
    IncidentState,
    Kind,
    Scope,
    Severity,
)
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from etl.warehouse import tables
from etl.warehouse.holding import ensure_series
from etl.warehouse.incident_tables import incident_changes, incidents
from etl.warehouse.tables import to_sql_range

_LOCK_SPACE = 0x43485343  # apart from the locks of loads: candles may be stored while others are scored


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """What became of an incident, and when."""

    change: str
    detail: str
    run: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Wish:
    """Which incidents to list; what is None or empty keeps none out.

    Attributes:
        time_range: They overlap it.
    """

    series: Sequence[Series] = ()
    time_range: TimeRange | None = None
    severity: Severity | None = None
    kinds: Collection[Kind] = ()
    scope: Scope | None = None
    states: Collection[IncidentState] = ()
    is_history: bool | None = None
    is_acknowledged: bool | None = None
    is_false: bool | None = None


def lock_scores(connection: Connection, series: Series) -> int:
    """Wait until nobody else changes scores and incidents of a series, and keep others out until the transaction ends.

    Returns:
        The number of the series.
    """
    series_id = ensure_series(connection, series)
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK_SPACE, series_id)))
    return series_id


def list_incidents(connection: Connection, wish: Wish, limit: int | None = None) -> list[Incident]:
    """Return incidents, the latest peak first."""
    query = _select().where(*_conditions(wish)).order_by(incidents.c.peak.desc(), incidents.c.id.desc()).limit(limit)
    return [_to_incident(row) for row in connection.execute(query)]


def find_incident(connection: Connection, incident_id: int) -> Incident:
    """Return the incident of that number.

    Raises:
        ConfigError: There is none.
    """
    row = connection.execute(_select().where(incidents.c.id == incident_id)).one_or_none()
    if row is None:
        raise ConfigError(f"there is no incident {incident_id}; see chandler incidents")
    return _to_incident(row)


def incidents_within(
    connection: Connection, series_id: int, detector: Detector, time_range: TimeRange
) -> list[Incident]:
    """Return what a detector has found in a series that overlaps a range, withdrawn ones too, the oldest first."""
    own = incidents.c
    query = _select().where(
        own.series_id == series_id,
        own.detector == detector.value,
        own.span.op("&&")(to_sql_range(time_range)),
    )
    return [_to_incident(row) for row in connection.execute(query.order_by(own.id))]


def open_incident(connection: Connection, series_id: int, found: Found, run: str, *, is_history: bool) -> int:
    """Write a new incident; return its number."""
    state, reason = _state_of(found, is_new=True)
    values = {**_values(found), "state": state.value, "reason": reason, "is_history": is_history}
    written = insert(incidents).values(series_id=series_id, **values).returning(incidents.c.id)
    number = int(connection.execute(written).scalar_one())
    _log(connection, number, "opened", _gist(found), run)
    if state is IncidentState.CLOSED:
        _log(connection, number, "closed", reason, run)
    return number


def update_incident(connection: Connection, known: Incident, found: Found, run: str, *, is_history: bool) -> bool:
    """Make an incident what it was found to be now; nothing is written if it is that already.

    Args:
        is_history: Whether what was found now is; an incident that is news stays news.

    Returns:
        Whether anything has changed.
    """
    state, reason = _state_of(found, is_new=False)
    is_history = is_history and known.is_history
    if found == known.found and is_history == known.is_history and known.state is not IncidentState.WITHDRAWN:
        return False
    changes = {**_values(found), "state": state.value, "reason": reason, "is_history": is_history}
    own = incidents.c
    connection.execute(update(incidents).where(own.id == known.id).values(**changes, updated_at=_now()))
    _log(connection, known.id, state.value, _difference(known.found, found), run)
    return True


def withdraw_incident(connection: Connection, known: Incident, reason: str, run: str) -> bool:
    """Note that there is no such incident after all; return whether that is news."""
    if known.state is IncidentState.WITHDRAWN:
        return False
    changes = {"state": IncidentState.WITHDRAWN.value, "reason": reason, "updated_at": _now()}
    connection.execute(update(incidents).where(incidents.c.id == known.id).values(**changes))
    _log(connection, known.id, "withdrawn", reason, run)
    return True


def acknowledge(connection: Connection, incident_id: int, note: str, run: str) -> Incident:
    """Note that a person has seen an incident; again changes the note alone.

    Raises:
        ConfigError: There is none of that number.
    """
    known = find_incident(connection, incident_id)
    own = incidents.c
    changes = {"acknowledged_at": func.coalesce(own.acknowledged_at, _now()), "note": note or known.note}
    connection.execute(update(incidents).where(own.id == incident_id).values(**changes))
    _log(connection, incident_id, "acknowledged", note, run)
    return find_incident(connection, incident_id)


def judge_incident(connection: Connection, incident_id: int, note: str, run: str, *, is_false: bool | None) -> Incident:
    """Note what a person says of an incident: a false alarm, a true one, or (None) nothing any more.

    Raises:
        ConfigError: There is none of that number.
    """
    known = find_incident(connection, incident_id)
    own = incidents.c
    changes = {"is_false": is_false, "note": note or known.note}
    acknowledged = {"acknowledged_at": func.coalesce(own.acknowledged_at, _now())}
    connection.execute(update(incidents).where(own.id == incident_id).values(**changes, **acknowledged))
    said = {True: "false alarm", False: "true alarm", None: "judgement taken back"}[is_false]
    _log(connection, incident_id, said, note, run)
    return find_incident(connection, incident_id)


def read_incident_changes(connection: Connection, incident_id: int) -> list[IncidentChange]:
    """Return what became of an incident, the earliest first."""
    own = incident_changes.c
    rows = connection.execute(select(incident_changes).where(own.incident_id == incident_id).order_by(own.id))
    return [IncidentChange(row.change, row.detail, row.run, row.changed_at) for row in rows]


def log_incident_change(connection: Connection, incident_id: int, change: str, detail: str, run: str) -> None:
    """Put on record what became of an incident."""
    _log(connection, incident_id, change, detail, run)


def _state_of(found: Found, *, is_new: bool) -> tuple[IncidentState, str]:
    if found.is_over:
        return IncidentState.CLOSED, "over: nothing strange came after it"
    return (IncidentState.OPEN if is_new else IncidentState.UPDATED), "it may go on"


def _gist(found: Found) -> str:
    return f"{found.kind} ({found.scope}, {found.severity}) {found.time_range}"


def _difference(before: Found, after: Found) -> str:
    names = ("time_range", "peak", "kind", "scope", "severity", "is_over", "model_id", "score", "evidence")
    changed = [name for name in names if getattr(before, name) != getattr(after, name)]
    return f"{_gist(after)}; changed: {', '.join(changed) or 'nothing of it'}"


def _log(connection: Connection, incident_id: int, change: str, detail: str, run: str) -> None:
    values = {"incident_id": incident_id, "change": change, "detail": detail, "run": run}
    connection.execute(insert(incident_changes).values(values))


def _now() -> Any:
    return func.clock_timestamp()


def _values(found: Found) -> dict[str, Any]:
    return {
        "detector": found.detector.value,
        "span": to_sql_range(found.time_range),
        "peak": found.peak,
        "kind": found.kind.value,
        "scope": found.scope.value,
        "severity": found.severity.value,
        "score": found.score,
        "once_in_days": found.once_in_days,
        "model_id": found.model_id,
        "evidence": found.evidence.to_json(),
    }


def _select() -> Any:
    models, series = tables.models.c, tables.series.c
    return (
        select(
            incidents,
            series.exchange,
            series.symbol,
            series.timeframe,
            models.timeframe.label("model_timeframe"),
            models.scope.label("model_scope"),
            models.version.label("model_version"),
        )
        .join(tables.series, tables.series.c.id == incidents.c.series_id)
        .join(tables.models, tables.models.c.id == incidents.c.model_id, isouter=True)
    )


def _conditions(wish: Wish) -> list[ColumnElement[bool]]:
    own, series = incidents.c, tables.series.c
    found: list[ColumnElement[bool]] = []
    if wish.series:
        keys = [(one.exchange, one.symbol, one.timeframe.value) for one in wish.series]
        found.append(func.row(series.exchange, series.symbol, series.timeframe).in_([func.row(*key) for key in keys]))
    if wish.time_range is not None:
        found.append(own.span.op("&&")(to_sql_range(wish.time_range)))
    if wish.severity is not None:
        enough = [one.value for one in Severity if one.rank >= wish.severity.rank]
        found.append(own.severity.in_(enough))
    if wish.kinds:
        found.append(own.kind.in_([kind.value for kind in wish.kinds]))
    if wish.scope is not None:
        found.append(own.scope == wish.scope.value)
    if wish.states:
        found.append(own.state.in_([state.value for state in wish.states]))
    if wish.is_history is not None:
        found.append(own.is_history == wish.is_history)
    if wish.is_acknowledged is not None:
        found.append(own.acknowledged_at.is_not(None) if wish.is_acknowledged else own.acknowledged_at.is_(None))
    if wish.is_false is not None:
        found.append(own.is_false.is_(wish.is_false))
    return found


def _to_incident(row: Row[Any]) -> Incident:
    state = IncidentState(row.state)
    found = Found(
        series=Series(row.exchange, row.symbol, Timeframe(row.timeframe)),
        detector=Detector(row.detector),
        time_range=TimeRange(row.span.lower, row.span.upper),
        peak=row.peak,
        kind=Kind(row.kind),
        scope=Scope(row.scope),
        severity=Severity(row.severity),
        evidence=Evidence.from_json(row.evidence),
        is_over=state in {IncidentState.CLOSED, IncidentState.WITHDRAWN},
        score=row.score,
        once_in_days=row.once_in_days,
        model_id=row.model_id,
    )
    target = None
    if row.model_id is not None:
        target = row.model_timeframe if row.model_scope == "all" else row.model_scope
    return Incident(
        id=row.id,
        found=found,
        state=state,
        reason=row.reason,
        model=None if target is None else f"{target}/{row.model_version}",
        is_history=row.is_history,
        opened_at=row.opened_at,
        updated_at=row.updated_at,
        acknowledged_at=row.acknowledged_at,
        is_false=row.is_false,
        note=row.note,
        opinion=row.opinion,
    )
