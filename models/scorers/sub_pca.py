"""Sub-PCA: how far the last few candles are from how consecutive candles lie together.

Windows of consecutive values of a feature are points; their principal components say which shapes are common. A window
is the stranger the farther it lies along components that usually vary little: each is weighed by its variance. The
distance is stamped on the window's last candle. Among simple ones the leader of TSB-AD (Liu and Paparrizos, The
elephant in the room, NeurIPS 2024).

Source: Shyu et al., A novel anomaly detection scheme based on principal component classifier (2003).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.blocks import BLOCK
from models.scorers.reading import take_numbers
from models.scorers.scorer import Floats, Judge, Lesson, Mask, Parts, Scorer, Study
from models.scorers.windows import columns_of, draw_windows, fill, windows_of

CHANNELS = ("return", "range", "body", "volume", "trades", "taker_share")
LENGTH = 2
"""Candles of a window. A window is strange as long as it holds a strange candle: the longer, the longer afterwards."""
_COLUMNS = columns_of(CHANNELS)
_MOST = 100_000  # windows to learn from
_WILDEST = 8.0  # deviations: beyond, a single candle would turn the components towards itself
_LEAST = 1e-2  # of the mean variance of a component: below, rounding would be weighed


def fit(lessons: Sequence[Lesson], study: Study) -> Parts:
    """Find each feature's components, from a sample of windows of clean candles."""
    windows, _ = draw_windows(lessons, LENGTH, _MOST, np.random.default_rng(study.seed))
    is_known: Mask = ~np.isnan(windows[..., _COLUMNS].sum(axis=1))
    clipped = np.clip(windows[..., _COLUMNS].astype(np.float64), -_WILDEST, _WILDEST)
    centre, whiten = np.zeros(len(CHANNELS)), np.tile(np.eye(LENGTH), (len(CHANNELS), 1, 1))
    for channel in range(len(CHANNELS)):
        values = clipped[is_known[:, channel], :, channel]
        if not values.any():
            continue
        centre[channel] = values.mean()
        values = values - centre[channel]
        variances, components = np.linalg.eigh(values.T @ values / len(values))
        whiten[channel] = components / np.sqrt(np.maximum(variances, _LEAST * variances.mean()) * LENGTH)
    return Parts(numbers={"centre": centre, "whiten": whiten})


def load(parts: Parts) -> Judge:
    """Return what judges by these."""
    centre = take_numbers(parts, "centre", (len(CHANNELS),))
    whiten = take_numbers(parts, "whiten", (len(CHANNELS), LENGTH, LENGTH))

    def judge(rows: Floats) -> Floats:
        values = fill(rows)[..., _COLUMNS] - centre
        scores = np.full((len(rows), BLOCK, len(CHANNELS)), np.nan, dtype=np.float32)
        # Row by row: a product's rounding may depend on where a row lies in a larger one.
        for number, row in enumerate(values):
            if not np.isnan(rows[number, -BLOCK:]).all():
                windows = windows_of(row[np.newaxis], LENGTH)[0].transpose(1, 0, 2)
                scores[number] = np.sqrt(((np.ascontiguousarray(windows) @ whiten) ** 2).sum(axis=-1)).T
        scores[np.isnan(rows[:, -BLOCK:, _COLUMNS])] = np.nan
        return scores

    return judge


SCORER = Scorer("sub_pca", "distance from the principal components of consecutive candles", CHANNELS, fit, load)
