"""Checkpoints: which ranges of a series are accounted for, and what is held there. They never overlap.

A load within a range that is accounted for renews that checkpoint; one that reaches beyond takes over what it covers
and leaves the rest to those that were there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Function, delete, func, select

from etl.schema import value_hash
from etl.series import TimeRange, clip
from etl.timeframe import Timeframe
from etl.warehouse.absences import Absence, read_absences
from etl.warehouse.reading import driver_of, read_candles_at_once
from etl.warehouse.tables import checkpoints, to_sql_range

# Said in full, as whatever every load says: to build a statement takes longer than to send it.
_INSERT = """
INSERT INTO checkpoints
    (series_id, range_start, range_end, rows, absent, value_hash, archive_files, run, loaded_at, asked_at, quarantined)
VALUES (%(series_id)s, %(start)s, %(end)s, %(rows)s, %(absent)s, %(value_hash)s, %(archive_files)s, %(run)s,
    coalesce(%(loaded_at)s, clock_timestamp()), %(asked_at)s,
    (SELECT count(*) FROM quarantine
     WHERE series_id = %(series_id)s AND open_time >= %(start)s AND open_time < %(end)s AND state <> 'released'))
"""
_FACTS = ("rows", "absent", "value_hash", "run", "loaded_at", "asked_at")
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
        loaded_at: When that run committed, by the warehouse's clock.
        is_retired: Whether its candles are in the archive alone.
        asked_at: When the exchange was asked for it last, by its clock; None if an earlier version loaded it.
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
    asked_at: datetime | None = None

    @property
    def closed_by(self) -> datetime:
        """The moment by which a candle of the range had to be closed: the exchange's time where that is known."""
        return self.loaded_at if self.asked_at is None else self.asked_at


def to_checkpoint(start: datetime, end: datetime, *rest: Any) -> Checkpoint:
    """Return the checkpoint of a row: its range, and the other fields in their order."""
    rows, absent, quarantined, hashed, files, run, loaded_at, is_retired, asked_at = rest
    span = TimeRange(start, end)
    return Checkpoint(span, rows, absent, quarantined, hashed, tuple(files), run, loaded_at, is_retired, asked_at)


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
        asked_at: When the exchange was asked for it last, by its clock; None if that is not known.
    """

    time_range: TimeRange
    rows: int
    absent: int
    value_hash: str
    archive_files: Sequence[str]
    run: str
    loaded_at: datetime | None
    asked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Renewal:
    """Replacement of checkpoints.

    Attributes:
        untouched: Others that are known.
    """

    gone: Sequence[Checkpoint]
    drafts: Sequence[Draft]
    untouched: Sequence[Checkpoint]

    @property
    def spans(self) -> list[TimeRange]:
        """The ranges of checkpoints afterwards, as far as they are known: ascending."""
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
    asked_at: datetime | None = None,
) -> Draft:
    """Return the checkpoint of what is stored in `time_range`.

    Args:
        candles: Those that are stored there.
        absences: Those of the range; others may be among them.
    """
    inside = (clip(absence.span, time_range) for absence in absences)
    absent = sum(piece.count(timeframe) for piece in inside if piece is not None)
    return Draft(time_range, candles.num_rows, absent, value_hash(candles), archive_files, run, loaded_at, asked_at)


def renew(
    connection: Connection, series_id: int, timeframe: Timeframe, own: Draft, known: Sequence[Checkpoint]
) -> Renewal:
    """Return what becomes of the checkpoints when `own` is put in; candles and absences of it are written by now.

    Args:
        known: Those that overlap its range; others may be among them.
    """
    time_range = own.time_range
    # A row out of quarantine comes without asking the exchange: what was asked for before it came stays asked for.
    around = [one.closed_by for one in known if clip(one.time_range, time_range) == time_range]
    if own.asked_at is not None:
        own = replace(own, asked_at=max([own.asked_at, *around]))
    overlapping = [one for one in known if clip(one.time_range, time_range) is not None]
    untouched = [one for one in known if one not in overlapping]

    def read(
        span: TimeRange, files: Sequence[str], run: str, loaded_at: datetime | None, asked_at: datetime | None
    ) -> Draft:
        candles = read_candles_at_once(connection, series_id, span)
        absences = read_absences(connection, series_id, span)
        return draft(span, timeframe, candles, absences, files, run, loaded_at, asked_at)

    for one in overlapping:
        if clip(one.time_range, time_range) == time_range != one.time_range:
            files = sorted({*one.archive_files, *own.archive_files})
            return Renewal(overlapping, [read(one.time_range, files, own.run, None, own.asked_at)], untouched)
    rests = [
        read(rest, one.archive_files, one.run, one.loaded_at, one.asked_at)
        for one in overlapping
        for rest in _outside(one.time_range, time_range)
    ]
    return Renewal(overlapping, [own, *rests], untouched)


def write_checkpoints(connection: Connection, series_id: int, renewal: Renewal) -> None:
    """Write what `renew` has returned."""
    if renewal.gone:
        starts = [checkpoint.time_range.start for checkpoint in renewal.gone]
        connection.execute(
            delete(checkpoints).where(checkpoints.c.series_id == series_id, checkpoints.c.range_start.in_(starts))
        )
    driver = driver_of(connection)
    for each in renewal.drafts:
        facts = {name: getattr(each, name) for name in _FACTS}
        span = {"start": each.time_range.start, "end": each.time_range.end}
        files = list(each.archive_files)
        driver.execute(_INSERT, {"series_id": series_id, **span, "archive_files": files, **facts})


def _span() -> Function[Any]:
    return func.tstzrange(checkpoints.c.range_start, checkpoints.c.range_end)


def _outside(span: TimeRange, other: TimeRange) -> list[TimeRange]:
    before = [TimeRange(span.start, other.start)] if span.start < other.start else []
    after = [TimeRange(other.end, span.end)] if other.end < span.end else []
    return before + after
