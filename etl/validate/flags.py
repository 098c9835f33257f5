"""The rules that flag a stored candle: each a small pure function over the grid, with its reason. A new one is a line.

A flag is a remark, no verdict: a flagged candle is kept, and read like any other. Whether a candle is flagged follows
from itself and from what is held in the `lookback` slots of the grid before it, from nothing later and from nothing
else; so the order of loading does not matter, and anyone can compute the flags again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Grid:
    """Candles on their grid, oldest first; (n,) float64 each, NaN in slots that hold none."""

    timeframe: Timeframe
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    is_first: Mask
    """(n,) where the first candle of another coin of the same name is."""


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
        is_same &= prices == _before(prices)
    return _lasts(is_same, rules.frozen_after - 1)


def is_zero_volume_run(grid: Grid, rules: Rules) -> Mask:
    """No volume for so long: the symbol is halted or hardly traded, and its prices say little."""
    return _lasts(grid.volume == 0, rules.zero_volume_after)


def is_price_outlier(grid: Grid, rules: Rules) -> Mask:
    """A price further off the last close than candles went lately: a crash, a bad print, a wick in a quiet minute.

    Measured against the median excursion and its median absolute deviation, which a few wild candles do not move; a
    volatile hour is held to its own measure. Judged only where the excursion is wide besides.

    Source: Leys et al., Detecting outliers: do not use standard deviation around the mean, use absolute deviation
    around the median, 2013, https://doi.org/10.1016/j.jesp.2013.03.013
    """
    last = _before(grid.close)
    # After a gap nobody knows what the last price was.
    last = np.where(np.isnan(last), grid.open, last)
    moved = np.log(np.maximum(grid.high / last, last / grid.low))
    moved[(grid.volume == 0) & (moved == 0)] = np.nan
    # Prices wander by the square root of time.
    floor = np.log1p(rules.price_floor_pct / 100 * np.sqrt(grid.timeframe.ms / Timeframe.M1.ms))
    is_wide: Mask = moved > floor
    return is_wide & _stands_out(moved, rules.price_limit, rules)


def is_volume_outlier(grid: Grid, rules: Rules) -> Mask:
    """A volume far above what was traded lately, in log terms: a burst, a block trade, or a wrong unit.

    In thin markets volumes differ so much from minute to minute that hardly any stands out; there are limits to that.
    """
    traded = np.log(grid.volume, out=np.full(len(grid.volume), np.nan), where=grid.volume > 0)
    least, most = np.log(rules.volume_floor), np.log(rules.volume_ceiling)
    return _stands_out(traded, rules.volume_limit, rules, float(least), float(most))


def is_jump(grid: Grid, rules: Rules) -> Mask:
    """The candle opens far from where the one before it closed: nothing was traded at the prices between."""
    far = np.log1p(rules.jump_pct / 100)
    leap: Mask = np.abs(np.log(grid.open / _before(grid.close))) > far
    return leap


def is_new_coin(grid: Grid, rules: Rules) -> Mask:
    """The first candle of another coin under the same name: nothing before it says anything of it."""
    return grid.is_first


def _stands_out(values: Floats, limit: float, rules: Rules, least: float = 0.0, most: float = np.inf) -> Mask:
    """Return where a value is above its usual by `limit` robust deviations and by `least`, or by `most`.

    The deviation is the median of what the values before were off their own usual, each by what came before it.
    """
    # A deviation looks back as far again as its value, and a value at the candle before it.
    width = (rules.lookback - 1) // 2
    excess = values - _usual(values, width)
    return (excess > most) | ((excess > least) & (excess > limit * _TO_SIGMA * _usual(np.abs(excess), width)))


def _usual(values: Floats, width: int) -> Floats:
    """Return the median of the `width` slots before each; NaN where less than half of them are held."""
    held = (width + 1) // 2
    if len(values) < held:
        return np.full(len(values), np.nan)
    median: Floats = bn.move_median(values, window=min(width, len(values)), min_count=held)
    return _before(median)


def _before(values: Floats) -> Floats:
    """Return what stands one slot before; NaN at the first."""
    return np.concatenate(([np.nan], values[:-1]))[: len(values)]


def _lasts(mask: Mask, count: int) -> Mask:
    """Return where the mask has been true `count` times on end."""
    if not mask.any():
        return mask
    place = np.arange(len(mask))
    return place - np.maximum.accumulate(np.where(mask, -1, place)) >= count


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
        candles: CANDLE_SCHEMA, ascending by open_time, each once. The first `lookback` slots of the grid are judged by
            less than all that counts, unless nothing is held before them: give as much before the candles in question.
        splits_ms: When the series became another coin's, on the grid, ascending; see `Settings.splits_of`. What lies
            before says nothing of what comes after.

    Returns:
        (n,) bits of Flag, those of the rules only.
    """
    columns = to_columns(candles)
    slots, grid = _on_grid(columns, timeframe, rules.lookback)
    times = columns["open_time"]
    bits = np.zeros(len(grid.open), dtype=np.int16)
    begins = [0]
    for split_ms in splits_ms:
        place = int(np.searchsorted(times, split_ms))
        if place < len(times):
            begins.append(int(slots[place]))
            # Of a candle further on nobody could tell here that it is the first one.
            grid.is_first[slots[place]] = times[place] - split_ms <= rules.lookback * timeframe.ms
    for start, end in pairwise(sorted({*begins, len(bits)})):
        part = replace(grid, **{name: getattr(grid, name)[start:end] for name in _LAID})
        for rule in FLAGGING:
            if rule.name not in rules.off:
                bits[start:end][rule.finds(part, rules)] |= Flag[rule.name.upper()].value
    return bits[slots]


_LAID = ("open", "high", "low", "close", "volume", "is_first")


def flag_names(bits: int) -> tuple[str, ...]:
    """Return the rules that have set `bits`, by name."""
    return tuple(rule.name for rule in FLAGGING if bits & Flag[rule.name.upper()])


def _on_grid(columns: dict[str, NDArray[Any]], timeframe: Timeframe, lookback: int) -> tuple[NDArray[np.intp], Grid]:
    """Lay candles on their grid; return their slots too.

    A gap wider than the lookback is as good as one of just that width, so that years without candles cost nothing.
    """
    steps = np.minimum(np.diff(columns["open_time"]) // timeframe.ms, lookback + 1)
    count = len(columns["open_time"])
    slots = np.concatenate(([0], np.cumsum(steps)))[:count].astype(np.intp)
    width = int(slots[-1]) + 1 if count else 0
    values = [columns[name] for name in ("open", "high", "low", "close", "volume")]
    if width > count:
        values = [_spread(each, slots, width) for each in values]
    opened, high, low, close, volume = values
    return slots, Grid(timeframe, opened, high, low, close, volume, np.zeros(width, dtype=np.bool_))


def _spread(values: Floats, slots: NDArray[np.intp], width: int) -> Floats:
    spread = np.full(width, np.nan)
    spread[slots] = values
    return spread
