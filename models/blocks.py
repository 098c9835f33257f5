"""Cutting of a series into rows for scorers, so that a candle's score is the same whoever asks for it.

The grid since the epoch is cut into blocks of BLOCK slots. A row is a block with the CONTEXT slots before it, so each
candle is judged by at least CONTEXT slots and at most STEPS, and by the same ones whether a year is scored or the
newest candle alone. Judges always get ROWS rows at once, since arithmetic may round otherwise with other shapes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etl.series import TimeRange
from etl.timeframe import Timeframe
from models.features import FEATURES, REACH
from models.recent import reach_of

BLOCK = 256
CONTEXT = 256
STEPS = CONTEXT + BLOCK
ROWS = 32

Floats = NDArray[np.float32]


def context_of(timeframe: Timeframe, time_range: TimeRange) -> TimeRange:
    """Return which candles are needed to score those of `time_range`: up to its end, from a good while before it."""
    first = _slot_of(timeframe, time_range.start_ms) // BLOCK * BLOCK - CONTEXT - max(REACH, reach_of(timeframe))
    return TimeRange.from_ms(first * timeframe.ms, time_range.end_ms)


def rows_of(timeframe: Timeframe, time_range: TimeRange) -> TimeRange:
    """Return the slots of all rows that `time_range` lies in: whole blocks, and the context of the first."""
    first = _slot_of(timeframe, time_range.start_ms) // BLOCK * BLOCK - CONTEXT
    last = -(-_slot_of(timeframe, time_range.end_ms + timeframe.ms - 1) // BLOCK) * BLOCK
    return TimeRange.from_ms(first * timeframe.ms, last * timeframe.ms)


def to_rows(values: Floats) -> Floats:
    """Cut what `rows_of` spans into rows.

    Args:
        values: (CONTEXT + n * BLOCK, n_features).

    Returns:
        (n, STEPS, n_features), a view.
    """
    windows = np.lib.stride_tricks.sliding_window_view(values, STEPS, axis=0)[::BLOCK]
    return windows.transpose(0, 2, 1)


def judge_rows(judge: Callable[[Floats], Floats], values: Floats) -> Floats:
    """Let a judge score what `rows_of` spans.

    Args:
        values: (CONTEXT + n * BLOCK, len(FEATURES)).

    Returns:
        (n * BLOCK, channels): of every slot but the context.
    """
    rows = to_rows(values)
    judged = []
    for start in range(0, len(rows), ROWS):
        batch = np.full((ROWS, STEPS, len(FEATURES)), np.nan, dtype=np.float32)
        here = rows[start : start + ROWS]
        batch[: len(here)] = here
        judged.append(judge(batch)[: len(here)])
    whole = np.concatenate(judged)
    return whole.reshape(-1, whole.shape[-1])


def _slot_of(timeframe: Timeframe, moment_ms: int) -> int:
    return moment_ms // timeframe.ms
