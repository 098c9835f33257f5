"""Random candles for property tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from etl.schema import CANDLE_COLUMNS, ColumnKind, from_columns
from etl.timeframe import to_ms
from tests.markets import START

_prices = st.floats(1e-9, 1e12)
_amounts = st.floats(0, 1e15)


@st.composite
def candle_tables(draw: st.DrawFn, width: int = 40) -> Any:
    """Draw a CANDLE_SCHEMA table of up to `width` sane minutes from START, ascending, with nulls where they may be."""
    minutes = sorted(draw(st.sets(st.integers(0, width - 1))))
    rows = [draw(_candle()) for _ in minutes]
    columns: dict[str, Any] = {"open_time": np.array([to_ms(START) + 60_000 * m for m in minutes], dtype=np.int64)}
    for column in CANDLE_COLUMNS[1:]:
        dtype = {ColumnKind.FLOAT: np.float64, ColumnKind.INT: np.int64}.get(column.kind, np.int16)
        columns[column.name] = np.array([row[column.name] for row in rows], dtype=dtype)
    return from_columns(columns)


@st.composite
def _candle(draw: st.DrawFn) -> dict[str, float]:
    low, one, other, high = sorted(draw(st.lists(_prices, min_size=4, max_size=4)))
    maybe = st.one_of(st.just(float("nan")), _amounts)
    return {
        "open": one,
        "high": high,
        "low": low,
        "close": other,
        "volume": draw(_amounts),
        "quote_volume": draw(maybe),
        "trades": draw(st.integers(-1, 2**40)),
        "taker_buy_volume": draw(maybe),
        "taker_buy_quote_volume": draw(maybe),
        "flags": 0,
        "source": 1,
    }
