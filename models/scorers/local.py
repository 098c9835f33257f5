"""Candles against what was usual just before them, so that who has learned in calm months knows wild ones.

Usual is a weighted mean of the candles before, whose weights halve every so many slots; the candle itself has none.
"""

from __future__ import annotations

import numpy as np

from models.features import FEATURES, LEAST_RETURN
from models.scorers.scorer import Floats

NEAR, FAR = 30, 120
"""Slots in which weights halve: for what may come next, and for what is strange because it lasts."""
LEVELS = ("range_level", "volume_level", "return_level")
"""What was usual: of range and volume in deviations, of the return's size as a log."""
MOVES = ("return", "range", "body", "place", "volume", "trades", "taker_share")
"""The candle's features, less what was usual, or over it; place and taker_share as they are."""
MOMENT = ("day_sin", "day_cos")

_WIDEST = 5.0  # in deviations: a wilder candle counts no more than that for what is usual
_PRIOR = 2.0  # candles of no news, as long as few were seen
_COMMON_ROOT = 0.82  # the mean root of the size of a normal variable


def localise(values: Floats, half_life: int) -> dict[str, Floats]:
    """Return MOVES, LEVELS and MOMENT, (rows, STEPS) each; NaN where a candle's own are not known.

    Args:
        values: (rows, STEPS, len(FEATURES)), normalised.
        half_life: In slots.
    """
    columns = dict(zip(FEATURES, np.moveaxis(values, -1, 0), strict=True))
    level = {
        name: _before(np.clip(columns[name], -_WIDEST, _WIDEST), half_life) for name in ("range", "volume", "trades")
    }
    root = _before(np.sqrt(np.minimum(np.abs(columns["return"]), 10 * _WIDEST)), half_life, _COMMON_ROOT)
    usual = (root / np.float32(_COMMON_ROOT)) ** 2 + np.float32(LEAST_RETURN)
    return {
        **columns,
        **{name: columns[name] - usual_one for name, usual_one in level.items()},
        "return": columns["return"] / usual,
        "body": columns["body"] / usual,
        "range_level": level["range"],
        "volume_level": level["volume"],
        "return_level": np.log(usual),
    }


def _before(values: Floats, half_life: int, common: float = 0.0) -> Floats:
    """Return the weighted mean of what is known before each step, drawn towards what is common."""
    is_known = ~np.isnan(values)
    sums = _fading_sum(np.where(is_known, values, np.float32(0)), half_life) + np.float32(_PRIOR * common)
    return sums / (_fading_sum(is_known.astype(np.float32), half_life) + np.float32(_PRIOR))


def _fading_sum(values: Floats, half_life: int) -> Floats:
    """Return the weighted sum of what lies before each step.

    By sums over 1, 2, 4 ... steps, each made of two of the ones before: a product with a matrix of weights would wait
    for the other cores of a busy machine, and a loop over steps is slow.
    """
    sums = np.zeros_like(values)
    sums[:, 1:] = values[:, :-1]
    length = 1
    while length < values.shape[1]:
        sums[:, length:] += np.float32(0.5 ** (length / half_life)) * sums[:, :-length]
        length *= 2
    return sums
