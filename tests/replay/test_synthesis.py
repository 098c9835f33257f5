"""The silences of a made-up exchange: when minutes are missing, and for whom."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from etl.replay.synthesis import listing_of, make_day

FIRST_DAY, DAYS = 19_000, 210
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")


def test_silences_are_rare_and_mostly_everyones() -> None:
    """About once a week all symbols miss the same 3 to 120 minutes; now and then one symbol misses some alone."""
    missing = np.array([_missing(symbol) for symbol in SYMBOLS])
    everyones = missing.all(axis=0)
    lengths = _lengths(everyones)
    assert 0.5 < len(lengths) / (DAYS / 7) < 1.6
    assert min(lengths) >= 3
    assert 40 < max(lengths) <= 240
    alone = missing & ~everyones
    assert 0 < sum(len(_lengths(row)) for row in alone) < 10


def _missing(symbol: str) -> npt.NDArray[np.bool_]:
    missing = np.ones((DAYS, 1_440), dtype=np.bool_)
    listing = listing_of(7, symbol)
    for number in range(DAYS):
        missing[number, make_day(7, listing, FIRST_DAY + number)[:, 0]] = False
    return missing.ravel()


def _lengths(silent: npt.NDArray[np.bool_]) -> list[int]:
    edges = np.flatnonzero(np.diff(silent.astype(np.int8), prepend=0, append=0))
    return [int(length) for length in edges[1::2] - edges[::2]]
