"""The arbitrage check: whether a price is apart from other exchanges' by more than it costs to trade the difference.

What is usual between two venues is no spread: a dollar is not a USDT. It is the median of the difference over the day
before, found anew each hour, from nothing that comes later. Nor is what their ticks make of one price: where a tick is
a large share of the price, two venues that round it otherwise are percents apart.

One spread is one incident, whichever series is scored first. Of three venues or more it belongs to the one that is off
the median of them all; of two, to the one that has moved away from its own recent price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etl.alerting import Spread
from etl.incidents import Fired, Kind
from etl.series import Series
from models.features import Floats, Mask, Track
from models.incidents import find_incidents, lull
from models.ticks import find_seen_tick
from models.wording import candles, clock, percent, price, size

RECENT = 30
"""Slots before a spread whose median close is the recent price."""

_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000
_LEAST_SLOTS = 60  # of wide timeframes, where a day has too few to say what is usual
_ENOUGH = 30  # differences, to know what is usual
_BPS = 1e-4
_SAME = 1e-9  # two moves that differ by less are as far as each other


@dataclass(frozen=True, slots=True)
class Gap:
    """A spread between this venue and others. Differences are logs of price over price, less what is usual.

    Attributes:
        first, peak, last: Slots of the track, all of them beyond the costs; the difference is greatest at the peak.
        fired: What it is, in numbers.
        off: By series, this venue's price over that one's, at the peak.
        cost: What it takes to trade the difference, and what ticks may make of it.
    """

    first: int
    peak: int
    last: int
    fired: Fired
    off: Mapping[Series, float]
    cost: float

    @property
    def beyond(self) -> float:
        """The greatest difference, as a multiple of the costs."""
        return max(abs(one) for one in self.off.values()) / self.cost


def find_spreads(series: Series, track: Track, others: Mapping[Series, Track], spread: Spread) -> list[Gap]:
    """Find where the price of this venue was apart from others', by more than `cost_bps`, for `candles` in a row.

    Args:
        track: Spans a day before what is looked at too (or _LEAST_SLOTS, where that is more), or what there is of it:
            before that many slots nothing is found, or with less to go by.
        others: Siblings, on the very same slots.

    Returns:
        Those that belong to this series, ascending. Such as lie as close together as anomalies that are one incident
        are one.
    """
    known = {one: each for one, each in sorted(others.items()) if each.is_held.any()}
    if not known:
        return []
    own = _log_close(track)
    closes = np.stack([_log_close(each) for each in known.values()])
    off = np.stack([one - _usual(one, track) for one in own - closes])
    cost = np.full(len(track), spread.cost_bps * _BPS)
    cost += _by_ticks([track, *known.values()], _largest(off) > cost)
    view = _View(series, track, known, own, closes, off, cost)
    is_own = _is_own(view, spread.candles)
    return [_gap(view, is_own, int(first), int(last)) for first, last in find_incidents(is_own, lull(track.timeframe))]


@dataclass(frozen=True, slots=True)
class _View:
    """A venue and the others, by slot.

    Attributes:
        own, closes: (n,) and (others, n) logs of closes, NaN where none is held.
        off: (others, n) this venue's less each other one's, less what is usual; NaN where that is not known.
        cost: (n,) what prices may differ by for costs and ticks.
    """

    series: Series
    track: Track
    others: Mapping[Series, Track]
    own: Floats
    closes: Floats
    off: Floats
    cost: Floats


def _is_own(view: _View, count: int) -> Mask:
    """Return (n,) where this venue, and no other one, is off by more than the costs, for `count` slots or more."""
    venues = 1 + (~np.isnan(view.off)).sum(axis=0)
    # As seen from here, this venue is at zero, and each other one at what it is less. Of two, both are off.
    middle = _median_of(np.concatenate([np.zeros((1, len(view.own))), -view.off]))
    away = np.where(venues > 2, np.abs(middle), _largest(view.off))
    is_own = np.zeros(len(away), dtype=np.bool_)
    for first, last in _runs(away > view.cost):
        is_long = last - first + 1 >= count
        is_own[first : last + 1] = is_long and (venues[first] > 2 or _has_moved(view, int(first), count))
    return is_own


def _gap(view: _View, is_own: Mask, first: int, last: int) -> Gap:
    here = slice(first, last + 1)
    peak = first + int(np.argmax(np.where(is_own[here], _largest(view.off[:, here]), 0.0)))
    off = {one: float(value) for one, value in zip(view.others, view.off[:, peak], strict=True) if not np.isnan(value)}
    return Gap(first, peak, last, _say(view, off, peak, last - first + 1), off, float(view.cost[peak]))


def _usual(off: Floats, track: Track) -> Floats:
    """Return (n,) the median difference over the day before the hour of each slot; NaN where too few are held."""
    usual = np.full(len(off), np.nan)
    for here in _hours(track):
        before = off[_day_before(track, here.start)]
        before = before[~np.isnan(before)]
        if len(before) >= _ENOUGH:
            usual[here] = np.median(before)
    return usual


def _by_ticks(venues: Sequence[Track], is_asked: Mask) -> Floats:
    """Return (n,) what two ticks are of the price, the widest of all venues' ticks in the day before; a log.

    Found in those hours alone that hold a slot of `is_asked`; 0 in others.
    """
    by_ticks = np.zeros(len(is_asked))
    closes = np.stack([np.where(each.is_held, each.close, np.inf) for each in venues]).min(axis=0)
    for here in _hours(venues[0]):
        if is_asked[here].any():
            by_ticks[here] = np.log1p(2 * _widest_tick(venues, _day_before(venues[0], here.start)) / closes[here])
    return by_ticks


def _widest_tick(venues: Sequence[Track], slots: slice) -> float:
    """Return the widest tick of prices in some slots; 0 if too few are held."""
    ticks = [0.0]
    for each in venues:
        is_held = each.is_held[slots]
        if is_held.sum() >= _ENOUGH:
            prices = [getattr(each, name)[slots][is_held] for name in ("open", "high", "low", "close")]
            ticks.append(find_seen_tick(np.concatenate(prices)))
    return max(ticks)


def _matters(tick: float, close: float) -> bool:
    return 2 * tick / close >= _BPS


def _hours(track: Track) -> Iterator[slice]:
    """Yield the slots of each hour since the epoch, so that what is found in them depends on no track's beginning."""
    hour = max(_HOUR_MS // track.timeframe.ms, 1)
    begins = -(track.start_ms // track.timeframe.ms) % hour
    for start in range(begins - hour, len(track), hour):
        if start + hour > 0:
            yield slice(max(start, 0), start + hour)


def _day_before(track: Track, slot: int) -> slice:
    day = max(_DAY_MS // track.timeframe.ms, _LEAST_SLOTS)
    return slice(max(slot - day, 0), slot)


def _has_moved(view: _View, first: int, count: int) -> bool:
    """Return whether, of the two venues there are, it is this one that left its own recent price.

    By what is known once `count` candles are there; of two that moved as far, it is the one whose name comes first.
    """
    [number] = np.flatnonzero(~np.isnan(view.off[:, first]))
    mine, its = (_from_recent(each, first, count) for each in (view.own, view.closes[number]))
    if np.isnan(mine + its) or abs(mine - its) < _SAME:
        return view.series < list(view.others)[number]
    return mine > its


def _from_recent(close: Floats, first: int, count: int) -> float:
    recent, here = close[max(first - RECENT, 0) : first], close[first : first + count]
    if np.isnan(recent).all() or np.isnan(here).all():
        return float("nan")
    return abs(float(np.nanmedian(here) - np.nanmedian(recent)))


def _runs(mask: Mask) -> NDArray[np.int64]:
    """Return (k, 2) first and last slot of each run."""
    return find_incidents(mask, 1)


def _median_of(values: Floats) -> Floats:
    """Return the median by column of those that are known; every column has one at least."""
    count = (~np.isnan(values)).sum(axis=0)
    ordered = np.sort(values, axis=0)  # NaN comes last
    columns = np.arange(values.shape[1])
    middle: Floats = (ordered[(count - 1) // 2, columns] + ordered[count // 2, columns]) / 2
    return middle


def _largest(off: Floats) -> Floats:
    """Return the size of the largest difference by slot; 0 where none is known."""
    largest: Floats = np.max(np.abs(np.nan_to_num(off, nan=0.0)), axis=0)
    return largest


def _log_close(track: Track) -> Floats:
    return np.log(np.where(track.is_held, track.close, np.nan))


def _say(view: _View, off: Mapping[Series, float], peak: int, count: int) -> Fired:
    series = max(off, key=lambda one: abs(off[one]))
    here, there = (float(each.close[peak]) for each in (view.track, view.others[series]))
    usual = float(np.log(here / there)) - off[series]
    side = "above" if off[series] > 0 else "below"
    tick = _widest_tick([view.track, *view.others.values()], _day_before(view.track, peak))
    costs = f"costs of {size(float(view.cost[peak]))}" + (
        f" with two ticks of {price(tick)}" if _matters(tick, here) else ""
    )
    return Fired(
        Kind.SPREAD,
        f"close {price(here)} at {clock(view.track, peak)} is {size(abs(off[series]))} {side} {series.exchange}'s "
        f"{price(there)}, beyond the usual {percent(usual)} and {costs}, within {candles(count)}",
    )
