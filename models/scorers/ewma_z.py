"""EWMA z: how far a candle is off, in deviations of what came just before it.

Mean and variance are exponentially weighted over the candles before, never over the candle itself. RiskMetrics made
this the way to follow volatility, with a half-life of 11 days (a decay of 0.94); how long it should be for candles is
found out, by feature: the half-life under which what came next was least surprising.

Source: J.P. Morgan and Reuters, RiskMetrics technical document (1996), chapter 5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etl.errors import ArtifactError, InsufficientHistoryError
from models.blocks import BLOCK
from models.scorers.reading import take_numbers
from models.scorers.scorer import Floats, Judge, Lesson, Mask, Parts, Scorer, Study
from models.scorers.windows import columns_of

CHANNELS = ("return", "range", "volume")
HALF_LIVES = (11.2, 30.0, 60.0, 120.0)
"""Candles; the first is RiskMetrics' decay of 0.94."""
_COLUMNS = columns_of(CHANNELS)
_ENOUGH = 16  # candles before, to say anything
_FLOOR = 0.05  # of a common deviation: after hours without any movement, a tick is no wonder
_FREEDOM = 4.0  # of Student's t: returns have heavy tails, and a single candle shall not decide
_MOST = 1_000_000  # candles are enough to tell half-lives apart


def fit(lessons: Sequence[Lesson], study: Study) -> Parts:
    """Choose the half-life of each channel by the likelihood of clean candles, under Student's t."""
    loss = np.zeros((len(HALF_LIVES), len(CHANNELS)))
    count = np.zeros(len(CHANNELS))
    share = max(1, -(-sum(len(lesson.values) for lesson in lessons) // _MOST))
    for lesson in lessons:
        values = lesson.values[-(len(lesson.values) // share) :][np.newaxis]
        is_clean = lesson.is_clean[-values.shape[1] :]
        known = ~np.isnan(values[..., _COLUMNS]) & is_clean[np.newaxis, :, np.newaxis]
        for number, half_life in enumerate(HALF_LIVES):
            score, deviation = _deviations(values, known, np.full(len(CHANNELS), half_life))
            is_told = known & ~np.isnan(score)
            surprise = np.log(deviation) + (_FREEDOM + 1) / 2 * np.log1p(score**2 / (_FREEDOM - 2))
            loss[number] += np.where(is_told, surprise, 0.0).sum(axis=(0, 1))
        count += is_told.sum(axis=(0, 1))
    if not count.any():
        raise InsufficientHistoryError(f"no {_ENOUGH} clean candles to learn from")
    return Parts(numbers={"half_life": np.array(HALF_LIVES)[loss.argmin(axis=0)]})


def load(parts: Parts) -> Judge:
    """Return what judges by these."""
    half_life = take_numbers(parts, "half_life", (len(CHANNELS),))
    if not ((half_life >= 1) & (half_life <= BLOCK)).all():
        raise ArtifactError(f"half-lives of {half_life.tolist()} candles, where 1 to {BLOCK} are read")

    def judge(rows: Floats) -> Floats:
        score, _ = _deviations(rows, ~np.isnan(rows[..., _COLUMNS]), half_life)
        return score[:, -BLOCK:].astype(np.float32)

    return judge


SCORER = Scorer("ewma_z", "deviations from what came just before, exponentially weighted", CHANNELS, fit, load)


def _deviations(
    rows: Floats, known: Mask, half_life: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return by candle how many deviations it is off, and the deviation; NaN where too little came before.

    Args:
        rows: (rows, steps, len(FEATURES)).
        known: (rows, steps, channels) what is looked at.
        half_life: (channels,).
    """
    from scipy.signal import lfilter

    values = np.where(known, rows[..., _COLUMNS], 0.0).astype(np.float64)
    before: NDArray[np.int64] = np.cumsum(known, axis=1) - known
    score, deviation = np.empty_like(values), np.empty_like(values)
    for channel, decay in enumerate(0.5 ** (1 / half_life)):
        # The newest weighs 1; a slot in which nothing is known weighs nothing.
        sums = np.stack([known[..., channel], values[..., channel], values[..., channel] ** 2])
        weight, total, square = lfilter([0.0, 1.0], [1.0, -decay], sums, axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            # A return is off from none; what is a level, from its mean.
            mean = total / weight if CHANNELS[channel] != "return" else np.zeros_like(total)
            variance = square / weight - mean**2
        deviation[..., channel] = np.sqrt(np.maximum(variance, 0.0) + _FLOOR**2)
        score[..., channel] = np.abs(values[..., channel] - mean) / deviation[..., channel]
    score[~known | (before < _ENOUGH)] = np.nan
    return score, deviation
