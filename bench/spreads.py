"""Time to look for spreads: a day of 1m of one exchange, with the day before it, against others of the same asset.

Run as `python -m bench spreads`; it takes seconds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rich.console import Console

from etl.alerting import Spread
from etl.schema import from_columns
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.features import Track, to_track
from models.spreads import find_spreads

MINUTE = Timeframe.M1
WHOLE = TimeRange.from_ms(0, 2 * Timeframe.D1.ms)
out = Console(width=120)


def made_up(venue: int) -> Track:
    """Return two days of an asset: of all venues the same prices, but for a hair."""
    count = WHOLE.count(MINUTE)
    own = np.random.default_rng([1, venue])
    close = 100 * np.exp(np.cumsum(np.random.default_rng(1).standard_normal(count)) * 2e-4)
    close = close * np.exp(2e-5 * own.standard_normal(count))
    opened = np.concatenate(([100.0], close[:-1]))
    unknown = np.full(count, np.nan)
    columns = {
        "open_time": np.arange(count) * MINUTE.ms,
        "open": opened,
        "high": np.maximum(opened, close) * 1.0002,
        "low": np.minimum(opened, close) * 0.9998,
        "close": close,
        "volume": own.lognormal(size=count),
        "quote_volume": unknown,
        "trades": np.full(count, -1),
        "taker_buy_volume": unknown,
        "taker_buy_quote_volume": unknown,
        "flags": np.zeros(count, dtype=np.int16),
        "source": np.ones(count, dtype=np.int16),
    }
    return to_track(from_columns(columns), MINUTE, WHOLE)


def main() -> None:
    """Print how long it takes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--venues", type=int, default=5, help="how many exchanges there are (5)")
    parser.add_argument("--times", type=int, default=20, help="how often it is measured (20)")
    given = parser.parse_args()
    tracks = {Series(f"venue{number}", "BTC/USD", MINUTE): made_up(number) for number in range(given.venues)}
    here, *others = tracks
    taken_ms = []
    for _ in range(given.times):
        begun = time.perf_counter()
        find_spreads(here, tracks[here], {name: tracks[name] for name in others}, Spread())
        taken_ms.append(1e3 * (time.perf_counter() - begun))
    out.print(
        f"two days of {given.venues} exchanges: {np.median(taken_ms):.1f} ms in the middle, {min(taken_ms):.1f} ms at"
        f" least, {max(taken_ms):.1f} ms at most, of {given.times} times"
    )
