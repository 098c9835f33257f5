"""Slots of the grid that are recorded as absent, now or at a moment, and those that hold what was retired."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from etl.schema import AbsenceKind
from etl.series import TimeRange, clip
from etl.timeframe import Timeframe, to_ms
from etl.warehouse.absences import read_absences
from etl.warehouse.retiring import retired_ranges
from etl.warehouse.tables import absence_changes, checkpoints, to_sql_range


def read_absent_slots(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    time_range: TimeRange,
    kinds: Collection[AbsenceKind],
    as_of: datetime | None = None,
) -> NDArray[np.int64]:
    """Return when the candles of `time_range` would open that are absent for one of the reasons in `kinds`.

    Args:
        as_of: Go by what was recorded at that moment, by the database's clock; without, by what is now.

    Returns:
        (n,) milliseconds since the epoch, ascending.
    """
    first_ms = to_ms(timeframe.ceil(time_range.start))
    is_absent = np.zeros(time_range.count(timeframe), dtype=np.bool_)

    def mark(span: TimeRange, kind: AbsenceKind) -> None:
        if (inside := clip(span, time_range)) is not None:
            first, end = (-(-(bound - first_ms) // timeframe.ms) for bound in (inside.start_ms, inside.end_ms))
            is_absent[max(first, 0) : end] = kind in kinds

    for absence in read_absences(connection, series_id, time_range):
        if as_of is None or (absence.first_seen is not None and absence.first_seen <= as_of):
            mark(absence.span, absence.kind)
    if as_of is not None:
        own = absence_changes.c
        since = select(own.span, own.kind_before).where(
            own.series_id == series_id, own.changed_at > as_of, own.span.op("&&")(to_sql_range(time_range))
        )
        # Backwards, so that the first change after the moment has the last word.
        for span, kind in connection.execute(since.order_by(own.id.desc())):
            mark(TimeRange(span.lower, span.upper), AbsenceKind(kind))
    return first_ms + np.flatnonzero(is_absent).astype(np.int64) * timeframe.ms


def read_retired_times(
    connection: Connection, series_id: int, timeframe: Timeframe, time_range: TimeRange
) -> NDArray[np.int64]:
    """Return when the candles of `time_range` open that the archive alone keeps: what was retired and is not absent.

    Returns:
        (n,) milliseconds since the epoch, ascending.
    """
    found = [np.array([], dtype=np.int64)]
    for span in retired_ranges(connection, series_id, time_range):
        slots = np.arange(to_ms(timeframe.ceil(span.start)), span.end_ms, timeframe.ms, dtype=np.int64)
        absent = read_absent_slots(connection, series_id, timeframe, span, frozenset(AbsenceKind))
        found.append(np.setdiff1d(slots, absent, assume_unique=True))
    return np.concatenate(found)


def span_of_retired(connection: Connection, series_id: int, timeframe: Timeframe) -> TimeRange | None:
    """Return the range from the open time of the first candle that the archive alone keeps to just after the last's."""
    own = checkpoints.c
    query = select(own.range_start, own.range_end).where(own.series_id == series_id, own.is_retired, own.rows > 0)
    spans = [TimeRange(*bounds) for bounds in connection.execute(query.order_by(own.range_start))]
    if not spans:
        return None
    first, last = (read_retired_times(connection, series_id, timeframe, span) for span in (spans[0], spans[-1]))
    return TimeRange.from_ms(int(first[0]), int(last[-1]) + 1)
