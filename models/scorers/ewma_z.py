"""EWMA z: how far a candle is off, in deviations of what came just before it.

Mean and variance are exponentially weighted over the candles before, never over the candle itself. RiskMetrics made
this the way to follow volatility, with a half-life of 11 days (a decay of 0.94). How long it should be for candles is
found out, by feature: so long that clean candles are seldom far off. That is not where a forecast is best: a short
memory follows a market more closely, and takes the first candles of an anomaly for what is usual.

Source: J.P. Morgan and Reuters, RiskMetrics technical document (1996), chapter 5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etl.errors import ArtifactError, InsufficientHistoryError
from models.blocks import BLOCK
from models.features import LEAST_RETURN
from models.scorers.reading import take_numbers
from models.scorers.scorer import Floats, Judge, Lesson, Mask, Parts, Scorer, Study
from models.scorers.windows import columns_of

CHANNELS = ("return", "range", "volume")
HALF_LIVES = (11.2, 30.0, 60.0, 120.0, 240.0)
"""Candles; the first is RiskMetrics' decay of 0.94."""
_COLUMNS = columns_of(CHANNELS)
_ENOUGH = 16  # candles before, to say anything
_FLOOR = {"return": 0.05, "range": 0.5, "volume": 0.5}
"""Of a common deviation, the least that is taken: after hours without any movement, a tick is no wonder. Range and
volume are logs, in which the first tick is larger than any after it."""
_COMMON, _RARE = 0.75, 0.9999  # quantiles of scores: rare is what an alert budget of minutes is about
_MOST = 1_000_000  # candles are enough to tell half-lives apart


def fit(lessons: Sequence[Lesson], study: Study) -> Parts:
    """Choose each channel's half-life: under which rare scores of clean candles exceed common ones least."""
    share = max(1, -(-sum(len(lesson.values) for lesson in lessons) // _MOST))
    tails = np.empty((len(HALF_LIVES), len(CHANNELS)))
    for number, half_life in enumerate(HALF_LIVES):
        scores = np.concatenate([_learned(lesson, share, half_life) for lesson in lessons])
        if not len(scores):
            raise InsufficientHistoryError(f"no {_ENOUGH} clean candles to learn from")
        for channel in range(len(CHANNELS)):
            known = scores[~np.isnan(scores[:, channel]), channel]
            common, rare = np.quantile(known, (_COMMON, _RARE)) if len(known) else (1.0, 1.0)
            tails[number, channel] = rare / max(common, np.finfo(np.float32).tiny)
    return Parts(numbers={"half_life": np.array(HALF_LIVES)[tails.argmin(axis=0)]})


def load(parts: Parts) -> Judge:
    """Return what judges by these."""
    half_life = take_numbers(parts, "half_life", (len(CHANNELS),))
    if not ((half_life >= 1) & (half_life <= BLOCK)).all():
        raise ArtifactError(f"half-lives of {half_life.tolist()} candles, where 1 to {BLOCK} are read")

    def judge(rows: Floats) -> Floats:
        score = _deviations(rows, ~np.isnan(rows[..., _COLUMNS]), half_life)
        return score[:, -BLOCK:].astype(np.float32)

    return judge


SCORER = Scorer("ewma_z", "deviations from what came just before, exponentially weighted", CHANNELS, fit, load)


def _learned(lesson: Lesson, share: int, half_life: float) -> NDArray[np.float64]:
    """Return the scores (n, channels) of the clean candles that have one, of the latest part of a lesson."""
    values = lesson.values[-(len(lesson.values) // share) :][np.newaxis]
    is_known = ~np.isnan(values[..., _COLUMNS]) & lesson.is_clean[-values.shape[1] :, np.newaxis]
    scores = _deviations(values, is_known, np.full(len(CHANNELS), half_life))[0]
    told: NDArray[np.float64] = scores[~np.isnan(scores).all(axis=1)]
    return told


def _deviations(rows: Floats, known: Mask, half_life: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by candle and channel how many deviations it is off; NaN where too little came before.

    Args:
        rows: (rows, steps, len(FEATURES)).
        known: (rows, steps, channels) what is looked at.
        half_life: (channels,).
    """
    from scipy.signal import lfilter

    values = np.where(known, rows[..., _COLUMNS], 0.0).astype(np.float64)
    before: NDArray[np.int64] = np.cumsum(known, axis=1) - known
    score = np.empty_like(values)
    for channel, decay in enumerate(0.5 ** (1 / half_life)):
        # The newest weighs 1; a slot in which nothing is known weighs nothing.
        sums = np.stack([known[..., channel], values[..., channel], values[..., channel] ** 2])
        weight, total, square = lfilter([0.0, 1.0], [1.0, -decay], sums, axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            # A return is off from none; what is a level, from its mean.
            mean = total / weight if CHANNELS[channel] != "return" else np.zeros_like(total)
            variance = square / weight - mean**2
            deviation = np.sqrt(np.maximum(variance, 0.0) + _FLOOR[CHANNELS[channel]] ** 2)
            off = np.abs(values[..., channel] - mean)
            if CHANNELS[channel] == "return":
                off = np.maximum(off - LEAST_RETURN, 0.0)
            score[..., channel] = off / deviation
    score[~known | (before < _ENOUGH)] = np.nan
    return score
