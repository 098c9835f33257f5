"""Windows of consecutive candles: for judges those that end with each candle of a block, for lessons clean ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from etl.errors import InsufficientHistoryError
from models.blocks import BLOCK
from models.features import FEATURES
from models.scorers.scorer import Floats, Lesson, Mask

# These stay as they are until something is known again; of the others there is none where nothing is known.
_LEVELS = [FEATURES.index(name) for name in ("range", "volume", "trades", "taker_share", "close")]


def columns_of(names: Sequence[str]) -> list[int]:
    """Return which columns of FEATURES these are."""
    return [FEATURES.index(name) for name in names]


def fill(values: Floats) -> Floats:
    """Fill what is not known: levels are as they were last, movements are none; the centre where nothing came before.

    Args:
        values: (rows, steps, len(FEATURES)).
    """
    filled = values.copy()
    levels = values[..., _LEVELS]
    steps = np.arange(values.shape[1])[:, np.newaxis]
    last = np.maximum.accumulate(np.where(np.isnan(levels), 0, steps), axis=1)
    filled[..., _LEVELS] = np.take_along_axis(levels, last, axis=1)
    filled[np.isnan(filled)] = 0.0
    return filled


def windows_of(values: Floats, length: int) -> Floats:
    """Return the windows that end with each candle of a block.

    Args:
        values: (rows, STEPS, k).
        length: At most CONTEXT + 1 candles.

    Returns:
        (rows, BLOCK, k, length), a view.
    """
    return np.lib.stride_tricks.sliding_window_view(values[:, -(BLOCK + length - 1) :], length, axis=1)


def clean_ends(is_clean: Mask, length: int) -> NDArray[np.int64]:
    """Return the slots with which windows of clean candles end, ascending."""
    dirty = np.concatenate([[0], np.cumsum(~is_clean)])
    return np.flatnonzero(dirty[length:] == dirty[:-length]) + length - 1


def draw_windows(
    lessons: Sequence[Lesson], length: int, most: int, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.float64]]:
    """Draw windows of clean candles, each as likely as any other, series by series and oldest first.

    Returns:
        (n, length, len(FEATURES)), and (n,) how far into its lesson each ends, between 0 and 1.

    Raises:
        InsufficientHistoryError: There is not one.
    """
    ends = [clean_ends(lesson.is_clean, length) for lesson in lessons]
    total = sum(len(here) for here in ends)
    if not total:
        raise InsufficientHistoryError(f"no {length} clean candles in a row to learn from")
    chosen = np.sort(rng.choice(total, min(most, total), replace=False))
    drawn, ages, before = [], [], 0
    for lesson, here in zip(lessons, ends, strict=True):
        mine = here[chosen[(chosen >= before) & (chosen < before + len(here))] - before]
        before += len(here)
        if len(mine):
            drawn.append(lesson.values[mine[:, np.newaxis] + np.arange(1 - length, 1)])
            ages.append(mine / len(lesson.values))
    return np.concatenate(drawn), np.concatenate(ages)
