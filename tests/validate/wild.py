"""Candles of a market in which everything happens that the flagging rules look for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.schema import from_columns

MINUTE_MS = 60_000


def calm(count: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return columns of a quiet market, a candle each minute since the epoch; to be changed and given to `to_table`."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.standard_normal(count) * 2e-4))
    opened = np.concatenate(([100.0], close))[:count]
    return {
        "open_time": np.arange(count) * MINUTE_MS,
        "open": opened,
        "high": np.maximum(opened, close) * 1.0002,
        "low": np.minimum(opened, close) * 0.9998,
        "close": close,
        "volume": random.lognormal(size=count),
    }


def wild(count: int, seed: int) -> dict[str, NDArray[Any]]:
    """Return columns as `calm` does, with gaps, wicks, jumps, bursts, frozen and silent stretches, and broken OHLC."""
    random = np.random.default_rng(seed)
    columns = calm(count, seed)
    for name in ("open", "high", "low", "close", "volume"):
        strange = random.random(count) < 0.05
        columns[name] = np.where(strange, columns[name] * np.exp(random.standard_normal(count)), columns[name])
    columns["open"] = columns["open"] * np.exp(random.standard_normal(count) * 5e-4)
    columns["high"] = np.maximum(columns["high"], columns["low"])
    for kind in random.permutation(4):
        start = int(random.integers(0, count))
        here = slice(start, start + int(random.integers(1, 30)))
        if kind == 0:
            columns["volume"][here] = 0.0
        elif kind == 1:
            for name in ("open", "high", "low", "close"):
                columns[name][here] = columns[name][start]
    is_held = random.random(count) < random.choice([0.6, 0.95, 1.0])
    gap = int(random.integers(0, count))
    is_held[gap : gap + int(random.integers(0, 60))] = False
    return {name: values[is_held] for name, values in columns.items()}


def to_table(columns: dict[str, NDArray[Any]]) -> pa.Table:
    """Return columns as CANDLE_SCHEMA."""
    count = len(columns["open_time"])
    nothing = np.full(count, np.nan)
    return from_columns(
        {
            "quote_volume": nothing,
            "trades": np.full(count, -1),
            "taker_buy_volume": nothing,
            "taker_buy_quote_volume": nothing,
            "flags": np.zeros(count, dtype=np.int16),
            "source": np.ones(count, dtype=np.int16),
            **columns,
        }
    )
