"""The journal of loads: what each has changed, whether it was judged by, told of, and scored.

Checkpoints say what is accounted for now; this says how it came to be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import ColumnElement, Connection, func, or_, select, update

from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from etl.warehouse import tables
from etl.warehouse.reading import driver_of
from etl.warehouse.tables import to_sql_range

_INSERT = """
INSERT INTO loads (series_id, span, run, rows, new, revised, absent, quarantined, is_judged, is_announced,
    is_scored, is_history)
VALUES (%(series_id)s, tstzrange(%(start)s, %(end)s), %(run)s, %(rows)s, %(new)s, %(revised)s, %(absent)s,
    %(quarantined)s, false, %(is_announced)s, %(new)s + %(revised)s = 0, %(is_history)s)
RETURNING pg_current_xact_id()::text
"""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Changes of a load.

    Attributes:
        rows: Candles that the range holds from now on.
        new: Those that were not stored before.
        revised: Those that the exchange had changed.
        absent: Expected and not held.
        quarantined: Rows that this load refused, known ones among them.
    """

    rows: int
    new: int
    revised: int
    absent: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class LoggedLoad:
    """A load in the journal.

    Attributes:
        is_history: Whether it was a backfill or a repair: of what it brought nobody is told.
    """

    id: int
    series: Series
    time_range: TimeRange
    run: str
    report: LoadReport
    loaded_at: datetime
    is_history: bool


def write_load(
    connection: Connection,
    series_id: int,
    time_range: TimeRange,
    run: str,
    report: LoadReport,
    *,
    is_announced: bool,
    is_history: bool,
) -> psycopg.Cursor[tuple[Any, ...]]:
    """Write a load into the journal, still to be judged by, and to be scored if it has changed anything.

    Returns:
        What answers with the number of the transaction.
    """
    facts = {"series_id": series_id, "start": time_range.start, "end": time_range.end, "run": run, **asdict(report)}
    return driver_of(connection).execute(_INSERT, {**facts, "is_announced": is_announced, "is_history": is_history})


def find_load(connection: Connection, series: Series, time_range: TimeRange, run: str) -> LoggedLoad | None:
    """Return the latest load of just that range by that run, if there was one."""
    own = tables.loads.c
    found = _read(connection, _is(series), own.span == to_sql_range(time_range), own.run == run)
    return found[-1] if found else None


def last_load(connection: Connection) -> int:
    """Return the number of the latest load of any series; 0 if there was none. Later loads have higher numbers."""
    return int(connection.execute(select(func.coalesce(func.max(tables.loads.c.id), 0))).scalar_one())


def loaded_since(connection: Connection, series: Series, last: int) -> list[TimeRange]:
    """Return the ranges of a series that were loaded after the load of number `last`."""
    return [load.time_range for load in _read(connection, _is(series), tables.loads.c.id > last)]


def unjudged_loads(connection: Connection, exchange: str | None = None) -> list[LoggedLoad]:
    """Return the loads since which no absence was judged, of one exchange or of all."""
    of_exchange = [] if exchange is None else [tables.series.c.exchange == exchange]
    return _read(connection, ~tables.loads.c.is_judged, *of_exchange)


def unannounced_loads(connection: Connection) -> list[LoggedLoad]:
    """Return the loads that changed something and that nobody was told of."""
    return _read(connection, ~tables.loads.c.is_announced)


def unscored_loads(connection: Connection, series: Series | None = None) -> list[LoggedLoad]:
    """Return the loads that changed something and that no model has judged, of one series or of all."""
    of_series = [] if series is None else [_is(series)]
    return _read(connection, ~tables.loads.c.is_scored, *of_series)


def loads_within(connection: Connection, series: Series, time_range: TimeRange) -> list[LoggedLoad]:
    """Return the loads of a series that overlap a range."""
    return _read(connection, _is(series), tables.loads.c.span.op("&&")(to_sql_range(time_range)))


def mark_scored(connection: Connection, loads: Iterable[LoggedLoad]) -> None:
    """Note that a model has judged what these loads brought."""
    own = tables.loads
    connection.execute(update(own).where(own.c.id.in_([load.id for load in loads])).values(is_scored=True))


def mark_judged(connection: Connection, loads: Iterable[LoggedLoad]) -> None:
    """Note that absences were judged by what these loads brought."""
    own = tables.loads
    connection.execute(update(own).where(own.c.id.in_([load.id for load in loads])).values(is_judged=True))


def mark_unjudged(connection: Connection, series: Series, time_ranges: Iterable[TimeRange]) -> None:
    """Note that the absences of a series are still to be judged by its loads that overlap the ranges."""
    own = tables.loads
    overlap = or_(*(own.c.span.op("&&")(to_sql_range(one)) for one in time_ranges))
    of_series = own.c.series_id == select(tables.series.c.id).where(_is(series)).scalar_subquery()
    connection.execute(update(own).where(of_series, overlap).values(is_judged=False))


def mark_announced(connection: Connection, loads: Iterable[LoggedLoad]) -> None:
    """Note that these loads were told of."""
    own = tables.loads
    connection.execute(update(own).where(own.c.id.in_([load.id for load in loads])).values(is_announced=True))


def _is(series: Series) -> ColumnElement[bool]:
    own = tables.series.c
    return (own.exchange == series.exchange) & (own.symbol == series.symbol) & (own.timeframe == series.timeframe.value)


def _read(connection: Connection, *conditions: ColumnElement[bool]) -> list[LoggedLoad]:
    loads, series = tables.loads, tables.series
    query = select(loads, series.c.exchange, series.c.symbol, series.c.timeframe).join(series).where(*conditions)
    return [
        LoggedLoad(
            row.id,
            Series(row.exchange, row.symbol, Timeframe(row.timeframe)),
            TimeRange(row.span.lower, row.span.upper),
            row.run,
            LoadReport(row.rows, row.new, row.revised, row.absent, row.quarantined),
            row.loaded_at,
            row.is_history,
        )
        for row in connection.execute(query.order_by(loads.c.id))
    ]
