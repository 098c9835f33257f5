"""Batches of columns as lines of separated values."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from etl.errors import ConfigError
from etl.extract.files.limits import MAX_CELL_BYTES
from etl.extract.files.names import is_known

BATCH_ROWS = 1 << 16
_SHOWN = 80  # characters of a type, which may be long


def readable_names(schema: pa.Schema) -> list[str]:
    """Return the columns that a line can show: numbers, moments and text, not lists or bytes.

    Raises:
        ConfigError: There is none that is known here, and there are nested ones.
    """
    names = [field.name for field in schema if _is_number(field.type) or _is_text(field.type)]
    nested = [f"{field.name} ({field.type})"[:_SHOWN] for field in schema if pa.types.is_nested(field.type)]
    if nested and not any(map(is_known, names)):
        raise ConfigError(f"its values are nested: {', '.join(nested)}; write a column for each value")
    return names


def text_names(schema: pa.Schema) -> list[str]:
    """Return the columns of text."""
    return [field.name for field in schema if _is_text(field.type)]


def header_line(names: list[str]) -> str:
    """Return the line that names the columns."""
    return ",".join('"' + re.sub(r'["\r\n]', " ", name) + '"' for name in names)


def batch_lines(batch: pa.RecordBatch) -> Iterator[str]:
    """Yield rows as lines. Numbers keep every digit that tells them apart; moments become integers of their unit.

    Raises:
        ConfigError: A cell of text is longer than any of candles.
    """
    columns = [_plain(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)]
    sink = io.BytesIO()
    rows = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    pyarrow.csv.write_csv(rows, sink, pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed"))
    yield from sink.getvalue().decode(errors="backslashreplace").replace("\0", "\\x00").split("\n")[:-1]


def _plain(name: str, column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        if not is_known(name):
            return pa.nulls(len(column), pa.string())
        values = _without_breaks(name, column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, values).dictionary_decode()
    if _is_text(column.type):
        return _without_breaks(name, column) if is_known(name) else pa.nulls(len(column), pa.string())
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column


def _without_breaks(name: str, column: pa.Array) -> pa.Array:
    longest = pc.max(pc.binary_length(column)).as_py()
    if longest is not None and longest > MAX_CELL_BYTES:
        raise ConfigError(f"a cell of column {name!r} is over {MAX_CELL_BYTES} bytes long; this is no file of candles")
    return pc.replace_substring_regex(column.cast(pa.string()), r"[\r\n]+", " ")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind in (pa.string(), pa.large_string())
