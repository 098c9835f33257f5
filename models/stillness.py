"""Stretches in which a price stands still: candles without any range that close where the last one did."""

from __future__ import annotations

import numpy as np

from models.features import Mask, Track
from models.scene import AROUND, Sight


def is_still(track: Track, start: int, end: int) -> Mask:
    """Return (end - start,) whether each slot from `start` to before `end` holds a candle that stands still."""
    slots = slice(start, end)
    has_no_range = track.is_held[slots] & (track.high[slots] == track.low[slots])
    still: Mask = has_no_range & (track.close[slots] == track.last[slots])
    return still


def longest_run(sight: Sight) -> tuple[int, int] | None:
    """Return first and last slot of the longest run of still candles that reaches into an incident; None without one.

    It may have begun before: models tell what lasts only once it has lasted.
    """
    scene = sight.scene
    start = max(scene.first - AROUND, 0)
    still = is_still(scene.track, start, scene.last + 1)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], still, [False])).astype(np.int8)))
    runs = edges.reshape(-1, 2) + start  # half-open
    runs = runs[runs[:, 1] > scene.first]
    if not len(runs):
        return None
    first, end = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return int(first), int(end) - 1


def share_still(track: Track, start: int) -> float:
    """Return which share of the AROUND slots before one stood still; with few of them, a little more than they say."""
    before = slice(max(start - AROUND, 0), start)
    still = int(is_still(track, before.start, start).sum())
    return (still + 1) / (int(track.is_held[before].sum()) + 2)
