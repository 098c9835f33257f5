"""Incidents as they are listed and looked up in the warehouse; `etl.warehouse.incidents` writes them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Text,
    any_,
    case,
    cast,
    false,
    func,
    literal,
    select,
)

from etl.errors import ConfigError
from etl.incidents import Detector, Evidence, Found, Incident, IncidentState, Kind, Scope, Severity
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from etl.warehouse import tables
from etl.warehouse.incident_tables import incidents
from etl.warehouse.tables import to_sql_range


@dataclass(frozen=True, slots=True)
class Wish:
    """Filter of the incidents to list; what is None or empty keeps none out.

    Attributes:
        series: They are of one of these; of none, if it is empty, and of any, if it is None.
        time_range: They overlap it.
    """

    series: Collection[Series] | None = None
    time_range: TimeRange | None = None
    severity: Severity | None = None
    kinds: Collection[Kind] = ()
    scope: Scope | None = None
    states: Collection[IncidentState] = ()
    is_history: bool | None = None
    is_acknowledged: bool | None = None
    is_false: bool | None = None


def list_incidents(connection: Connection, wish: Wish, limit: int | None = None, offset: int = 0) -> list[Incident]:
    """Return incidents, the latest peak first, without the first `offset` of them."""
    query = _select().where(*_conditions(wish)).order_by(incidents.c.peak.desc(), incidents.c.id.desc())
    query = query.limit(limit).offset(offset)
    return [_to_incident(row) for row in connection.execute(query)]


def count_incidents(connection: Connection, wish: Wish) -> int:
    """Return how many incidents there are of that kind."""
    own, series = incidents.c, tables.series.c
    query = select(func.count()).select_from(incidents).join(tables.series, series.id == own.series_id)
    return connection.execute(query.where(*_conditions(wish))).scalar_one()


def find_incident(connection: Connection, incident_id: int) -> Incident:
    """Return the incident of that number.

    Raises:
        ConfigError: There is none.
    """
    row = connection.execute(_select().where(incidents.c.id == incident_id)).one_or_none()
    if row is None:
        raise ConfigError(f"there is no incident {incident_id}; see chandler incidents")
    return _to_incident(row)


def incidents_by_id(connection: Connection, ids: Collection[int]) -> dict[int, Incident]:
    """Return incidents by their number."""
    rows = connection.execute(_select().where(incidents.c.id == any_(literal(list(ids), ARRAY(BigInteger)))))
    return {row.id: _to_incident(row) for row in rows}


def incidents_opened(connection: Connection, time_range: TimeRange) -> list[Incident]:
    """Return the incidents that were opened in a range and are no history, the earliest first."""
    own = incidents.c
    query = _select().where(
        own.opened_at >= time_range.start, own.opened_at < time_range.end, own.is_history.is_(False)
    )
    return [_to_incident(row) for row in connection.execute(query.order_by(own.id))]


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


def is_one_of(series: Collection[Series]) -> ColumnElement[bool]:
    """Return the condition that a row of the table `series` is one of these."""
    own = tables.series.c
    keys = [func.row(one.exchange, one.symbol, one.timeframe.value) for one in series]
    return func.row(own.exchange, own.symbol, own.timeframe).in_(keys) if keys else false()


def model_name() -> ColumnElement[str]:
    """Return what people call a row of the table `models`: `1m/3`, or `binance:BTC/USDT:1m/3`; null for none."""
    own = tables.models.c
    return case((own.scope == "all", own.timeframe), else_=own.scope) + "/" + cast(own.version, Text)


def _select() -> Any:
    series = tables.series.c
    return (
        select(
            incidents,
            series.exchange,
            series.symbol,
            series.timeframe,
            model_name().label("model"),
        )
        .join(tables.series, tables.series.c.id == incidents.c.series_id)
        .join(tables.models, tables.models.c.id == incidents.c.model_id, isouter=True)
    )


def _conditions(wish: Wish) -> list[ColumnElement[bool]]:
    own = incidents.c
    found: list[ColumnElement[bool]] = []
    if wish.series is not None:
        found.append(is_one_of(wish.series))
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
    return Incident(
        id=row.id,
        found=found,
        state=state,
        reason=row.reason,
        model=row.model,
        is_history=row.is_history,
        opened_at=row.opened_at,
        updated_at=row.updated_at,
        acknowledged_at=row.acknowledged_at,
        is_false=row.is_false,
        note=row.note,
        opinion=row.opinion,
    )
