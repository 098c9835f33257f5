"""Candles by column: how they become text, and rows, and columns again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etl.replay.market import Columns, Row

_SCIENTIFIC = 100  # Arrow prints 99e-8 and less with an exponent
_NUMBERS = ("open_time_ms", "trades")


def print_decimals(units: npt.NDArray[np.int64]) -> pa.Array:
    """Return whole numbers of 1e-8, none below zero, as Binance prints every number: with eight places."""
    words = np.column_stack((units, np.zeros_like(units)))  # 128 bits each, the low half first
    decimals = pa.Array.from_buffers(pa.decimal128(38, 8), len(units), [None, pa.py_buffer(words)])
    texts = decimals.cast(pa.string())
    is_small = units < _SCIENTIFIC
    if not is_small.any():
        return texts
    small = pa.array([f"0.{value:08d}" for value in units[is_small].tolist()], pa.string())
    return pc.replace_with_mask(texts, pa.array(is_small), small)


def to_rows(columns: Columns) -> tuple[Row, ...]:
    """Return the candles of `columns`, one by one."""
    return tuple(map(Row._make, zip(*(column.to_pylist() for column in columns), strict=True)))


def to_columns(rows: Sequence[Row]) -> Columns:
    """Return `rows` by column."""
    values = zip(*rows, strict=True) if rows else [()] * len(Columns._fields)
    kinds = (pa.int64() if name in _NUMBERS else pa.string() for name in Columns._fields)
    return Columns(*(pa.array(column, kind) for column, kind in zip(values, kinds, strict=True)))


def join(parts: Iterable[pa.Array | str]) -> list[bytes]:
    """Return the texts of `parts` one after the other, row by row; a str stands in every row.

    None of the arrays may have a null.
    """
    return pc.binary_join_element_wise(*parts, "").cast(pa.binary()).to_pylist()  # type: ignore[no-any-return]


def bare(column: pa.Array) -> list[pa.Array | str]:
    """Return the parts that print a column as JSON prints numbers; null where there is none."""
    return [pc.fill_null(column.cast(pa.string()), "null")]


def quoted(column: pa.Array) -> list[pa.Array | str]:
    """Return the parts that print a column as JSON prints strings; null where there is none."""
    if not column.null_count:
        return ['"', column, '"']
    return [pc.fill_null(pc.binary_join_element_wise('"', column, '"', ""), "null")]
