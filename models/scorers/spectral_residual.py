"""Spectral residual: what stands out of the spectrum of the last candles stands out in time.

The amplitudes of a window's transform, less what neighbouring frequencies have, are turned back: a saliency map. A
candle's score is how far its own saliency is above that of the candles before it. Applied causally: each candle is the
last one of its window, behind which a few points are extrapolated, since what stands at the edge is not told well: from
the candles before it, or a spike would go on for ever and stand out no more. Nothing is learned.

Source: Ren et al., Time-series anomaly detection service at Microsoft (KDD 2019), section 3; the constants are theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etl.errors import ArtifactError
from models.blocks import BLOCK
from models.scorers.scorer import Floats, Judge, Lesson, Parts, Scorer, Study
from models.scorers.windows import columns_of, fill, windows_of

CHANNELS = ("return", "range", "volume")
WINDOW = 64
"""Points of a transform: the candles, and those that are extrapolated."""
_COLUMNS = columns_of(CHANNELS)
_AHEAD = 5  # points that are extrapolated (kappa)
_SLOPES = 5  # candles that the slope is from (m)
_NEIGHBOURS = 3  # frequencies over which amplitudes are averaged (q)
_LOCAL = 21  # candles before that saliency is compared with (z)
_TINY = 1e-8


def fit(lessons: Sequence[Lesson], study: Study) -> Parts:
    """Return nothing: there is nothing to learn."""
    return Parts()


def load(parts: Parts) -> Judge:
    """Return what judges."""
    if parts.numbers or parts.graph is not None:
        raise ArtifactError("there are parts where nothing is learned")

    def judge(rows: Floats) -> Floats:
        values = fill(rows)[..., _COLUMNS].astype(np.float64)
        values[..., CHANNELS.index("return")] = np.abs(values[..., CHANNELS.index("return")])
        scores = np.full((len(rows), BLOCK, len(CHANNELS)), np.nan, dtype=np.float32)
        for number, row in enumerate(values):
            if not np.isnan(rows[number, -BLOCK:]).all():
                scores[number] = _stand_out(windows_of(row[np.newaxis], WINDOW - _AHEAD)[0])
        scores[np.isnan(rows[:, -BLOCK:, _COLUMNS])] = np.nan
        return scores

    return judge


SCORER = Scorer("spectral_residual", "what stands out of the spectrum of the last candles", CHANNELS, fit, load)


def _stand_out(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how salient the last candle of each window is, against those before it.

    Args:
        windows: (..., WINDOW - _AHEAD).
    """
    last, before = windows[..., -2], windows[..., -2 - _SLOPES : -2]
    slope = ((last[..., np.newaxis] - before) / np.arange(_SLOPES, 0, -1)).mean(axis=-1)
    ahead = before[..., 1] + slope * _SLOPES
    points = np.concatenate([windows, np.repeat(ahead[..., np.newaxis], _AHEAD, axis=-1)], axis=-1)
    spectrum = np.fft.rfft(points, axis=-1)
    amplitude = np.abs(spectrum) + _TINY
    logs = np.log(amplitude)
    # The spectrum of real numbers is its own mirror: beyond its ends it goes on with what lies before them.
    around = np.concatenate([logs[..., 1:2], logs, logs[..., -2:-1]], axis=-1)
    usual = sum(around[..., k : k + logs.shape[-1]] for k in range(_NEIGHBOURS)) / _NEIGHBOURS
    saliency = np.abs(np.fft.irfft(np.exp(logs - usual) * (spectrum / amplitude), n=WINDOW, axis=-1))
    at = WINDOW - _AHEAD - 1
    local = saliency[..., at - _LOCAL : at].mean(axis=-1)
    stands: NDArray[np.float64] = (saliency[..., at] - local) / (local + _TINY)
    return stands
