"""The text of a page straight into columns, where it is plain; most is.

Plain is a JSON array of equally wide arrays, or lines of comma-separated values, of nothing but decimal numbers and
strings of them. Anything else, and anything that could be read in two ways, is left to `numbers.py`, which looks at
each value. Both ways read the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from etl.exchanges import LEAST_US, Layout
from etl.schema import CANDLE_COLUMNS, ColumnKind

_IN_NUMBERS = b"0123456789.-+eE"
_MOST_TIME = 10**16  # of whatever unit; what is larger may not fit into int64 as milliseconds
_MOST_COUNT = 10**18
_MOST_FLOAT = 1e300
_KINDS = {column.name: column.kind for column in CANDLE_COLUMNS}


def read_texts(texts: Sequence[str | None], layout: Layout) -> list[dict[str, NDArray[Any]] | None]:
    """Return the columns that `layout` names, of each text that is plain.

    Args:
        texts: What has been read as JSON before, or lines of values without a header; None is not plain.

    Returns:
        By column name, (n,) each: `open_time` as int64 milliseconds, `trades` int64, the others float64, all of them
        finite and none below 0. None where a look at each value is needed.
    """
    lines = [None if text is None else _to_lines(text, layout) for text in texts]
    parsed = iter(_parse_together([each for each in lines if each is not None], layout))
    columns = [None if each is None else next(parsed) for each in lines]
    return [None if each is None or not _is_sound(each) else _with_times_in_ms(each, layout) for each in columns]


def _to_lines(text: str, layout: Layout) -> bytes | None:
    """Return the text as lines of values without quotes, each as wide as `layout` wants it; None if it is not plain."""
    body = text.encode()
    found = _lines_of_json(body, layout.columns["open_time"]) if body.startswith(b"[[") else _lines_of_csv(body)
    if found is None:
        return None
    lines, width = found
    if width <= max(layout.columns.values()) or layout.width not in (None, width):
        return None
    # A minus before a zero means something to one reader and nothing to another; other minuses are in exponents.
    if b"-" in lines and (lines.startswith(b"-") or b",-" in lines or b"\n-" in lines):
        return None
    return lines


def _lines_of_json(body: bytes, place_of_time: int) -> tuple[bytes, int] | None:
    """Return an array of arrays as lines, and how many values each has; None if they are not all of one form.

    What is left of the text without the characters of numbers must be the same brackets, commas and pairs of quotes
    for every row, so that each string is of these characters too; and the time must be a number, not a string.
    """
    skeleton = body.translate(None, _IN_NUMBERS)
    row = skeleton[1 : skeleton.find(b"]") + 1]
    count, width = (len(skeleton) - 1) // (len(row) + 1), row.count(b",") + 1
    if row.replace(b'""', b"") != b"[" + b"," * (width - 1) + b"]":
        return None
    if skeleton != b"[" + b",".join([row] * count) + b"]" or b'"' in row.split(b",")[place_of_time % width]:
        return None
    return (body[2:-2] + b"\n").replace(b"],[", b"\n").translate(None, b'"'), width


def _lines_of_csv(body: bytes) -> tuple[bytes, int] | None:
    body = body.removesuffix(b"\n") + b"\n"
    skeleton = body.translate(None, _IN_NUMBERS)
    row = skeleton[: skeleton.find(b"\n") + 1]
    if row.strip(b",") != b"\n" or skeleton != row * (len(skeleton) // len(row)):
        return None
    return body, row.count(b",") + 1


def _parse_together(pages: Sequence[bytes], layout: Layout) -> list[dict[str, NDArray[Any]] | None]:
    """Parse all pages at once, since a call costs as much as some hundred rows; or each for itself if that fails."""
    columns = _parse(b"".join(pages), layout) if pages else None
    if columns is None:
        return [_parse(page, layout) for page in pages]
    ends = list(accumulate(page.count(b"\n") for page in pages))
    return [
        {name: values[start:end] for name, values in columns.items()}
        for start, end in zip([0, *ends], ends, strict=False)
    ]


def _parse(lines: bytes, layout: Layout) -> dict[str, NDArray[Any]] | None:
    names = {f"f{place}": name for name, place in layout.columns.items()}
    types = {place: pa.float64() if _KINDS[name] is ColumnKind.FLOAT else pa.int64() for place, name in names.items()}
    try:
        table = csv.read_csv(
            pa.py_buffer(lines),
            read_options=csv.ReadOptions(use_threads=False, block_size=len(lines) + 1, autogenerate_column_names=True),
            parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(column_types=types, include_columns=list(names), null_values=[]),
        )
    except pa.ArrowInvalid:
        return None
    return {name: _to_numpy(table.column(place), types[place]) for place, name in names.items()}


def _to_numpy(values: pa.ChunkedArray, kind: pa.DataType) -> NDArray[Any]:
    """Return a view of Arrow's memory: its own way to numpy would import pandas."""
    array = values.combine_chunks()
    numbers = np.frombuffer(array.buffers()[1], dtype=np.float64 if kind == pa.float64() else np.int64)
    return numbers[array.offset : array.offset + len(array)]


def _is_sound(columns: dict[str, NDArray[Any]]) -> bool:
    """Return whether nothing is out of the ordinary: no infinity, no moment before 1970 or beyond all calendars."""
    return all(
        (values.min() > 0 and values.max() < _MOST_TIME)
        if name == "open_time"
        else values.max() < (_MOST_COUNT if values.dtype == np.int64 else _MOST_FLOAT)
        for name, values in columns.items()
    )


def _with_times_in_ms(columns: dict[str, NDArray[Any]], layout: Layout) -> dict[str, NDArray[Any]] | None:
    times = columns["open_time"]
    if layout.unit_ms is not None:
        return columns | {"open_time": times * layout.unit_ms}
    is_us = times >= LEAST_US
    if (times[is_us] % 1000).any():
        return None
    return columns | {"open_time": np.where(is_us, times // 1000, times)}
