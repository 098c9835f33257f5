"""Usual values of late: medians over the slots before, by which years of one market become comparable.

A history of years is no one market: volumes grow a thousandfold, moves shrink to a tenth, thin months vary more than
busy ones. Held against all of its past, each candle of a year may be strange; held against the months before it, few
are. Up to `30m` a history is 90 days, and what an hour of the week has in them says more than what came before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etl.timeframe import Timeframe

NAMES = ("range", "volume", "trades", "move")
"""Features: high less low, over close; volume; trades; the size of a log return, over the root of its slots."""
ENOUGH = 16
"""Candles in the slots before, to know what was usual."""
STEP = 16
"""Slots for which one median counts; rows of scorers begin where such steps do."""

_SLOTS = 128  # or the whole days that hold as many: 6 days at 1h, 22 at 4h, 128 at 1d
_LARGE = 0.9  # quantile that says how far candles go: in thin markets most do not move at all
_LEAST = 0.01  # of the median, added to each value, so that zero has a log
_PART = 0.25  # of the floor of ranges, that keeps moves of a market that stood still from being told as great
_QUIETEST = 0.125  # of the moves that were learned: a market so calm is held against no calmer one
_NARROWEST = 0.33  # of how far candles differed in what was learned, likewise
_DAY_MS = 86_400_000

Floats = NDArray[np.float64]


def slots_before(timeframe: Timeframe) -> int:
    """Return how many slots say what was usual lately: whole days, so that each hour counts as often; 0 up to `30m`."""
    if timeframe.ms < Timeframe.H1.ms:
        return 0
    day = max(_DAY_MS // timeframe.ms, 1)
    return -(-_SLOTS // day) * day


def reach_of(timeframe: Timeframe) -> int:
    """Return how many slots before a slot may have a say in what was usual lately."""
    before = slots_before(timeframe)
    return before + STEP if before else 0


def usual_lately(
    slots: NDArray[np.int64], values: Sequence[Floats], first: int, count: int, timeframe: Timeframe
) -> Floats:
    """Return what was usual in the slots before.

    Args:
        slots: (n,) of candles, ascending, counted from the epoch.
        values: (n,) each, in the order of NAMES, at least 0; NaN where not known.
        first, count: The slots that are asked for.

    Returns:
        (2 * len(NAMES), count): the median by name (of moves, a large one), then by how much single candles differ from
        it, as a log that one in ten exceeds. NaN where fewer than ENOUGH are known; all of it up to `30m`.
    """
    usual = np.full((2 * len(NAMES), count), np.nan)
    before = slots_before(timeframe)
    starts = range(first // STEP * STEP, first + count, STEP) if before else ()
    for start in starts:
        low, high = np.searchsorted(slots, (start - before, start))
        here = slice(max(start - first, 0), start - first + STEP)
        for number, (name, one) in enumerate(zip(NAMES, values, strict=True)):
            known = one[low:high][~np.isnan(one[low:high])]
            if len(known) < ENOUGH:
                continue
            middle = np.quantile(known, _LARGE if name == "move" else 0.5)
            usual[number, here] = middle
            if middle > 0:
                off = np.abs(np.log((known / middle + _LEAST) / (1 + _LEAST)))
                usual[len(NAMES) + number, here] = np.quantile(off, _LARGE)
    return usual


@dataclass(frozen=True, slots=True)
class Scaling:
    """Levels and scales that make candles of unlike times comparable.

    Attributes:
        level: (3, n) logs of the usual range, volume and trades, their floors added; to be taken off.
        wide: (3, n) how many times as far as in what was learned single candles differ from them.
        move: (n,) how many times as large as in what was learned moves are.
    """

    level: Floats
    wide: Floats
    move: Floats


def scaling_of(lately: Floats, learned: Floats, floor: Floats) -> Scaling:
    """Return what features are held against.

    Args:
        lately: What `usual_lately` returns.
        learned: (2 * len(NAMES),) the medians of that over what was learned.
        floor: (3,) what is added to range, volume and trades before their logs.
    """
    count = len(NAMES)
    level = np.log(lately[:3] + floor[:, np.newaxis])
    spread, usual_spread = lately[count : count + 3], learned[count : count + 3, np.newaxis]
    wide = np.divide(spread, usual_spread, where=np.isfinite(spread) & (usual_spread > 0), out=np.ones_like(level))
    # By the range or by moves, whichever grew more: in thin markets most candles have no range.
    parts = ((NAMES.index("range"), floor[0]), (NAMES.index("move"), _PART * floor[0]))
    by_range, by_move = ((lately[at] + least) / (learned[at] + least) for at, least in parts)
    return Scaling(level, np.maximum(wide, _NARROWEST), np.maximum(np.maximum(by_range, by_move), _QUIETEST))
