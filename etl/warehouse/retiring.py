"""Candles that the archive alone keeps: how they leave the warehouse, and come back. The account of them stays.

Whole checkpoints are retired, and of a day all that it has, so that what is counted by the day stays true. Between the
two stores stands the caller: it hands in what reads the archive, and holds the series' lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
from psycopg import sql
from sqlalchemy import Connection, func, select, update

from etl.errors import StoreError
from etl.schema import CANDLE_COLUMNS, from_columns, to_columns, value_hash
from etl.series import TimeRange, clip
from etl.timeframe import Timeframe
from etl.warehouse.checkpoints import Checkpoint, read_checkpoints
from etl.warehouse.copying import copy_in
from etl.warehouse.reading import cursor_of, read_candles, read_candles_at_once
from etl.warehouse.tables import checkpoints

ReadCandles = Callable[[TimeRange], pa.Table]
"""Returns what the archive holds of a range: CANDLE_SCHEMA, ascending by open_time."""

_AT_ONCE = 1_000_000  # candles

# Constants, so that no more than these are looked at, whatever the table is cut into.
_WITHIN = sql.SQL("series_id = {series_id} AND open_time >= {start} AND open_time < {end}")

# A candle stood here since its last earlier value was replaced. Of one that never was the moment when it came is not
# known any more: that its range was loaded is later, so that nobody is told of it before it was known.
_RETURN = """
INSERT INTO candles ({names}, stored_at)
SELECT {names}, coalesce(revised.at, {loaded_at}) FROM returned_candles LEFT JOIN
    (SELECT open_time, max(replaced_at) AS at FROM candle_revisions WHERE {within} GROUP BY open_time) revised
    USING (open_time)
