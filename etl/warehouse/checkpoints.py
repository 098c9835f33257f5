"""Checkpoints: which ranges of a series are accounted for, and what is held there. They never overlap.

A load within a range that is accounted for renews that checkpoint; one that reaches beyond takes over what it covers
and leaves the rest to those that were there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Function, delete, func, insert, select

from etl.schema import value_hash
from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.warehouse.absences import Absence, read_absences
from etl.warehouse.overlay import clip
from etl.warehouse.reading import read_candles_at_once
from etl.warehouse.tables import checkpoints, quarantine, to_sql_range

_COLUMNS = tuple(column for column in checkpoints.c if column.name != "series_id")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The record that a range is done, committed with its candles.

    Attributes:
        rows: Candles held in the range.
        absent: Candles expected there and not held.
        quarantined: Rows refused there.
        value_hash: Of the candles in the range, see `etl.schema.value_hash`; empty if it is not known any more.
        run: The run that loaded it last, or a part of it.
        is_retired: Whether its candles are in the archive alone.
    """

    time_range: TimeRange
    rows: int
    absent: int
    quarantined: int
    value_hash: str
    archive_files: tuple[str, ...]
    run: str
    loaded_at: datetime
    is_retired: bool = False


def to_checkpoint(start: datetime, end: datetime, *rest: Any) -> Checkpoint:
    """Return the checkpoint of a row: its range, and the other fields in their order."""
    rows, absent, quarantined, hashed, files, run, loaded_at, is_retired = rest
    span = TimeRange(start, end)
    return Checkpoint(span, rows, absent, quarantined, hashed, tuple(files), run, loaded_at, is_retired)


def read_checkpoints(connection: Connection, series_id: int, time_range: TimeRange | None = None) -> list[Checkpoint]:
    """Return the checkpoints of a series that overlap `time_range`, or all; ascending."""
    table = checkpoints
    query = select(*_COLUMNS).where(table.c.series_id == series_id).order_by(table.c.range_start)
    if time_range is not None:
        query = query.where(_span().op("&&")(to_sql_range(time_range)))
    return [to_checkpoint(*row) for row in connection.execute(query)]


def covered_ranges(connection: Connection, series_id: int) -> list[TimeRange]:
    """Return the ranges that checkpoints vouch for: ascending, disjoint, and not touching each other."""
    united = select(func.unnest(func.range_agg(_span())).label("span")).where(checkpoints.c.series_id == series_id)
    return [TimeRange(row.span.lower, row.span.upper) for row in connection.execute(united)]


@dataclass(frozen=True, slots=True)
class Draft:
    """A checkpoint that is to be written.

    Attributes:
        loaded_at: When its range was loaded; None for now.
    """

    time_range: TimeRange
    rows: int
    absent: int
    value_hash: str
    archive_files: Sequence[str]
    run: str
    loaded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Renewal:
    """Which checkpoints give way, and to which.

    Attributes:
        untouched: Others that are known.
    """

    gone: Sequence[Checkpoint]
    drafts: Sequence[Draft]
    untouched: Sequence[Checkpoint]

    @property
    def spans(self) -> list[TimeRange]:
        """What checkpoints hold afterwards, as far as it is known: ascending."""
        return sorted([*(one.time_range for one in self.drafts), *(one.time_range for one in self.untouched)])


def vouch(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    time_range: TimeRange,
    run: str,
    archive_files: Sequence[str],
) -> None:
    """Record that `time_range` is accounted for, as it is stored in this transaction.

    Args:
        run: The run that has loaded it.
        archive_files: Those that hold it.
    """
    known = read_checkpoints(connection, series_id, time_range)
    candles = read_candles_at_once(connection, series_id, time_range)
    absences = read_absences(connection, series_id, time_range)
    own = draft(time_range, timeframe, candles, absences, archive_files, run)
    write_checkpoints(connection, series_id, renew(connection, series_id, timeframe, own, known))


def draft(
    time_range: TimeRange,
    timeframe: Timeframe,
    candles: pa.Table,
    absences: Iterable[Absence],
    archive_files: Sequence[str],
    run: str,
    loaded_at: datetime | None = None,
) -> Draft:
    """Return the checkpoint of what is stored in `time_range`.

    Args:
        candles: Those that are stored there.
        absences: Those of the range; others may be among them.
    """
    inside = (clip(absence.span, time_range) for absence in absences)
    absent = sum(piece.count(timeframe) for piece in inside if piece is not None)
    return Draft(time_range, candles.num_rows, absent, value_hash(candles), archive_files, run, loaded_at)


def renew(
    connection: Connection, series_id: int, timeframe: Timeframe, own: Draft, known: Sequence[Checkpoint]
) -> Renewal:
    """Return what becomes of the checkpoints when `own` is put in; candles and absences of it are written by now.

    Args:
        known: Those that overlap its range; others may be among them.
    """
    time_range = own.time_range
    overlapping = [one for one in known if clip(one.time_range, time_range) is not None]
    untouched = [one for one in known if one not in overlapping]

    def read(span: TimeRange, files: Sequence[str], run: str, loaded_at: datetime | None) -> Draft:
        candles = read_candles_at_once(connection, series_id, span)
        absences = read_absences(connection, series_id, span)
        return draft(span, timeframe, candles, absences, files, run, loaded_at)

    for one in overlapping:
        if clip(one.time_range, time_range) == time_range != one.time_range:
            files = sorted({*one.archive_files, *own.archive_files})
            return Renewal(overlapping, [read(one.time_range, files, own.run, None)], untouched)
    rests = [
        read(rest, one.archive_files, one.run, one.loaded_at)
        for one in overlapping
        for rest in _outside(one.time_range, time_range)
    ]
    return Renewal(overlapping, [own, *rests], untouched)


def write_checkpoints(connection: Connection, series_id: int, renewal: Renewal) -> None:
    """Write what `renew` has returned."""
    own = checkpoints.c
    if renewal.gone:
        starts = [checkpoint.time_range.start for checkpoint in renewal.gone]
        connection.execute(delete(checkpoints).where(own.series_id == series_id, own.range_start.in_(starts)))
    for each in renewal.drafts:
        span = each.time_range
        refused = select(func.count()).where(
            quarantine.c.series_id == series_id,
            quarantine.c.open_time >= span.start,
            quarantine.c.open_time < span.end,
            quarantine.c.state != "released",
        )
        connection.execute(
            insert(checkpoints).values(
                series_id=series_id,
                range_start=span.start,
                range_end=span.end,
                rows=each.rows,
                absent=each.absent,
                quarantined=refused.scalar_subquery(),
                value_hash=each.value_hash,
                archive_files=list(each.archive_files),
                run=each.run,
                loaded_at=each.loaded_at or func.clock_timestamp(),
            )
        )


def _span() -> Function[Any]:
    return func.tstzrange(checkpoints.c.range_start, checkpoints.c.range_end)


def _outside(span: TimeRange, other: TimeRange) -> list[TimeRange]:
    before = [TimeRange(span.start, other.start)] if span.start < other.start else []
    after = [TimeRange(other.end, span.end)] if other.end < span.end else []
    return before + after
