"""Checkpoints: which ranges of a series are accounted for, and what is held there. They never overlap.

A load within a range that is accounted for renews that checkpoint; one that reaches beyond takes over what it covers
and leaves the rest to those that were there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Function, delete, func, insert, select

from etl.schema import value_hash
from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.warehouse.absences import read_absences
from etl.warehouse.overlay import clip
from etl.warehouse.reading import read_candles_at_once
from etl.warehouse.tables import checkpoints, quarantine, to_sql_range


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


def read_checkpoints(connection: Connection, series_id: int, time_range: TimeRange | None = None) -> list[Checkpoint]:
    """Return the checkpoints of a series that overlap `time_range`, or all; ascending."""
    table = checkpoints
    query = select(table).where(table.c.series_id == series_id).order_by(table.c.range_start)
    if time_range is not None:
        query = query.where(_span().op("&&")(to_sql_range(time_range)))
    return [
        Checkpoint(
            TimeRange(row.range_start, row.range_end),
            row.rows,
            row.absent,
            row.quarantined,
            row.value_hash,
            tuple(row.archive_files),
            row.run,
            row.loaded_at,
            row.is_retired,
        )
        for row in connection.execute(query)
    ]


def covered_ranges(connection: Connection, series_id: int) -> list[TimeRange]:
    """Return the ranges that checkpoints vouch for: ascending, disjoint, and not touching each other."""
    united = select(func.unnest(func.range_agg(_span())).label("span")).where(checkpoints.c.series_id == series_id)
    return [TimeRange(row.span.lower, row.span.upper) for row in connection.execute(united)]


def vouch(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    time_range: TimeRange,
    run: str,
    archive_files: Sequence[str],
    candles: pa.Table | None = None,
) -> TimeRange:
    """Record that `time_range` is accounted for, as it is stored in this transaction.

    Args:
        run: The run that has loaded it.
        archive_files: Those that hold it.
        candles: What is stored there, if the caller has it at hand.

    Returns:
        The range of the checkpoint that holds it now.
    """
    overlapping = read_checkpoints(connection, series_id, time_range)
    _forget(connection, series_id, overlapping)
    for checkpoint in overlapping:
        span = checkpoint.time_range
        if span.start <= time_range.start and time_range.end <= span.end:
            files = sorted({*checkpoint.archive_files, *archive_files})
            _write(connection, series_id, timeframe, span, files, run, None)
            return span
        for rest in _outside(span, time_range):
            files = list(checkpoint.archive_files)
            _write(connection, series_id, timeframe, rest, files, checkpoint.run, checkpoint.loaded_at)
    _write(connection, series_id, timeframe, time_range, archive_files, run, None, candles)
    return time_range


def neighbours(
    connection: Connection, series_id: int, time_range: TimeRange
) -> tuple[datetime | None, datetime | None]:
    """Return where what is accounted for before `time_range` ends, and where what comes after it begins."""
    own = checkpoints.c
    before = select(func.max(own.range_end)).where(own.series_id == series_id, own.range_end <= time_range.start)
    after = select(func.min(own.range_start)).where(own.series_id == series_id, own.range_start >= time_range.end)
    return connection.execute(before).scalar_one(), connection.execute(after).scalar_one()


def _span() -> Function[Any]:
    return func.tstzrange(checkpoints.c.range_start, checkpoints.c.range_end)


def _forget(connection: Connection, series_id: int, gone: Sequence[Checkpoint]) -> None:
    for checkpoint in gone:
        connection.execute(
            delete(checkpoints).where(
                checkpoints.c.series_id == series_id, checkpoints.c.range_start == checkpoint.time_range.start
            )
        )


def _outside(span: TimeRange, other: TimeRange) -> list[TimeRange]:
    before = [TimeRange(span.start, other.start)] if span.start < other.start else []
    after = [TimeRange(other.end, span.end)] if other.end < span.end else []
    return before + after


def _write(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    span: TimeRange,
    archive_files: Sequence[str],
    run: str,
    loaded_at: datetime | None,
    candles: pa.Table | None = None,
) -> None:
    """Write a checkpoint of what is stored in `span`; loaded now, if no moment is given."""
    candles = read_candles_at_once(connection, series_id, span) if candles is None else candles
    inside = (clip(absence.span, span) for absence in read_absences(connection, series_id, span))
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
            rows=candles.num_rows,
            absent=sum(piece.count(timeframe) for piece in inside if piece is not None),
            quarantined=connection.execute(refused).scalar_one(),
            value_hash=value_hash(candles),
            archive_files=list(archive_files),
            run=run,
            loaded_at=loaded_at or func.clock_timestamp(),
        )
    )
