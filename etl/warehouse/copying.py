"""Candles in and out of PostgreSQL by binary COPY, a numpy array at a time.

A row of fixed width is one record of a structured array, so encoding is a few assignments and decoding one
`frombuffer`. A null has no width: rows are encoded in groups with the same nulls, which is one group for most
exchanges; they are read back with NaN and -1 in the place of null, which the tables cannot hold otherwise.

Source: https://www.postgresql.org/docs/current/sql-copy.html ("Binary Format")
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any, LiteralString

import numpy as np
import psycopg
import pyarrow as pa
from numpy.typing import NDArray
from psycopg import sql

from etl.schema import (
    CANDLE_COLUMNS,
    CANDLE_SCHEMA,
    SOURCED_COLUMNS,
    Column,
    ColumnKind,
    Flag,
    from_columns,
    to_columns,
)
from etl.series import TimeRange

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_AT_ONCE = 8192  # rows; what is encoded while the server takes in those before
PG_EPOCH_MS = 946_684_800_000
"""PostgreSQL counts microseconds from 2000-01-01."""

_DTYPES = {ColumnKind.TIME: ">i8", ColumnKind.FLOAT: ">f8", ColumnKind.INT: ">i8", ColumnKind.SMALL: ">i2"}
_NULL = {ColumnKind.FLOAT: sql.SQL("'NaN'::float8"), ColumnKind.INT: sql.SQL("-1::int8")}
_COUNTED = {"open_time", "open", "high", "low", "close", "volume", "flags"}
COUNTED_COLUMNS = tuple(column for column in CANDLE_COLUMNS if column.name in _COUNTED)
"""What the quality of a day is counted from."""


def copy_in(cursor: psycopg.Cursor[tuple[object, ...]], table: str, series_id: int, candles: pa.Table) -> None:
    """Append candles to `table`, which has `series_id` and CANDLE_COLUMNS.

    Args:
        candles: CANDLE_SCHEMA.
    """
    with cursor.copy(_copying_into(table)) as copy, signed(copy.write) as write:
        for block in encode(series_id, candles):
            write(block)


@contextmanager
def signed(write: Callable[[bytes], Any]) -> Iterator[Callable[[bytes], Any]]:
    """Yield what takes blocks of rows, which go behind COPY's header and before its trailer."""
    write(_HEADER)
    yield write
    write(_TRAILER)


@cache
def _copying_into(table: str) -> bytes:
    names = sql.SQL(", ").join(sql.Identifier(name) for name in ("series_id", *CANDLE_SCHEMA.names))
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier(table), names).as_bytes()


def copy_out(
    cursor: psycopg.Cursor[tuple[object, ...]], series_id: int, time_range: TimeRange, as_of: datetime | None = None
) -> pa.Table:
    """Return the stored candles that open in `time_range`: CANDLE_SCHEMA, ascending by open_time.

    Args:
        as_of: Return what was stored at that moment, by the database's clock; without, what is now.
    """
    return _copy(
        cursor,
        "{source} WHERE series_id = {series_id} AND open_time >= {start} AND open_time < {end} ORDER BY open_time",
        source=_source(as_of),
        series_id=sql.Literal(series_id),
        start=sql.Literal(time_range.start),
        end=sql.Literal(time_range.end),
    )


def copy_last(
    cursor: psycopg.Cursor[tuple[object, ...]], series_id: int, before: datetime, as_of: datetime | None = None
) -> pa.Table:
    """Return the last stored candle that opens before a moment, or none; as `copy_out`."""
    if as_of is None:
        where: LiteralString = "candles WHERE series_id = {series_id} AND open_time < {before}"
    else:
        # The last of each table that candles_as_of() is made of, since PostgreSQL would sort all of both.
        where = (
            "(SELECT * FROM (SELECT {names} FROM candles"
            " WHERE series_id = {series_id} AND open_time < {before} AND stored_at <= {as_of}"
            " ORDER BY open_time DESC LIMIT 1) standing"
            " UNION ALL SELECT * FROM (SELECT {names} FROM candle_revisions"
            " WHERE series_id = {series_id} AND open_time < {before} AND stored_at <= {as_of} AND replaced_at > {as_of}"
            " ORDER BY open_time DESC LIMIT 1) replaced) last"
        )
    return _copy(
        cursor,
        where + " ORDER BY open_time DESC LIMIT 1",
        names=sql.SQL(", ").join(sql.Identifier(column.name) for column in CANDLE_COLUMNS),
        series_id=sql.Literal(series_id),
        before=sql.Literal(before),
        as_of=sql.Literal(as_of),
    )


