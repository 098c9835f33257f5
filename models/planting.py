"""Anomalies planted into candles, so that what is found can be counted.

Sizes are multiples of what was usual in the day before (at coarse timeframes, in the 64 slots before), so that a size
means the same in a calm market and in a wild one: of the median range of a candle over its close (a wick of 8 is about
half a percent in a common minute of BTC), and of the median volume. They were set by what people who trade call
strange, before any scorer had seen them, and are not to be changed to suit one: a small one would be looked at twice on
a chart, a middle one ends up in a chat, a large one wakes somebody. Crashes spread over candles, so they are deeper
than wicks are long. What a feed does wrong (frozen
prices) and what traders do among themselves (wash volume) is no wilder when it is worse, but lasts longer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.schema import Flag, from_columns, to_columns
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe, to_ms

SPACING = 160
"""Slots for each anomaly: it lies in its own stretch of so many, and ..."""
APART = 64
"""... so many of them are left alone behind it, so that each is judged for itself."""

_DAY_MS = 86_400_000
_LEAST_SLOTS = 64  # of what came before, where a day has fewer
_ENOUGH = 32  # candles before, to know what is usual
_HELD = 0.75  # of the slots of an anomaly
_SQUEEZE = 0.25
_LEAST_RANGE = 1e-4  # over the close: where most candles have none, a tick

Columns = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]


class Kind(StrEnum):
    """Kinds of planted anomalies.

    SPIKE: one candle has a wick, up or down. CRASH: within three candles the price falls, within six it is back, at a
    higher volume. LEVEL_SHIFT: the price jumps within a candle and stays; every later price is scaled.
    FROZEN_PRICE: the last close again and again, while volume goes on. VOLUME_BURST: three candles of great volume.
    WASH_VOLUME: volume and trades several times the usual for a while, and the price hardly moves.
    """

    SPIKE = "spike"
    CRASH = "crash"
    LEVEL_SHIFT = "level_shift"
    FROZEN_PRICE = "frozen_price"
    VOLUME_BURST = "volume_burst"
    WASH_VOLUME = "wash_volume"


class Size(StrEnum):
    """Sizes of planted anomalies; see `SHAPES`."""

    SMALL = "small"
    MIDDLE = "middle"
    LARGE = "large"


@dataclass(frozen=True, slots=True)
class Shape:
    """Meaning of a size for a kind.

    Attributes:
        slots: How long it lasts.
        move: Of the price, in usual ranges.
        volume: What is added, in usual volumes.
    """

    slots: int
    move: float = 0.0
    volume: float = 0.0


_FALL, _RECOVERY = 3, 6

SHAPES: Mapping[Kind, Mapping[Size, Shape]] = {
    kind: dict(zip(Size, shapes, strict=True))
    for kind, shapes in {
        Kind.SPIKE: (Shape(1, move=8), Shape(1, move=16), Shape(1, move=32)),
        Kind.CRASH: tuple(Shape(_FALL + _RECOVERY, move=m, volume=v) for m, v in ((12, 2), (24, 4), (48, 8))),
        Kind.LEVEL_SHIFT: (Shape(1, move=8), Shape(1, move=16), Shape(1, move=32)),
        Kind.FROZEN_PRICE: (Shape(8), Shape(15), Shape(30)),
        Kind.VOLUME_BURST: (Shape(3, volume=20), Shape(3, volume=50), Shape(3, volume=125)),
        Kind.WASH_VOLUME: (Shape(10, volume=3), Shape(20, volume=6), Shape(30, volume=12)),
    }.items()
}


@dataclass(frozen=True, slots=True)
class Planted:
    """One anomaly; its slots count from the first of the range that it was planted into, both of them included."""

    kind: Kind
    size: Size
    first_slot: int
    last_slot: int


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual values just before: the median range of a candle over its close, and the median volume."""

    width: float
    volume: float


