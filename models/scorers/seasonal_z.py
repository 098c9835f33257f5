"""Seasonal robust z: how many deviations a feature is off, by what is usual at this hour of the day.

Volume and trades are against their hour of the week already; how lively an hour is, is found here. Median and median
absolute deviation, so that a few wild candles do not widen what counts as normal.

Source: Iglewicz and Hoaglin, How to detect and handle outliers (1993), for the deviation and its factor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etl.errors import InsufficientHistoryError
from models.blocks import BLOCK
from models.features import FEATURES
from models.scorers.reading import take_numbers, take_scales
from models.scorers.scorer import Floats, Judge, Lesson, Parts, Scorer, Study
from models.scorers.windows import columns_of

CHANNELS = ("return", "range", "body", "volume", "trades", "taker_share")
_COLUMNS = columns_of(CHANNELS)
_HOURS = 24
_ENOUGH = 30  # values, to know an hour by itself
_TO_SIGMA = 1.4826
_HOUR_S, _DAY_S = 3600, 86400


def fit(lessons: Sequence[Lesson], study: Study) -> Parts:
    """Find centre and deviation by hour of the day; where an hour has too few candles, those of the whole day."""
    values = np.concatenate([lesson.values[lesson.is_clean] for lesson in lessons])
    if not len(values):
        raise InsufficientHistoryError("no clean candle to learn from")
    hours = _hour_of(values)
    centre, deviation = np.zeros((_HOURS, len(CHANNELS))), np.ones((_HOURS, len(CHANNELS)))
    for channel, column in enumerate(_COLUMNS):
        is_known = ~np.isnan(values[:, column])
        known, here = values[is_known, column], hours[is_known]
        if len(known):
            centre[:, channel], deviation[:, channel] = _centre_and_deviation(known)
        for hour in range(_HOURS):
            mine = known[here == hour]
            if len(mine) >= _ENOUGH:
                centre[hour, channel], deviation[hour, channel] = _centre_and_deviation(mine)
    return Parts(numbers={"centre": centre, "deviation": deviation})


def load(parts: Parts) -> Judge:
    """Return what judges by these."""
    centre = take_numbers(parts, "centre", (_HOURS, len(CHANNELS)))
    deviation = take_scales(parts, "deviation", (_HOURS, len(CHANNELS)))

    def judge(rows: Floats) -> Floats:
        block = rows[:, -BLOCK:]
        hours = _hour_of(block)
        return (np.abs(block[..., _COLUMNS] - centre[hours]) / deviation[hours]).astype(np.float32)

    return judge


SCORER = Scorer("seasonal_z", "deviations from the median of the hour of the day", CHANNELS, fit, load)


def _hour_of(values: Floats) -> NDArray[np.int64]:
    """Return the hour of the day (..., ), found from its angle; 0 where no candle is held."""
    sine, cosine = values[..., FEATURES.index("day_sin")], values[..., FEATURES.index("day_cos")]
    seconds = np.rint(np.arctan2(sine, cosine) / (2 * np.pi) * _DAY_S)
    hours: NDArray[np.int64] = np.nan_to_num(seconds % _DAY_S // _HOUR_S).astype(np.int64)
    return hours


def _centre_and_deviation(values: Floats) -> tuple[float, float]:
    """Return median and robust deviation; where more than half of the values are alike, a plain one, or 1."""
    centre = float(np.median(values))
    off = np.abs(values - centre)
    return centre, float(_TO_SIGMA * np.median(off)) or float(off.std()) or 1.0
