"""The rules that flag a stored candle: each a small pure function over the grid, with its reason. A new one is a line.

A flag is a remark, no verdict: a flagged candle is kept, and read like any other. Whether a candle is flagged follows
from itself and from what is held before it: in the last `lookback` slots of the grid, and as far back as the last
`lookback` traded candles reach within `lookback_slots`. Nothing later and nothing else counts; so the order of loading
does not matter, and anyone can compute the flags again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import bottleneck as bn
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.rules import Rules
from etl.schema import Flag, to_columns
from etl.timeframe import Timeframe
from etl.validate.rules import Level, Mask, Rule

Floats = NDArray[np.float64]

_TO_SIGMA = 1.4826  # a normal distribution's standard deviation, in median absolute deviations
_AT_ONCE = 4096  # windows that are looked at one by one


@dataclass(frozen=True, slots=True)
class Grid:
    """Candles of a series, oldest first, and where on the grid they are.

    Attributes:
        slot: (n,) int64, ascending: the place of each candle on the grid, counted from the epoch.
        open, high, low, close, volume: (n,) float64.
    """

    timeframe: Timeframe
    slot: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    is_first: Mask
    """(n,) where the first candle of another coin of the same name is."""

    def before(self, values: Floats) -> Floats:
        """Return (n,) what the candle of the slot before has; NaN where that slot holds none."""
        shifted = _shifted(values)
        if self.is_whole:
            return shifted
        shifted[1:][np.diff(self.slot) > 1] = np.nan
        return shifted

    @property
    def is_whole(self) -> bool:
        """True if no slot between the first candle and the last is empty."""
        return not len(self.slot) or bool(self.slot[-1] - self.slot[0] == len(self.slot) - 1)


def is_ohlc_tolerated(grid: Grid, rules: Rules) -> Mask:
    """High or low misses open or close, by so little that the row was not refused.

    Source: https://github.com/ccxt/ccxt/issues/2049
    """
    misses: Mask = (grid.low > np.minimum(grid.open, grid.close)) | (grid.high < np.maximum(grid.open, grid.close))
    return misses


def is_frozen_price(grid: Grid, rules: Rules) -> Mask:
    """The same four prices again and again, though volume trades: a feed that repeats itself.

    Half a year of four symbols of a thin exchange has at most 12 candles alike on end, 300 recorded days of Binance 4.
    """
    is_same: Mask = grid.volume > 0
    for prices in (grid.open, grid.high, grid.low, grid.close):
        is_same &= prices == grid.before(prices)
    return _lasts(grid, is_same, rules.frozen_after - 1)


def is_zero_volume_run(grid: Grid, rules: Rules) -> Mask:
    """No volume for so long: the symbol is halted or hardly traded, and its prices say little."""
    return _lasts(grid, grid.volume == 0, rules.zero_volume_after)


def is_price_outlier(grid: Grid, rules: Rules) -> Mask:
    """A price further off the last close than candles went lately: a crash, a bad print, a wick in a quiet minute.

    Measured against the median excursion and its median absolute deviation, which a few wild candles do not move; a
    volatile hour is held to its own measure. Judged only where the excursion is wide besides.

    Source: Leys et al., Detecting outliers: do not use standard deviation around the mean, use absolute deviation
    around the median, 2013, https://doi.org/10.1016/j.jesp.2013.03.013
    """
    last = grid.before(grid.close)
    # After a gap nobody knows what the last price was.
    last = np.where(np.isnan(last), grid.open, last)
    moved = np.log(np.maximum(grid.high / last, last / grid.low))
    moved[(grid.volume == 0) & (moved == 0)] = np.nan
    # Prices wander by the square root of time.
    floor = np.log1p(rules.price_floor_pct / 100 * np.sqrt(grid.timeframe.ms / Timeframe.M1.ms))
    is_wide: Mask = moved > floor
    return is_wide & _stands_out(grid, moved, rules.price_limit, rules)


def is_volume_outlier(grid: Grid, rules: Rules) -> Mask:
    """A volume far above what was traded lately, in log terms: a burst, a block trade, or a wrong unit.

    In thin markets volumes differ so much from minute to minute that hardly any stands out; there are limits to that.
    """
    traded = np.log(grid.volume, out=np.full(len(grid.volume), np.nan), where=grid.volume > 0)
    least, most = np.log(rules.volume_floor), np.log(rules.volume_ceiling)
    return _stands_out(grid, traded, rules.volume_limit, rules, float(least), float(most))


def is_jump(grid: Grid, rules: Rules) -> Mask:
    """The candle opens far from where the one before it closed: nothing was traded at the prices between."""
    far = np.log1p(rules.jump_pct / 100)
    leap: Mask = np.abs(np.log(grid.open / grid.before(grid.close))) > far
    return leap


def is_new_coin(grid: Grid, rules: Rules) -> Mask:
    """The first candle of another coin under the same name: nothing before it says anything of it."""
    return grid.is_first


def _stands_out(
    grid: Grid, values: Floats, limit: float, rules: Rules, least: float = 0.0, most: float = np.inf
) -> Mask:
    """Return where a value is above its usual by `limit` robust deviations and by `least`, or by `most`.

    The deviation is the median of what the values before were off their own usual, each by what came before it. Where
    nothing was traded there is no value, and the values before are those of the last candles that traded.
    """
    is_known = ~np.isnan(values)
    if is_known.all():
        return _is_strange(values, grid.slot, limit, rules, least, most)
    mask = np.zeros(len(values), dtype=np.bool_)
    mask[is_known] = _is_strange(values[is_known], grid.slot[is_known], limit, rules, least, most)
    return mask


def _is_strange(values: Floats, slot: NDArray[np.int64], limit: float, rules: Rules, least: float, most: float) -> Mask:
    """Return what `_stands_out` does, of values all of which are known, in the slots that are theirs."""
    excess, usual = _excess(values, slot, rules)
    is_strange: Mask = (excess > most) | ((excess > least) & (excess > limit * _TO_SIGMA * usual))
    return is_strange


def _excess(values: Floats, slot: NDArray[np.int64], rules: Rules) -> tuple[Floats, Floats]:
    """Return by how much values are above their usual, and by how much they usually are off it: (n,) each."""
    # A deviation looks back as far again as its value, and a value at the candle before it.
    width, reach = (rules.lookback - 1) // 2, (rules.lookback_slots - 1) // 2
    excess = values - _usual(values, slot, width, reach)
    return excess, _usual(np.abs(excess), slot, width, reach)


def _usual(values: Floats, slot: NDArray[np.int64], width: int, reach: int) -> Floats:
    """Return the median of the `width` values before each; NaN where less than half of them are known.

    Args:
        slot: (n,) ascending. A value that lies more than `reach` slots back does not count.
    """
    held = (width + 1) // 2
    if len(values) < held:
        return np.full(len(values), np.nan)
    median: Floats = _shifted(bn.move_median(values, window=min(width, len(values)), min_count=held))
    if _is_dense(slot, width, reach):
        return median
    first = np.maximum(np.arange(len(slot)) - width, 0)
    wide = np.flatnonzero(slot - slot[first] > reach)
    median[wide] = _medians_within_reach(values, slot, wide, width, reach)
    return median


def _is_dense(slot: NDArray[np.int64], width: int, reach: int) -> bool:
    """Return whether there are so few gaps that no window of `width` values is wider than `reach` slots."""
    return bool(slot[-1] - slot[0] - len(slot) < reach - width)


def _medians_within_reach(
    values: Floats, slot: NDArray[np.int64], places: NDArray[np.intp], width: int, reach: int
) -> Floats:
    """Return what `_usual` does for some places, whose windows are wider than `reach`."""
    medians = np.full(len(places), np.nan)
    for start in range(0, len(places), _AT_ONCE):
        some = places[start : start + _AT_ONCE]
        before = some[:, None] - np.arange(1, width + 1)
        is_there, before = before >= 0, np.maximum(before, 0)
        counts = is_there & (slot[some][:, None] - slot[before] <= reach)
        windows = np.where(counts, values[before], np.nan)
        enough = np.count_nonzero(~np.isnan(windows), axis=1) >= (width + 1) // 2
        medians[start : start + _AT_ONCE][enough] = bn.nanmedian(windows[enough], axis=1)
    return medians


def is_unjudged(grid: Grid, rules: Rules) -> Mask:
    """Return where a candle traded and too few did before it to call its price or its volume an outlier."""
    if {"price_outlier", "volume_outlier"} <= rules.off:
        return np.zeros(len(grid.slot), dtype=np.bool_)
    traded = grid.volume > 0
    if traded.all():
        return _lacks_before(grid.slot, rules)
    mask = np.zeros(len(traded), dtype=np.bool_)
    mask[traded] = _lacks_before(grid.slot[traded], rules)
    return mask


def _lacks_before(slot: NDArray[np.int64], rules: Rules) -> Mask:
    """Return where there is no deviation of values in these slots: too few lie before, or too few of them have one."""
    width, reach = (rules.lookback - 1) // 2, (rules.lookback_slots - 1) // 2
    held = (width + 1) // 2
    place = np.arange(len(slot))
    if not len(slot) or _is_dense(slot, width, reach):
        return place < 2 * held
    first = np.maximum(np.searchsorted(slot, slot - reach), place - width)
    has_usual = place - first >= held
    so_far = np.concatenate(([0], np.cumsum(has_usual)))
    lacks: Mask = so_far[place] - so_far[first] < held
    return lacks


def _shifted(values: Floats) -> Floats:
    """Return what stands one place before; NaN at the first."""
    return np.concatenate(([np.nan], values[:-1]))[: len(values)]


def _lasts(grid: Grid, mask: Mask, count: int) -> Mask:
    """Return where the mask has been true in `count` slots on end."""
    if not mask.any():
        return mask
    place = np.arange(len(mask))
    broken = np.where(mask, -1, place)
    if not grid.is_whole:
        broken[1:] = np.maximum(broken[1:], np.where(np.diff(grid.slot) > 1, place[:-1], -1))
    return place - np.maximum.accumulate(broken) >= count


FLAGGING: tuple[Rule[Grid], ...] = (
    Rule("ohlc_tolerated", Level.FLAG, is_ohlc_tolerated),
    Rule("frozen_price", Level.FLAG, is_frozen_price),
    Rule("zero_volume_run", Level.FLAG, is_zero_volume_run),
    Rule("price_outlier", Level.FLAG, is_price_outlier),
    Rule("volume_outlier", Level.FLAG, is_volume_outlier),
    Rule("jump", Level.FLAG, is_jump),
    Rule("new_coin", Level.FLAG, is_new_coin),
)


def flag_candles(
    candles: pa.Table, timeframe: Timeframe, rules: Rules, splits_ms: Sequence[int] = ()
) -> NDArray[np.int16]:
    """Return what the flagging rules find in each candle.

    Args:
        candles: CANDLE_SCHEMA, ascending by open_time, each once. The first are judged by less than all that counts,
            unless nothing is held before them: give what the `lookback` reaches before the candles in question.
        splits_ms: When the series became another coin's, on the grid, ascending; see `Settings.splits_of`. What lies
            before says nothing of what comes after.

    Returns:
        (n,) bits of COMPUTED_FLAGS.
    """
    columns = to_columns(candles)
    times = columns["open_time"]
    values = {name: columns[name] for name in ("open", "high", "low", "close", "volume")}
    grid = Grid(timeframe, times // timeframe.ms, **values, is_first=np.zeros(len(times), dtype=np.bool_))
    bits = np.zeros(len(times), dtype=np.int16)
    begins = [0]
    for split_ms in splits_ms:
        place = int(np.searchsorted(times, split_ms))
        if place < len(times):
            begins.append(place)
            # Of a candle further on nobody could tell here that it is the first one.
            grid.is_first[place] = times[place] - split_ms <= rules.lookback * timeframe.ms
    for start, end in pairwise(sorted({*begins, len(bits)})):
        part = replace(grid, **{name: getattr(grid, name)[start:end] for name in _LAID})
        for rule in FLAGGING:
            if rule.name not in rules.off:
                bits[start:end][rule.finds(part, rules)] |= Flag[rule.name.upper()].value
        bits[start:end][is_unjudged(part, rules)] |= Flag.UNJUDGED.value
    return bits


_LAID = ("slot", "open", "high", "low", "close", "volume", "is_first")


def flag_names(bits: int) -> tuple[str, ...]:
    """Return the rules that have set `bits`, by name."""
    return tuple(rule.name for rule in FLAGGING if bits & Flag[rule.name.upper()])