def copy_overruled(cursor: psycopg.Cursor[tuple[object, ...]], series_id: int, time_range: TimeRange) -> pa.Table:
    """Return, of the released candles in `time_range`, the values that they have replaced; as `copy_out`."""
    return _copy(
        cursor,
        "(SELECT DISTINCT ON (open_time) old.* FROM candle_revisions old JOIN candles USING (series_id, open_time)"
        " WHERE series_id = {series_id} AND open_time >= {start} AND open_time < {end}"
        " AND candles.flags & {released} <> 0 ORDER BY open_time, revision DESC) replaced ORDER BY open_time",
        series_id=sql.Literal(series_id),
        start=sql.Literal(time_range.start),
        end=sql.Literal(time_range.end),
        released=sql.Literal(int(Flag.RELEASED)),
    )


def _source(as_of: datetime | None) -> sql.Composable:
    return sql.SQL("candles") if as_of is None else sql.SQL("candles_as_of({})").format(sql.Literal(as_of))


def _copy(cursor: psycopg.Cursor[tuple[object, ...]], what: LiteralString, **parts: sql.Composable) -> pa.Table:
    statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT binary)").format(
        sql.SQL(", ").join(_values()), sql.SQL(what).format(**parts)
    )
    with cursor.copy(statement) as copy:
        return decode(b"".join(copy))


def fetch_out(cursor: psycopg.Cursor[tuple[object, ...]], series_id: int, time_range: TimeRange) -> pa.Table:
    """Return what `copy_out` does, in half the time: as one row of arrays, where COPY sends each row by itself.

    Args:
        time_range: Of a million candles at most: the server makes up the whole row before it sends any of it.
    """
    return from_columns(_fetch_arrays(cursor, CANDLE_COLUMNS, series_id, time_range))


def fetch_counted(
    cursor: psycopg.Cursor[tuple[object, ...]], series_id: int, time_range: TimeRange, as_of: datetime | None = None
) -> dict[str, NDArray[Any]]:
    """Return COUNTED_COLUMNS alone: as `to_columns`, ascending by open_time; see `fetch_out`.

    Args:
        as_of: Return what was stored at that moment, by the database's clock; without, what is now.
    """
    return _fetch_arrays(cursor, COUNTED_COLUMNS, series_id, time_range, as_of)


def _fetch_arrays(
    cursor: psycopg.Cursor[tuple[object, ...]],
    wanted: tuple[Column, ...],
    series_id: int,
    time_range: TimeRange,
    as_of: datetime | None = None,
) -> dict[str, NDArray[Any]]:
    binary = cursor.connection.cursor(binary=True)
    bounds = {"series_id": series_id, "start": time_range.start, "end": time_range.end}
    if as_of is None:
        binary.execute(arrays_of(wanted).as_bytes(), bounds)
    else:
        binary.execute(arrays_of(wanted, "candles_as_of(%(as_of)s)").as_bytes(), {**bounds, "as_of": as_of})
    return read_arrays(binary, wanted)


def read_arrays(
    answer: psycopg.Cursor[tuple[object, ...]], wanted: Sequence[Column], first: int = 0
) -> dict[str, NDArray[Any]]:
    """Return what a statement with `arrays_of` has found: as `to_columns`, ascending by open_time.

    Args:
        answer: In binary.
        first: Which of its columns is the first of them.
    """
    columns = {column.name: to_array(raw(answer, place), column.kind) for place, column in enumerate(wanted, first)}
    columns["open_time"] = columns["open_time"] // 1000 + PG_EPOCH_MS
    if (np.diff(columns["open_time"]) < 0).any():
        # Mostly they lie in their order already, and it is not the server that has to see to it.
        order = np.argsort(columns["open_time"], kind="stable")
        columns = {name: values[order] for name, values in columns.items()}
    return columns


def raw(answer: psycopg.Cursor[tuple[object, ...]], place: int, row: int = 0) -> bytes | None:
    """Return a value of a row as it was sent."""
    return answer.pgresult.get_value(row, place) if answer.pgresult else None


@cache
def arrays_of(wanted: tuple[Column, ...], source: LiteralString = "candles") -> sql.Composed:
    """Return the statement for columns of the candles in `[start, end)` of `series_id`: one row, an array of each.

    Its values are bound, so that a connection which asks often has it planned once.
    """
    names = [sql.Identifier(column.name) for column in wanted]
    return sql.SQL(
        "SELECT {arrays} FROM (SELECT {values} FROM {source} WHERE series_id = %(series_id)s"
        " AND open_time >= %(start)s AND open_time < %(end)s) unordered"
    ).format(
        source=sql.SQL(source),
        arrays=sql.SQL(", ").join(sql.SQL("array_agg({})").format(name) for name in names),
        values=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(value, name) for value, name in zip(_values(wanted), names, strict=True)
        ),
    )


