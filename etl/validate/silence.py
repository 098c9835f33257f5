"""Usual silence of the series of an exchange, and outages of the exchange as a whole: measured on what is held.

Knows of no kind of absence; `judging` draws the conclusions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etl.timeframe import Timeframe
from etl.validate.runs import BUCKET, Mask, Runs, find_runs

_BLOCK = 60
_QUIET = 0.75
"""A series is taken to be as silent as in the upper quartile of its blocks: nights are quieter than their days, and for
all symbols at once, and must not look like outages."""

SILENT_IN_OUTAGE = 0.9
"""How much of a series is silent in an outage. Not all: while an exchange stumbles, one slot in ten has a candle."""

_LEAST_ODDS = np.log(1e6)
"""An outage must explain silence a million times better than chance: less than one in a year of `1m` is made up."""

LEAST_CHANCE = np.log(1e-12)
"""Less likely silences of one series are no lack of trades. Silent slots come in clusters: the least likely of 24,000
that half a year of four symbols has outside of outages is 1e-8 by this count."""

_UNANIMOUS, _UNANIMOUS_ODDS = 3, np.log(100)
"""Where none of so many series has a candle, a hundred times better than chance is enough."""

_AT_HOME = 0.1
"""Share of the time: who spends a tenth of it in silences so long, or longer, is used to them."""

_AT_HOME_SCALES = 3.89
"""If silences end by chance, that length is so many times their mean: the root of exp(-y) * (1 + y) = 0.1."""

_MAJORITY = 1e-6
"""More than 0, for votes that should cancel out do so but for rounding."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Held slots of the series of one exchange and timeframe, over whole buckets.

    Attributes:
        start_ms: When the first slot opens, milliseconds since the epoch; a bucket begins there.
        series: n_series names, for evidence.
        held: (n_series, n_slots) the exchange has sent a candle, stored or refused; not one that we made up.
        covered: (n_series, n_slots) the slot was asked for while the symbol was listed, so that silence says something.
        stated: (n_series, n_slots) a file states that nothing was traded in the slot; None if none does.
        unprinted: (n_series, n_slots) silent slots of an exchange that prints empty ones, which the writer of a file
            may have left out all the same, see `find_unprinted`; None if there are none.

    Raises:
        ValueError: The slots are not whole buckets, or the shapes do not agree.
    """

    timeframe: Timeframe
    start_ms: int
    series: Sequence[str]
    held: Mask
    covered: Mask
    stated: Mask | None = None
    unprinted: Mask | None = None

    def __post_init__(self) -> None:
        n_series, n_slots = self.held.shape
        if self.covered.shape != self.held.shape or len(self.series) != n_series:
            raise ValueError(f"{len(self.series)} series with shapes {self.held.shape} and {self.covered.shape}")
        if n_slots % BUCKET or self.start_ms % (BUCKET * self.timeframe.ms):
            raise ValueError(f"{n_slots} slots from {self.start_ms} are not whole buckets of {BUCKET}")


def usual_silence(presence: Presence) -> NDArray[np.float64]:
    """Return how likely each series is silent in a slot while the exchange works: (n_series, n_buckets), in (0, 1).

    Counted over the bucket and its two neighbours, in slots in which another series trades or none is loaded. The share
    of all those slots, or that of a quiet block if it is higher; a block without a candle is no measure of quiet ones,
    for it may lie in a halt. Or that of all slots of the middle one of the blocks in which it trades, if that is higher
    still: symbols of a thin exchange trade at the same times, and are silent together in others. All are
    Laplace-smoothed.
    """
    held, covered = presence.held, presence.covered
    telling = covered & ((held.sum(axis=0) - held > 0) | (covered.sum(axis=0) - covered == 0))
    asked, silent = by_block(telling), by_block(telling & ~held)
    overall = (silent.sum(axis=2) + 1) / (asked.sum(axis=2) + 2)
    middle = _quantile(by_block(covered), by_block(covered & ~held), 0.5)
    usual: NDArray[np.float64] = np.maximum(np.maximum(overall, middle), _quantile(asked, silent, _QUIET))
    return usual


def _quantile(asked: NDArray[np.int64], silent: NDArray[np.int64], quantile: float) -> NDArray[np.float64]:
    """Return the share of silent slots in such a block of those in which the series trades: (n_series, n_buckets)."""
    is_measure = (asked > silent) & (asked >= _BLOCK / 2)
    shares = np.sort(np.where(is_measure, (silent + 1) / (asked + 2), 0.0), axis=2)
    above = np.floor((1 - quantile) * is_measure.sum(axis=2)).astype(np.intp)
    found: NDArray[np.float64] = np.take_along_axis(shares, shares.shape[2] - 1 - above[..., None], axis=2)[..., 0]
    return found


def recurrence(length: int, run: slice, held: Mask, asked: Mask, beside: Mask | None = None) -> float:
    """Return how likely a silence is at least so long, by how long the silences around last: natural logarithm.

    Measured in the buckets that the run lies in and one on either side, the run left out. Silences are taken to end by
    chance, and the fewer candles are around the less is known of them; without any candle nothing is unlikely.

    Args:
        run: The silence itself.
        held: (n_slots,) a candle is there.
        asked: (n_slots,) silence says something.
        beside: (n_slots,) others trade: silences in which none does at all are not of the like. None if all are.
    """
    before = slice(max(run.start // BUCKET - 1, 0) * BUCKET, run.start)
    after = slice(run.stop, (-(-run.stop // BUCKET) + 1) * BUCKET)
    candles = sum(np.count_nonzero(held[side]) for side in (before, after))
    if not candles:
        return 0.0
    lengths = np.sort(
        np.concatenate(
            [_lengths(asked[side] & ~held[side], None if beside is None else beside[side]) for side in (before, after)]
        )
    )[::-1]
    time = _AT_HOME * sum(np.count_nonzero(asked[side]) for side in (before, after))
    at = int(np.searchsorted(np.cumsum(lengths), time))
    if at == len(lengths):
        return -np.inf
    scale = lengths[at] / _AT_HOME_SCALES
    return float(-candles * np.log1p(length / (scale * candles)))


def _lengths(silent: Mask, beside: Mask | None) -> NDArray[np.intp]:
    starts, ends = find_runs(silent)
    lengths = ends - starts
    if beside is None or not starts.size:
        return lengths
    is_beside: Mask = np.logical_or.reduceat(beside, np.column_stack((starts, ends)).ravel()[:-1])[::2]
    return lengths[is_beside]


def find_outages(presence: Presence, silence: NDArray[np.float64], least_odds: float = _LEAST_ODDS) -> Runs:
    """Return the stretches in which the exchange as a whole was silent.

    In each slot every covered series votes: by how much an outage explains its silence, or its candle, better than its
    usual silence does. A stretch is a run of slots with a majority for an outage, cut between buckets, so that what is
    found in one depends on it and its neighbours alone. It counts if the odds over all its slots are good enough, and
    do not rest on one series alone, for that is a halt. A slot in which all are silent counts by itself for less.

    Args:
        silence: From `usual_silence`.
        least_odds: Natural logarithm of the odds that chance must be beaten by.
    """
    # In the vote no series is surer than an outage itself would be, so that few silent ones do not outvote many.
    if_silent, if_trading = _weights(np.maximum(silence, 1 - SILENT_IN_OUTAGE))
    silent, trading = presence.covered & ~presence.held, presence.covered & presence.held
    slots = np.flatnonzero(_tally(if_silent, silent) + _tally(if_trading, trading) > _MAJORITY)
    if not slots.size:
        return slots, slots
    if_silent, if_trading = _weights(silence)
    bucket = slots // BUCKET
    odds = if_silent[:, bucket] * silent[:, slots] + if_trading[:, bucket] * trading[:, slots]
    first = _firsts(slots)
    is_outage = np.zeros(presence.held.shape[1], dtype=np.bool_)
    is_outage[slots[_is_unanimous(presence, silence, slots, odds)]] = True
    odds = np.add.reduceat(odds, first, axis=1)
    total = odds.sum(axis=0)
    counts = (total >= least_odds) & (total - odds.max(axis=0) > _MAJORITY)
    is_outage[slots[np.repeat(counts, np.diff(first, append=len(slots)))]] = True
    slots = np.flatnonzero(is_outage)
    first = _firsts(slots)
    return slots[first], slots[np.append(first[1:], len(slots))[: len(first)] - 1] + 1


def _firsts(slots: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return which of the ascending slots begin a run, cut between buckets."""
    return np.flatnonzero((np.diff(slots, prepend=-2) > 1) | (np.diff(slots // BUCKET, prepend=-1) > 0))


def _is_unanimous(
    presence: Presence, silence: NDArray[np.float64], slots: NDArray[np.intp], odds: NDArray[np.float64]
) -> Mask:
    """Return in which slots all are silent, and enough of them not for reasons of their own, as in a halt: (n,).

    Args:
        odds: (n_series, n) for an outage in each slot.
    """
    counts = ~(presence.covered & presence.held)[:, slots].any(axis=0)
    votes = presence.covered[:, slots] & counts
    bucket = slots // BUCKET
    for vote, mine, of in zip(votes, presence.covered & ~presence.held, silence, strict=True):
        starts, ends = find_runs(mine)
        if starts.size:
            run = np.maximum(np.searchsorted(starts, slots, side="right") - 1, 0)
            vote &= (ends - starts)[run] * np.log(of[bucket]) >= LEAST_CHANCE
    counts &= np.count_nonzero(votes, axis=0) >= _UNANIMOUS
    unanimous: Mask = counts & ((odds * votes).sum(axis=0) >= _UNANIMOUS_ODDS)
    return unanimous


def by_block(mask: Mask) -> NDArray[np.int64]:
    """Count by block, for each bucket those of the buckets beside it too: (n_series, n_buckets, 3 * blocks)."""
    n_series, n_slots = mask.shape
    blocks = np.count_nonzero(mask.reshape(n_series, n_slots // BUCKET, BUCKET // _BLOCK, _BLOCK), axis=3)
    padded = np.pad(blocks, ((0, 0), (1, 1), (0, 0)))
    return np.concatenate((padded[:, :-2], padded[:, 1:-1], padded[:, 2:]), axis=2)


def _weights(silence: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the log-odds for an outage of a silent and of a trading slot; 0 for who is as silent as in an outage."""
    says_something = silence < SILENT_IN_OUTAGE
    if_silent = np.log(SILENT_IN_OUTAGE / silence)
    if_trading = np.log((1 - SILENT_IN_OUTAGE) / (1 - silence))
    return np.where(says_something, if_silent, 0.0), np.where(says_something, if_trading, 0.0)


def _tally(weights: NDArray[np.float64], mask: Mask) -> NDArray[np.float64]:
    """Return the sum of the weights of the series at hand in each slot: (n_slots,)."""
    per_bucket = mask.reshape(len(mask), -1, BUCKET)
    return np.concatenate([weights[:, each] @ per_bucket[:, each] for each in range(per_bucket.shape[1])])