"""


def retirable(connection: Connection, series_id: int, horizon: datetime) -> list[TimeRange]:
    """Return what may leave the warehouse: the checkpoints that share days, together, where all end by `horizon`.

    Args:
        horizon: A midnight, UTC.
    """
    groups = _by_days(read_checkpoints(connection, series_id))
    return [
        TimeRange(group[0].time_range.start, group[-1].time_range.end)
        for group in groups
        if group[-1].time_range.end <= horizon and not all(checkpoint.is_retired for checkpoint in group)
    ]


def retire(connection: Connection, series_id: int, span: TimeRange, read: ReadCandles) -> int:
    """Take the candles of `span` out of the warehouse once the archive is proved to hold them.

    Args:
        span: One that `retirable` has named.

    Returns:
        How many candles have left.

    Raises:
        StoreError: The archive does not hold what a checkpoint vouches for, or cannot be read. Nothing was changed.
    """
    within = [one for one in read_checkpoints(connection, series_id, span) if not one.is_retired]
    for checkpoint in within:
        _prove(connection, series_id, checkpoint, read)
    for checkpoint in within:
        _delete(connection, series_id, checkpoint.time_range)
        _mark(connection, series_id, checkpoint.time_range, is_retired=True)
    return sum(checkpoint.rows for checkpoint in within)


def bring_back(connection: Connection, series_id: int, time_range: TimeRange, read: ReadCandles) -> int:
    """Put back into the warehouse what was retired of the days that `time_range` touches.

    Returns:
        How many candles are there again.

    Raises:
        StoreError: The archive does not hold what a checkpoint vouches for, or cannot be read.
    """
    returned = 0
    for checkpoint in _retired_around(connection, series_id, time_range):
        candles = read(checkpoint.time_range)
        if value_hash(candles) != checkpoint.value_hash:
            raise StoreError(
                f"the archive does not hold the candles of {checkpoint.time_range} that it alone is to keep; "
                "chandler audit says what mends it"
            )
        _put_back(connection, series_id, checkpoint, candles)
        returned += candles.num_rows
    return returned


def _put_back(connection: Connection, series_id: int, checkpoint: Checkpoint, candles: pa.Table) -> None:
    """Let the warehouse hold `candles` in the range of a retired checkpoint, which is so no longer."""
    span = checkpoint.time_range
    _delete(connection, series_id, span)
    names = ("series_id", *(column.name for column in CANDLE_COLUMNS))
    with cursor_of(connection) as cursor:
        cursor.execute("CREATE TEMP TABLE returned_candles (LIKE candles INCLUDING DEFAULTS) ON COMMIT DROP")
        copy_in(cursor, "returned_candles", series_id, candles)
        statement = sql.SQL(_RETURN).format(
            names=sql.SQL(", ").join(sql.Identifier(name) for name in names),
            loaded_at=sql.Literal(checkpoint.loaded_at),
            within=_within(series_id, span),
        )
        cursor.execute(statement)
        cursor.execute("DROP TABLE returned_candles")
    _mark(connection, series_id, span, is_retired=False)


def give_up(connection: Connection, series_id: int, span: TimeRange) -> None:
    """Let the range of a retired checkpoint be one whose candles belong into the warehouse, though they are lost."""
    _mark(connection, series_id, span, is_retired=False)


def retired_ranges(connection: Connection, series_id: int, time_range: TimeRange | None = None) -> list[TimeRange]:
    """Return what of `time_range`, or of all, the archive alone keeps: ascending, disjoint, and not touching."""
    span = func.range_agg(func.tstzrange(checkpoints.c.range_start, checkpoints.c.range_end))
    own = checkpoints.c
    united = select(func.unnest(span).label("span")).where(own.series_id == series_id, own.is_retired)
    if time_range is not None:
        united = united.where(own.range_start < time_range.end, own.range_end > time_range.start)
    found = [TimeRange(row.span.lower, row.span.upper) for row in connection.execute(united)]
    return found if time_range is None else [part for one in found if (part := clip(one, time_range)) is not None]


def retired_days(connection: Connection, series_id: int, time_range: TimeRange) -> set[date]:
    """Return those of the days that `time_range` touches whose candles, or some of them, the archive alone keeps."""
    days = set()
    for span in retired_ranges(connection, series_id, _days(time_range)):
        whole = _days(span)
        days |= {whole.start.date() + timedelta(days=n) for n in range(whole.count(Timeframe.D1))}
    return days


def with_retired(
    connection: Connection, series_id: int, time_range: TimeRange, stored: pa.Table, read: ReadCandles
) -> pa.Table:
    """Return what both stores hold: what is stored of `time_range`, and of what was retired there the archive's.

    Args:
        stored: What the warehouse holds of the range: CANDLE_SCHEMA, ascending by open_time.
    """
    retired = retired_ranges(connection, series_id, time_range)
    if not retired:
        return stored
    parts = [to_columns(part) for part in (_outside(stored, retired), *(read(span) for span in retired))]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["open_time"], kind="stable")
    return from_columns({name: values[order] for name, values in columns.items()})


def _prove(connection: Connection, series_id: int, checkpoint: Checkpoint, read: ReadCandles) -> None:
    span = checkpoint.time_range
    archived = read(span)
    if not checkpoint.value_hash or value_hash(archived) != checkpoint.value_hash:
        raise StoreError(f"the archive does not hold what the checkpoint of {span} vouches for")
    # At once it is read in a quarter of the time, if it is not too much for that.
    read_stored = read_candles_at_once if archived.num_rows <= _AT_ONCE else read_candles
    if not archived.equals(read_stored(connection, series_id, span)):
        raise StoreError(f"archive and warehouse do not hold the same in {span}")


def _retired_around(connection: Connection, series_id: int, time_range: TimeRange) -> list[Checkpoint]:
    """Return the retired checkpoints of the days that are touched, and of the days that these reach into."""
    while True:
        days = _days(time_range)
        found = [one for one in read_checkpoints(connection, series_id, days) if one.is_retired]
        bounds = [bound for one in found for bound in (one.time_range.start, one.time_range.end)]
        wider = TimeRange(min(days.start, *bounds), max(days.end, *bounds)) if bounds else days
        if wider == days:
            return found
        time_range = wider


def _by_days(ascending: Sequence[Checkpoint]) -> Iterator[list[Checkpoint]]:
    """Yield checkpoints in groups none of which has a day in common with another."""
    group: list[Checkpoint] = []
    for checkpoint in ascending:
        if group and _days(checkpoint.time_range).start >= _days(group[-1].time_range).end:
            yield group
            group = []
        group.append(checkpoint)
    if group:
        yield group


def _delete(connection: Connection, series_id: int, span: TimeRange) -> None:
    with cursor_of(connection) as cursor:
        cursor.execute(sql.SQL("DELETE FROM candles WHERE {}").format(_within(series_id, span)))


def _mark(connection: Connection, series_id: int, span: TimeRange, *, is_retired: bool) -> None:
    own = checkpoints
    where = (own.c.series_id == series_id, own.c.range_start == span.start, own.c.range_end == span.end)
    connection.execute(update(own).where(*where).values(is_retired=is_retired))


def _within(series_id: int, span: TimeRange) -> sql.Composed:
    bounds = {"series_id": series_id, "start": span.start, "end": span.end}
    return _WITHIN.format(**{name: sql.Literal(value) for name, value in bounds.items()})


def _outside(candles: pa.Table, spans: Sequence[TimeRange]) -> pa.Table:
    columns = to_columns(candles)
    is_outside = np.ones(candles.num_rows, dtype=np.bool_)
    for span in spans:
        first, end = np.searchsorted(columns["open_time"], [span.start_ms, span.end_ms])
        is_outside[first:end] = False
    return from_columns({name: values[is_outside] for name, values in columns.items()})


def _days(time_range: TimeRange) -> TimeRange:
    return TimeRange(Timeframe.D1.floor(time_range.start), Timeframe.D1.ceil(time_range.end))