def fetch_sourced(
    cursor: psycopg.Cursor[tuple[object, ...]], series_id: int, time_range: TimeRange
) -> dict[str, NDArray[Any]]:
    """Return SOURCED_COLUMNS alone: as `to_columns`, ascending by open_time; see `fetch_out`."""
    return _fetch_arrays(cursor, SOURCED_COLUMNS, series_id, time_range)


def fetch_times(cursor: psycopg.Cursor[tuple[object, ...]], series_id: int, time_range: TimeRange) -> NDArray[np.int64]:
    """Return the open times alone, in milliseconds since the epoch, ascending; as `fetch_out`."""
    wanted = tuple(column for column in CANDLE_COLUMNS if column.name == "open_time")
    return _fetch_arrays(cursor, wanted, series_id, time_range)["open_time"]


def _values(wanted: Sequence[Column] = CANDLE_COLUMNS) -> list[sql.Composable]:
    return [
        sql.SQL("COALESCE({}, {})").format(sql.Identifier(c.name), _NULL[c.kind])
        if c.is_nullable
        else sql.Identifier(c.name)
        for c in wanted
    ]


def to_array(data: bytes | None, kind: ColumnKind) -> NDArray[Any]:
    """Read an array as it was sent in binary: elements without nulls, each behind its width.

    The array's own five facts come before them.
    """
    sent, ours = _element(kind)
    elements = np.frombuffer(data or b"", dtype=sent, offset=20 if data else 0)
    return elements["value"].astype(ours)


@cache
def _element(kind: ColumnKind) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Return how an array's element is sent, and what its value is to us."""
    dtype = np.dtype(_DTYPES[kind])
    return np.dtype([("width", ">i4"), ("value", dtype)]), dtype.newbyteorder("=")


def encode(series_id: int, candles: pa.Table) -> Iterator[bytes]:
    """Yield rows in COPY's binary format, without its header and trailer: some at a time, those with the same nulls."""
    columns = to_columns(candles)
    nullable = [column for column in CANDLE_COLUMNS if column.is_nullable]
    pattern: NDArray[np.int64] = np.zeros(candles.num_rows, dtype=np.int64)
    for bit, column in enumerate(nullable):
        if candles.column(column.name).null_count:
            pattern |= _is_null(column, columns[column.name]).astype(np.int64) << bit
    for nulls in np.unique(pattern):
        missing = {column.name for bit, column in enumerate(nullable) if nulls >> bit & 1}
        is_same = pattern == nulls
        same = columns if is_same.all() else {name: values[is_same] for name, values in columns.items()}
        for start in range(0, len(same["open_time"]), _AT_ONCE):
            part = {name: values[start : start + _AT_ONCE] for name, values in same.items()}
            yield _encode(series_id, part, missing)


def _encode(series_id: int, columns: Mapping[str, NDArray[Any]], missing: set[str]) -> bytes:
    records = np.full(len(columns["open_time"]), _empty_record(frozenset(missing)))
    records["series_id"] = series_id
    for column in CANDLE_COLUMNS:
        if column.name not in missing:
            values = columns[column.name]
            records[column.name] = (values - PG_EPOCH_MS) * 1000 if column.kind is ColumnKind.TIME else values
    return records.tobytes()


def decode(data: bytes) -> pa.Table:
    """Read what `copy_out` asked for: rows of fixed width between COPY's header and trailer."""
    fields = [("count", ">i2")]
    for column in CANDLE_COLUMNS:
        fields += [(f"{column.name}_width", ">i4"), (column.name, _DTYPES[column.kind])]
    records = np.frombuffer(data[len(_HEADER) : -len(_TRAILER)], dtype=np.dtype(fields))
    columns = {c.name: records[c.name].astype(np.dtype(_DTYPES[c.kind]).newbyteorder("=")) for c in CANDLE_COLUMNS}
    columns["open_time"] = columns["open_time"] // 1000 + PG_EPOCH_MS
    return from_columns(columns)


@cache
def _empty_record(missing: frozenset[str]) -> NDArray[np.void]:
    """Return a row without its values."""
    record = np.zeros((), dtype=_record(missing))
    record["count"], record["series_id_width"] = len(CANDLE_COLUMNS) + 1, 4
    for column in CANDLE_COLUMNS:
        width = -1 if column.name in missing else np.dtype(_DTYPES[column.kind]).itemsize
        record[f"{column.name}_width"] = width
    return record


def _record(missing: Collection[str]) -> np.dtype[np.void]:
    fields = [("count", ">i2"), ("series_id_width", ">i4"), ("series_id", ">i4")]
    for column in CANDLE_COLUMNS:
        fields.append((f"{column.name}_width", ">i4"))
        if column.name not in missing:
            fields.append((column.name, _DTYPES[column.kind]))
    return np.dtype(fields)


def _is_null(column: Column, values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.bool_]:
    return values < 0 if column.kind is ColumnKind.INT else np.isnan(values)
