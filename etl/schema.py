"""Schema of a candle: the one source for Parquet, SQL and numpy. Knows no store and no exchange."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SCHEMA_VERSION = 1


class Flag(IntFlag):
    """Marks on a candle's values; bits of the column `flags`.

    REVISED, FILLED, RELEASED, VALUE_DROPPED and BULK_DIFFERED say what has happened to a candle, UNJUDGED that too few
    traded before it for the rules about outliers, the others what a rule of `etl.validate` found in it.
    """

    REVISED = 1
    FILLED = 2
    RELEASED = 4
    OHLC_TOLERATED = 8
    FROZEN_PRICE = 16
    ZERO_VOLUME_RUN = 32
    PRICE_OUTLIER = 64
    VOLUME_OUTLIER = 128
    JUMP = 256
    VALUE_DROPPED = 512
    NEW_COIN = 1024
    BULK_DIFFERED = 2048
    UNJUDGED = 4096


STATE_FLAGS = Flag.REVISED | Flag.FILLED | Flag.RELEASED | Flag.VALUE_DROPPED | Flag.BULK_DIFFERED
COMPUTED_FLAGS = ~STATE_FLAGS
"""Flags that follow from the stored candles, so that anyone can compute them again."""
RULE_FLAGS = COMPUTED_FLAGS & ~Flag.UNJUDGED
"""Flags that say that a candle is strange."""
COUNTED_FLAGS = RULE_FLAGS | Flag.VALUE_DROPPED | Flag.BULK_DIFFERED
"""Flags that the quality of a day counts by name; revisions, releases and unjudged candles have counts of their own."""


class Origin(IntEnum):
    """Route by which a candle reached us; the column `source`.

    BULK is the exchange's own files, FILE an imported one. Earlier versions called both BULK.
    """

    API = 1
    TRADES = 2
    BULK = 3
    FILE = 4


class AbsenceKind(StrEnum):
    """Reasons why an expected candle is not held.

    PENDING: too young to judge, or not judged yet. UNFETCHED: the fetch failed. NOT_REQUESTED: it lies between loaded
    ranges, and no run has requested it. REFUSED: the exchange sent a row, and a rule refused it. NO_TRADES: the
    exchange prints no candle for an empty minute. OUTAGE: the exchange as a whole was silent. HALTED: this symbol alone
    was. BEYOND_RETENTION: the exchange serves it no longer.
    """

    PENDING = "pending"
    UNFETCHED = "unfetched"
    NOT_REQUESTED = "not_requested"
    REFUSED = "refused"
    NO_TRADES = "no_trades"
    OUTAGE = "outage"
    HALTED = "halted"
    NOT_LISTED = "not_listed"
    DELISTED = "delisted"
    BEYOND_RETENTION = "beyond_retention"


UNLOADED = frozenset({AbsenceKind.UNFETCHED, AbsenceKind.NOT_REQUESTED})
"""Kinds of slots that no checkpoint covers: no answer of the exchange says anything of them."""


class ColumnKind(StrEnum):
    """The types that a candle's columns have, in every store."""

    TIME = "time"
    FLOAT = "float"
    INT = "int"
    SMALL = "small"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a candle.

    Attributes:
        doc: Meaning and unit; becomes the SQL comment.
        is_value: Whether the exchange says it (a change of it is a revision) or we do.
        since: The schema version that brought it. What was written before lacks it, so it must be nullable.
    """

    name: str
    kind: ColumnKind
    doc: str
    is_nullable: bool = False
    is_value: bool = True
    since: int = 1


CANDLE_COLUMNS: tuple[Column, ...] = (
    Column("open_time", ColumnKind.TIME, "start of the candle, UTC", is_value=False),
    Column("open", ColumnKind.FLOAT, "first price, in quote currency"),
    Column("high", ColumnKind.FLOAT, "highest price, in quote currency"),
    Column("low", ColumnKind.FLOAT, "lowest price, in quote currency"),
    Column("close", ColumnKind.FLOAT, "last price, in quote currency"),
    Column("volume", ColumnKind.FLOAT, "traded amount, in base currency"),
    Column("quote_volume", ColumnKind.FLOAT, "traded amount, in quote currency", is_nullable=True),
    Column("trades", ColumnKind.INT, "number of trades", is_nullable=True),
    Column("taker_buy_volume", ColumnKind.FLOAT, "amount bought by takers, in base currency", is_nullable=True),
    Column("taker_buy_quote_volume", ColumnKind.FLOAT, "amount bought by takers, in quote currency", is_nullable=True),
    Column("flags", ColumnKind.SMALL, "what we say of the candle: bits of Flag", is_value=False),
    Column(
        "source",
        ColumnKind.SMALL,
        "how it reached us: Origin (1 API, 2 built from trades, 3 file of the exchange, 4 imported file)",
        is_value=False,
    ),
)
_BY_NAME = {column.name: column for column in CANDLE_COLUMNS}
SOURCED_COLUMNS = tuple(column for column in CANDLE_COLUMNS if column.name in {"open_time", "volume", "source"})
"""Columns that show whether the source of a candle has rows for slots in which nothing was traded."""
VALUE_COLUMNS = tuple(column.name for column in CANDLE_COLUMNS if column.is_value)

_ARROW_TYPES = {
    ColumnKind.TIME: pa.timestamp("ms", tz="UTC"),
    ColumnKind.FLOAT: pa.float64(),
    ColumnKind.INT: pa.int64(),
    ColumnKind.SMALL: pa.int16(),
}
_NUMPY_TYPES = {
    ColumnKind.TIME: np.int64,
    ColumnKind.FLOAT: np.float64,
    ColumnKind.INT: np.int64,
    ColumnKind.SMALL: np.int16,
}


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """Return the Arrow schema of `columns`."""
    return pa.schema([pa.field(c.name, _ARROW_TYPES[c.kind], nullable=c.is_nullable) for c in columns])


CANDLE_SCHEMA = arrow_schema(CANDLE_COLUMNS)


@cache
def empty_candles() -> pa.Table:
    """Return a table of no candles."""
    return from_columns({column.name: np.empty(0, dtype=_NUMPY_TYPES[column.kind]) for column in CANDLE_COLUMNS})


def from_columns(columns: Mapping[str, NDArray[Any]], of: Sequence[Column] = CANDLE_COLUMNS) -> pa.Table:
    """Build candles from numpy columns, every one of CANDLE_COLUMNS.

    Args:
        columns: (n,) each; `open_time` as int64 milliseconds since the epoch. Where a column may be null, a float NaN
            or an integer below 0 stands for null.
        of: The columns that candles have.
    """
    schema = CANDLE_SCHEMA if of is CANDLE_COLUMNS else arrow_schema(of)
    return pa.table([_to_arrow(column, columns[column.name]) for column in of], schema=schema)


def to_columns(candles: pa.Table, columns: Iterable[Column] = CANDLE_COLUMNS) -> dict[str, NDArray[Any]]:
    """Return what `from_columns` takes: numpy columns with NaN or -1 for null."""
    return {column.name: _to_numpy(column, candles.column(column.name)) for column in columns}


def to_column(candles: pa.Table, name: str) -> NDArray[Any]:
    """Return one of the columns that `to_columns` returns."""
    return _to_numpy(_BY_NAME[name], candles.column(name))


def content_hash(candles: pa.Table, columns: Iterable[Column] = CANDLE_COLUMNS) -> str:
    """Return a hash of the candles' values, the same wherever and in whatever encoding they are kept.

    Args:
        candles: CANDLE_SCHEMA, ascending by open_time.

    Returns:
        SHA-256 over the columns in their order, as little-endian bytes; 64 hexadecimal digits. A column that a later
        schema version brought counts, by its name too, once it holds a value, so that older hashes stay true.
    """
    digest = hashlib.sha256()
    for column in columns:
        values = candles.column(column.name)
        if column.since > 1:
            if values.null_count == len(values):
                continue
            digest.update(column.name.encode())
        for chunk in values.chunks:
            numbers = _numbers(column, chunk)
            digest.update(np.ascontiguousarray(numbers, dtype=numbers.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def value_hash(candles: pa.Table, columns: Iterable[Column] = CANDLE_COLUMNS) -> str:
    """Return a hash of what the exchange says of the candles, whatever we say of them; as `content_hash`."""
    return content_hash(candles, [column for column in columns if column.is_value or column.kind is ColumnKind.TIME])


def _to_arrow(column: Column, values: NDArray[Any]) -> pa.Array:
    """Wrap numpy's memory. `pa.array` would import pandas only to find out that it was not given any of its types."""
    kind = _ARROW_TYPES[column.kind]
    values = np.ascontiguousarray(values, dtype=_NUMPY_TYPES[column.kind])
    validity, nulls = None, 0
    if column.is_nullable:
        is_null = values < 0 if column.kind is ColumnKind.INT else np.isnan(values)
        if nulls := int(is_null.sum()):
            validity = pa.py_buffer(np.packbits(~is_null, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(values)], null_count=nulls)


def _to_numpy(column: Column, values: pa.ChunkedArray) -> NDArray[Any]:
    """Return a view of Arrow's memory where nothing is null, a filled copy where something is."""
    return _numbers(column, values.chunk(0) if values.num_chunks == 1 else values.combine_chunks())


def _numbers(column: Column, array: pa.Array) -> NDArray[Any]:
    validity, data = array.buffers()
    here = slice(array.offset, array.offset + len(array))
    numbers = np.frombuffer(data or b"", dtype=_NUMPY_TYPES[column.kind])[here]
    if array.null_count:
        is_given = np.unpackbits(np.frombuffer(validity, dtype=np.uint8), bitorder="little")[here].astype(np.bool_)
        numbers = np.where(is_given, numbers, -1 if column.kind is ColumnKind.INT else np.nan)
    return numbers
