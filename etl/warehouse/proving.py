"""Rows of the tables that an audit holds against each other, besides candles, absences and checkpoints."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, Connection, Date, Select, cast, func, select, text

from etl.schema import UNLOADED, AbsenceKind, Origin
from etl.series import TimeRange
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import tables
from etl.warehouse.quarantine import may_open_in

REBUILT = "rebuilt from the archive"
"""The run of what was accounted for anew when the warehouse was lost, revisions and quarantine with it."""

# Each value stands until the next one, the last until the present one. An earlier version did not keep since when.
_CHAINS = """
WITH chain AS (
    SELECT open_time, old.revision, old.stored_at, old.replaced_at, candles.stored_at AS current,
           row_number() OVER in_order AS place,
           CASE WHEN lead(old.revision) OVER in_order IS NULL THEN candles.stored_at
                ELSE nullif(lead(old.stored_at) OVER in_order, '-infinity') END AS following
    FROM candle_revisions old LEFT JOIN candles USING (series_id, open_time)
    WHERE series_id = :series_id AND open_time >= :start AND open_time < :end
    WINDOW in_order AS (PARTITION BY open_time ORDER BY old.revision)
)
SELECT open_time,
       bool_or(current IS NULL) AND NOT EXISTS (
           SELECT 1 FROM checkpoints WHERE series_id = :series_id AND is_retired
           AND range_start <= open_time AND range_end > open_time
       ) AS is_alone,
       bool_or(revision <> place) AS has_gaps,
       coalesce(bool_or(stored_at > replaced_at OR following < replaced_at
                        OR (following > replaced_at AND stored_at <> '-infinity')), false) AS is_torn
FROM chain GROUP BY open_time ORDER BY open_time
"""


def unloaded_ranges(
    connection: Connection, series_id: int, kinds: Collection[AbsenceKind] = (*UNLOADED, AbsenceKind.REFUSED)
) -> list[TimeRange]:
    """Return the ranges that are recorded without a checkpoint: ascending, disjoint, and not touching each other.

    They are unfetched, not requested, or refused; a checkpoint may cover what is refused.
    """
    own = tables.absences.c
    united = select(func.unnest(func.range_agg(own.span)).label("span"))
    wanted = own.kind.in_([kind.value for kind in kinds])
    found = connection.execute(united.where(own.series_id == series_id, wanted))
    return [TimeRange(row.span.lower, row.span.upper) for row in found]


def span_of_absences(connection: Connection, series_id: int) -> TimeRange | None:
    """Return the range from the first absent candle to the last one; None if there is none."""
    own = tables.absences.c
    bounds = select(func.min(func.lower(own.span)), func.max(func.upper(own.span))).where(own.series_id == series_id)
    first, end = connection.execute(bounds).one()
    return None if first is None else TimeRange(first, end)


def count_refused(connection: Connection, series_id: int, time_range: TimeRange) -> dict[date, dict[str, int]]:
    """Return how many rows of each day each rule has refused, those that were released left out."""
    own = tables.quarantine.c
    day = cast(func.timezone("UTC", own.open_time), Date)
    query = select(day, own.rule, func.count()).where(own.series_id == series_id, own.state != "released")
    query = query.where(own.open_time >= time_range.start, own.open_time < time_range.end).group_by(day, own.rule)
    counted: dict[date, dict[str, int]] = {}
    for at, rule, count in connection.execute(query):
        counted.setdefault(at, {})[rule] = count
    return counted


def count_undated(connection: Connection, series_id: int) -> dict[str, int]:
    """Return how many rows that state no time each rule has refused: no day has them."""
    own = tables.quarantine.c
    query = select(own.rule, func.count()).where(own.series_id == series_id, own.open_time.is_(None))
    return {rule: count for rule, count in connection.execute(query.group_by(own.rule).order_by(own.rule))}


def revised_times(connection: Connection, series_id: int, time_range: TimeRange) -> NDArray[np.int64]:
    """Return when candles open that have earlier values, once for each: milliseconds since the epoch, ascending."""
    own = tables.candle_revisions.c
    return _times(connection, select(own.open_time).where(own.series_id == series_id), own.open_time, time_range)


def released_times(
    connection: Connection, series_id: int, timeframe: Timeframe, time_range: TimeRange
) -> NDArray[np.int64]:
    """Return the slots of rows that a person has released, on the grid or off it: milliseconds, ascending."""
    own = tables.quarantine.c
    query = select(own.open_time).where(own.series_id == series_id, own.state == "released")
    times = _times(connection, query, own.open_time, time_range)
    return times // timeframe.ms * timeframe.ms


@dataclass(frozen=True, slots=True)
class UnreleasedRow:
    """A refused row that nobody has released, as an absence in its place is told by it.

    Attributes:
        times_ms: When it may open, milliseconds since the epoch; two where it does not tell which.
        origin: How it reached us; rows of an earlier version count as the API's.
    """

    times_ms: tuple[int, ...]
    rule: str
    evidence: str
    origin: int


def refused_rows(connection: Connection, series_id: int, time_range: TimeRange) -> list[UnreleasedRow]:
    """Return the rows of a range, or that may be of it, that nobody has released, the oldest refusal first."""
    own = tables.quarantine.c
    origin = func.coalesce(own.source, int(Origin.API))
    columns = (own.open_time, own.later_open_time, own.rule, own.evidence, origin)
    query = select(*columns).where(own.series_id == series_id, own.state != "released", may_open_in(time_range))
    return [
        UnreleasedRow(tuple(to_ms(at) for at in (first, later) if at is not None), *rest)
        for first, later, *rest in connection.execute(query.order_by(own.id))
    ]


def rebuilt_spans(connection: Connection, series_id: int) -> list[TimeRange]:
    """Return the ranges whose revisions and decisions were lost with an earlier warehouse."""
    own = tables.loads.c
    spans = connection.execute(select(own.span).where(own.series_id == series_id, own.run == REBUILT)).scalars()
    return [TimeRange(span.lower, span.upper) for span in spans]


def broken_revisions(connection: Connection, series_id: int, time_range: TimeRange) -> list[tuple[datetime, str, bool]]:
    """Return the candles whose revisions do not follow one another: open time, what is wrong, whether it can be mended.

    They are numbered from 1 without gaps, each stands until the next, and the last until the candle's present value.
    """
    bounds = {"series_id": series_id, "start": time_range.start, "end": time_range.end}
    found = []
    for row in connection.execute(text(_CHAINS), bounds):
        if row.is_alone:
            found.append((row.open_time, "there are earlier values of a candle that is not stored", False))
        elif row.has_gaps:
            found.append((row.open_time, "its earlier values are not numbered from 1 without gaps", True))
        elif row.is_torn:
            found.append((row.open_time, "its values do not stand each until the next one", True))
    return found


def _times(
    connection: Connection, query: Select[datetime], opened: Column[datetime], time_range: TimeRange
) -> NDArray[np.int64]:
    query = query.where(opened >= time_range.start, opened < time_range.end).order_by(opened)
    return np.array([to_ms(open_time) for open_time in connection.execute(query).scalars()], dtype=np.int64)
