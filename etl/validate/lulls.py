"""Chance of a silence by what trades just beside it: in a lull all symbols trade less, and are silent by chance.

The rate of trades of an exchange as a whole is uncertain: it varies by the hour. Here it is taken from the slots beside
the silence, with the uncertainty of so few, and of the two sides the quieter counts.
"""

from __future__ import annotations

from itertools import groupby
from math import lgamma

import numpy as np
from numpy.typing import NDArray

from etl.validate.runs import BUCKET, Mask, find_runs

Likely = tuple[Mask, NDArray[np.float64]]

LEAST_CHANCE_OF_LULL = float(np.log(1e-6))
"""Less likely silences of all series are no lull; less than one in a year of `1m` is that by chance."""

_LEAST_BESIDE, _LEAST_ASKED = 60, 30
_LET_THROUGH = 0.05
"""Share of the candles to be expected that come in an outage at most; in a lull more do, a tenth in a deep one."""


def lull_chance(run: slice, length: int, trading: Mask, asked: Mask) -> float:
    """Return how likely so many slots are all silent, by what trades on the quieter side of a run: natural logarithm.

    Slots that trade are beta-binomial, given those beside the run (with the prior of Jeffreys). Without enough slots
    beside it nothing speaks against the run: minus infinity.

    Args:
        run: Looked at on either side are as many slots as it has, 60 at least and a bucket at most.
        length: How many slots of the run count.
        trading: (n_slots,) a candle is there.
        asked: (n_slots,) silence says something.
    """
    return max(_chance(length, 0, *_beside(side, trading, asked)) for side in _sides(run, trading))


def _sides(run: slice, mask: Mask) -> tuple[slice, slice]:
    reach = _reach(run)
    return slice(max(run.start - reach, 0), run.start), slice(run.stop, min(run.stop + reach, len(mask)))


def _reach(run: slice) -> int:
    return int(min(max(run.stop - run.start, _LEAST_BESIDE), BUCKET))


def _beside(side: slice, trading: Mask, asked: Mask) -> tuple[int, int]:
    n_asked = int(np.count_nonzero(asked[side]))
    return n_asked, int(np.count_nonzero(trading[side] & asked[side]))


def _chance(length: int, came: int, n_asked: int, n_trading: int) -> float:
    if n_asked < _LEAST_ASKED:
        return -np.inf
    trades, silent = n_trading + 0.5, n_asked - n_trading + 0.5
    terms = [
        lgamma(length + 1) - lgamma(k + 1) - lgamma(length - k + 1) + _beta(trades + k, silent + length - k)
        for k in range(came + 1)
    ]
    return min(float(np.logaddexp.reduce(terms)) - _beta(trades, silent), 0.0)


def _beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def without_lulls(
    is_outage: Mask, held: Mask, covered: Mask, expected: NDArray[np.float64], usual: NDArray[np.float64]
) -> Likely:
    """Return which slots lie in silences of all series that are no lulls, and how likely those are as lulls.

    A stretch in which too much comes for an outage is left by its silent slots alone, each run of which is held against
    what trades beside it: the longest of a bucket first, since what is found to be no lull tells nothing of lulls.

    Args:
        is_outage: (n_slots,) the exchange looks silent by what is usual.
        held: (n_series, n_slots) a candle is there.
        covered: (n_series, n_slots) silence says something.
        expected: (n_slots,) candles to be expected by what is usual.
        usual: (n_slots,) how likely all are silent by what is usual: natural logarithm.

    Returns:
        (n_slots,) each; natural logarithms, minus infinity elsewhere.
    """
    trading, asked = np.asarray(held.any(axis=0)), np.asarray(covered.any(axis=0))
    came = held.sum(axis=0)
    kept, chances = np.zeros_like(is_outage), np.full(is_outage.shape, -np.inf)
    parts = []
    for start, end in zip(*find_runs(is_outage), strict=True):
        run = slice(int(start), int(end))
        if came[run].sum() <= _LET_THROUGH * expected[run].sum():
            parts.append(run)
        else:
            silent = find_runs(np.logical_not(trading[run]))
            parts += [slice(run.start + int(a), run.start + int(b)) for a, b in zip(*silent, strict=True)]
    for _, of_bucket in groupby(parts, key=lambda part: part.start // BUCKET):
        told = np.zeros_like(is_outage)
        for part in sorted(of_bucket, key=lambda part: part.start - part.stop):
            left = np.flatnonzero(~told)
            at = int(np.searchsorted(left, part.start))
            reach, length = _reach(part), part.stop - part.start
            near = left[max(at - reach, 0) : at + length + reach]
            run = slice(min(at, reach), min(at, reach) + length)
            chance = _chance_of_all(run, held[:, near], covered[:, near], trading[near], asked[near])
            chance = chance if trading[part].any() else max(chance, float(usual[part].sum()))
            if chance < LEAST_CHANCE_OF_LULL:
                kept[part], told[part], chances[part] = True, True, chance
    return kept, chances


def _chance_of_all(run: slice, held: Mask, covered: Mask, trading: Mask, asked: Mask) -> float:
    """Return the chance of `lull_chance` for all series together.

    If no slot beside lacks all of them, it is not known how often that happens; then they are taken to be silent each
    for itself.
    """
    came = int(np.count_nonzero(trading[run]))
    chance = -np.inf
    for side in _sides(run, trading):
        n_asked, n_trading = _beside(side, trading, asked)
        of_side = _chance(run.stop - run.start, came, n_asked, n_trading)
        if n_asked == n_trading >= _LEAST_ASKED and not came:
            silent = np.count_nonzero(covered[:, side] & ~held[:, side], axis=1) + 0.5
            shares = silent / (np.count_nonzero(covered[:, side], axis=1) + 1)
            each = np.count_nonzero(covered[:, run], axis=1) * np.log(shares)
            of_side = min(of_side, float(each.sum()))
        chance = max(chance, of_side)
    return chance
