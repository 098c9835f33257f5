"""Checkpoints: which ranges of a series are accounted for, and what was loaded there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from etl.schema import TimeRange
from etl.warehouse.tables import checkpoints


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The record that a range is done, committed with its candles.

    Attributes:
        rows: Candles held in the range when it was loaded.
        absent: Candles expected there and not held.
        quarantined: Rows that the load refused.
        content_hash: Of the candles in the range; see `etl.schema.content_hash`.
    """

    time_range: TimeRange
    rows: int
    absent: int
    quarantined: int
    content_hash: str
    archive_files: tuple[str, ...]
    run: str
    loaded_at: datetime


def read_checkpoints(connection: Connection, series_id: int) -> list[Checkpoint]:
    """Return the checkpoints of a series, the latest load last."""
    table = checkpoints
    rows = connection.execute(select(table).where(table.c.series_id == series_id).order_by(table.c.loaded_at))
    return [
        Checkpoint(
            TimeRange(row.range_start, row.range_end),
            row.rows,
            row.absent,
            row.quarantined,
            row.content_hash,
            tuple(row.archive_files),
            row.run,
            row.loaded_at,
        )
        for row in rows
    ]


def covered_ranges(connection: Connection, series_id: int) -> list[TimeRange]:
    """Return the ranges that checkpoints vouch for: ascending, disjoint, and not touching each other."""
    span = func.tstzrange(checkpoints.c.range_start, checkpoints.c.range_end)
    united = select(func.unnest(func.range_agg(span)).label("span")).where(checkpoints.c.series_id == series_id)
    return [TimeRange(row.span.lower, row.span.upper) for row in connection.execute(united)]
