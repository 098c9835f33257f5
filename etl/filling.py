"""Flat candles in the place of absent ones: made up for a reader, and never stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.schema import CANDLE_COLUMNS, ColumnKind, Flag, from_columns, to_columns


def fill_flat(candles: pa.Table, before: pa.Table, absent: NDArray[np.int64]) -> pa.Table:
    """Return the candles and, where one is absent, a flat one at the last close before it.

    Args:
        candles: CANDLE_SCHEMA, ascending by open_time.
        before: The last candle before them, or none.
        absent: (n,) open times of those to make up, in milliseconds, ascending. Before the first close none is made.
    """
    known = to_columns(pa.concat_tables([before, candles]))
    absent = np.setdiff1d(absent, known["open_time"])
    last = np.searchsorted(known["open_time"], absent) - 1
    absent, last = absent[last >= 0], last[last >= 0]
    made: dict[str, NDArray[Any]] = {name: values[last] for name, values in known.items()}
    for column in CANDLE_COLUMNS:
        if column.name in {"open", "high", "low"}:
            made[column.name] = made["close"]
        elif column.is_value and column.name != "close":
            made[column.name] = _nothing(column.kind, made[column.name])
    made |= {"open_time": absent, "flags": np.full(len(absent), Flag.FILLED, dtype=np.int16)}
    columns = to_columns(candles)
    both = {name: np.concatenate([columns[name], made[name]]) for name in columns}
    order = np.argsort(both["open_time"], kind="stable")
    return from_columns({name: values[order] for name, values in both.items()})


def _nothing(kind: ColumnKind, like: NDArray[Any]) -> NDArray[Any]:
    """Return zeros, and null where it is null."""
    return np.where(like < 0, -1, 0) if kind is ColumnKind.INT else np.where(np.isnan(like), np.nan, 0.0)