def plant(candles: pa.Table, series: Series, time_range: TimeRange, seed: int) -> tuple[pa.Table, tuple[Planted, ...]]:
    """Plant anomalies at random places, of every kind and size alike.

    What is usual is found in candles as they were, before each anomaly: the later ones change nothing of it. What is
    drawn follows from the seed and the name of the series.

    Args:
        candles: CANDLE_SCHEMA, ascending by open_time.
        time_range: Where to plant; nothing before it changes. There is one anomaly for each SPACING slots of it, but
            none where too few candles are held.

    Returns:
        New candles, and what was planted, ascending.
    """
    columns, timeframe = to_columns(candles), series.timeframe
    slots = (columns["open_time"] - to_ms(timeframe.ceil(time_range.start))) // timeframe.ms
    random = np.random.default_rng([seed, *hashlib.sha256(str(series).encode()).digest()[:8]])
    changed = {name: values.copy() for name, values in columns.items()}
    direction, planted = {kind: float(random.choice((-1, 1))) for kind in Kind}, []
    is_held = (columns["flags"] & np.int16(Flag.FILLED)) == 0
    for number, (kind, size) in enumerate(_cells(random, time_range.count(timeframe) // SPACING)):
        shape = SHAPES[kind][size]
        place = _draw_place(random, slots[is_held], number * SPACING, shape.slots)
        usual = None if place is None else _usual(columns, timeframe, is_held, slots, place)
        if place is None or usual is None:
            continue
        here = slice(*np.searchsorted(slots, (place, place + shape.slots)).tolist())
        _CHANGES[kind](changed, here, shape, usual, direction[kind])
        direction[kind] = -direction[kind]  # level shifts shall not add up
        planted.append(Planted(kind, size, place, place + shape.slots - 1))
    return from_columns(changed), tuple(planted)


def _cells(random: np.random.Generator, count: int) -> list[tuple[Kind, Size]]:
    """Draw what to plant, so that of two kinds and sizes none has more than one anomaly more than the other."""
    every = [(kind, size) for kind in Kind for size in Size]
    drawn: list[tuple[Kind, Size]] = []
    while len(drawn) < count:
        drawn += [every[number] for number in random.permutation(len(every))]
    return drawn[:count]


def _draw_place(random: np.random.Generator, held: NDArray[np.int64], start: int, length: int) -> int | None:
    """Return a slot of the stretch from `start` on where both ends and most of what lies between are held."""
    firsts = np.arange(start, start + SPACING - APART - length + 1)
    is_first, is_last = np.isin(firsts, held), np.isin(firsts + length - 1, held)
    count = np.searchsorted(held, firsts + length) - np.searchsorted(held, firsts)
    places = firsts[is_first & is_last & (count >= _HELD * length)]
    return int(random.choice(places)) if len(places) else None


def _usual(
    columns: Columns, timeframe: Timeframe, is_held: NDArray[np.bool_], slots: NDArray[np.int64], place: int
) -> Usual | None:
    """Return what was usual before a slot, as far as candles are given; None with too few."""
    first, end = np.searchsorted(slots, (place - max(_DAY_MS // timeframe.ms, _LEAST_SLOTS), place))
    traded = np.flatnonzero(is_held[first:end] & (columns["volume"][first:end] > 0)) + first
    if len(traded) < _ENOUGH:
        return None
    width = np.median((columns["high"][traded] - columns["low"][traded]) / columns["close"][traded])
    return Usual(max(float(width), _LEAST_RANGE), float(np.median(columns["volume"][traded])))


def _spike(columns: Columns, here: slice, shape: Shape, usual: Usual, direction: float) -> None:
    body = columns["open"][here], columns["close"][here]
    factor = np.exp(direction * shape.move * usual.width)
    if direction > 0:
        columns["high"][here] = np.maximum(columns["high"][here], np.maximum(*body) * factor)
    else:
        columns["low"][here] = np.minimum(columns["low"][here], np.minimum(*body) * factor)


def _crash(columns: Columns, here: slice, shape: Shape, usual: Usual, direction: float) -> None:
    depth = -shape.move * usual.width
    path = np.concatenate((np.linspace(0, depth, _FALL + 1), np.linspace(depth, 0, _RECOVERY + 1)[1:]))
    # Where candles are missing the path goes through the ends of those that are there.
    number = np.linspace(0, len(path) - 1, here.stop - here.start + 1).round().astype(np.intp)
    _move(columns, here, np.exp(path[number]))
    _trade(columns, here, shape.volume * usual.volume)


def _level_shift(columns: Columns, here: slice, shape: Shape, usual: Usual, direction: float) -> None:
    factor = float(np.exp(direction * shape.move * usual.width))
    _move(columns, here, np.array([1.0, factor]))
    later = slice(here.stop, None)
    for name in ("open", "high", "low", "close", "quote_volume", "taker_buy_quote_volume"):
        columns[name][later] *= factor


def _frozen_price(columns: Columns, here: slice, shape: Shape, usual: Usual, direction: float) -> None:
    last = columns["close"][here.start - 1]
    for name in ("open", "high", "low", "close"):
        columns[name][here] = last


def _volume_burst(columns: Columns, here: slice, shape: Shape, usual: Usual, direction: float) -> None:
    _trade(columns, here, shape.volume * usual.volume)


def _wash_volume(columns: Columns, here: slice, shape: Shape, usual: Usual, direction: float) -> None:
    """Draw prices towards the straight line that the stretch follows, so that it ends where it did."""
    count = here.stop - here.start
    line = np.geomspace(columns["close"][here.start - 1], columns["close"][here.stop - 1], count + 1)[1:]
    for name in ("open", "high", "low", "close"):
        columns[name][here] = line * (columns[name][here] / line) ** _SQUEEZE
    _trade(columns, here, shape.volume * usual.volume)


_CHANGES: Mapping[Kind, Callable[[Columns, slice, Shape, Usual, float], None]] = {
    Kind.SPIKE: _spike,
    Kind.CRASH: _crash,
    Kind.LEVEL_SHIFT: _level_shift,
    Kind.FROZEN_PRICE: _frozen_price,
    Kind.VOLUME_BURST: _volume_burst,
    Kind.WASH_VOLUME: _wash_volume,
}


def _move(columns: Columns, here: slice, factors: Floats) -> None:
    """Scale prices: each candle opens by one factor and closes by the next, (n + 1,) for n candles."""
    before, after = factors[:-1], factors[1:]
    columns["open"][here] *= before
    columns["close"][here] *= after
    columns["high"][here] *= np.maximum(before, after)
    columns["low"][here] *= np.minimum(before, after)
    for name in ("quote_volume", "taker_buy_quote_volume"):
        columns[name][here] *= (before + after) / 2


def _trade(columns: Columns, here: slice, more: float) -> None:
    """Add volume, and the rest of what is traded in proportion."""
    volume = columns["volume"][here].copy()
    columns["volume"][here] += more
    ratio = np.divide(columns["volume"][here], volume, out=np.ones_like(volume), where=volume > 0)
    for name in ("quote_volume", "taker_buy_volume", "taker_buy_quote_volume"):
        columns[name][here] *= ratio
    trades = columns["trades"][here]
    columns["trades"][here] = np.where(trades < 0, trades, np.rint(trades * ratio))
