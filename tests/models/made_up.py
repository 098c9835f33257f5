"""A made-up market for tests of models: a random walk with noisy volumes, some candles missing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from etl.schema import Origin, from_columns
from etl.timeframe import Timeframe

START_MS = 1_700_000_000_000 // 86_400_000 * 86_400_000


def walk(count: int, seed: int = 1, missing: float = 0.0, timeframe: Timeframe = Timeframe.M1) -> pa.Table:
    """Return CANDLE_SCHEMA, from START_MS on; the first candle is held, of the others a share is missing."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.standard_t(5, count) * 5e-4))
    opened = np.concatenate(([100.0], close[:-1]))
    volume = random.lognormal(sigma=0.8, size=count)
    columns = {
        "open_time": START_MS + np.arange(count) * timeframe.ms,
        "open": opened,
        "high": np.maximum(opened, close) * (1 + 3e-4 * random.random(count)),
        "low": np.minimum(opened, close) * (1 - 3e-4 * random.random(count)),
        "close": close,
        "volume": volume,
        "quote_volume": volume * close,
        "trades": random.integers(1, 500, count),
        "taker_buy_volume": volume * random.random(count),
        "taker_buy_quote_volume": np.full(count, np.nan),
        "flags": np.zeros(count, dtype=np.int16),
        "source": np.full(count, int(Origin.API), dtype=np.int16),
    }
    is_held = random.random(count) >= missing
    is_held[0] = True
    return from_columns({name: values[is_held] for name, values in columns.items()})
