"""The least step of a market's prices."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LATEST = 5_000
"""Candles that a tick is found in: exchanges change it with the price."""

_FINEST = 1e-7  # of the price
_OFF, _NEARLY_ALL = 1e-3, 0.99  # of a tick that a price may be off, by rounding; of the prices, which have bad prints


def find_tick(prices: NDArray[np.float64]) -> float:
    """Return the step of which nearly all prices are multiples; 0 if there is none.

    A decimal step, or two or five of one, of at least a ten-millionth of the price: a finer one never matters.
    """
    if not len(prices):
        return 0.0
    usual = float(np.median(prices))
    power = math.floor(math.log10(usual))
    for decade in range(power, power - 8, -1):
        for digit in (5, 2, 1):
            tick = digit * 10.0**decade
            steps = prices / tick
            if tick >= _FINEST * usual and np.mean(np.abs(steps - np.rint(steps)) < _OFF) >= _NEARLY_ALL:
                return tick
    return 0.0


def find_seen_tick(prices: NDArray[np.float64]) -> float:
    """Return the tick, no wider than prices next to one another usually differ; 0 if all of them are one.

    A few prices may all be multiples of more than their tick: those that never moved are multiples of themselves.
    """
    apart = np.diff(np.unique(prices))
    return min(find_tick(prices), float(np.median(apart))) if len(apart) else 0.0
