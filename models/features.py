"""Features of candles for models: causal, on the grid, and each series normalised by itself.

A feature of a candle depends on this candle and the last one held before it, no further than REACH slots back; from
`1h` up also on what was usual lately, see `models.recent`. What normalises it was found in the range that a model was
trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.schema import RULE_FLAGS, Flag, to_columns
from etl.series import TimeRange
from etl.timeframe import Timeframe, from_ms
from models.recent import NAMES, scaling_of, usual_lately
from models.robust import deviation_of, floor_of, median_of, usual_by_hour
from models.ticks import LATEST, find_tick

FEATURES = (
    "return",
    "range",
    "body",
    "place",
    "volume",
    "trades",
    "taker_share",
    "close",
    "day_sin",
    "day_cos",
)
"""The columns of normalised features, in their order.

return: log of close over the last close, over the root of the slots between. range: log of high less low, over close.
body: close less open, over close. place: of the close in the range, -1 at the low and 1 at the high. volume, trades:
logs, against what is usual in this hour of the week. taker_share: of the volume, what takers bought. close: the price
itself. Each less its centre and over its scale, but `place`. day_sin, day_cos: the time of day (UTC) as an angle.
Where usual moves are of a tick or two, return, range and body count ticks instead: a move of one is the least there is.
"""
_AS_THEY_ARE = frozenset({"place", "day_sin", "day_cos"})
LEAST_RETURN = 0.03
"""A return, normalised, that is never strange, however still the prices before stood; one tick, where it is coarse."""
REACH = 60
"""How many slots back the last close is looked for; after a longer gap there is no return."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_MINUTE_MS = 60_000
_WEEK_MS = 7 * 24 * 60 * _MINUTE_MS
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_MONDAY_MS = 4 * 24 * _HOUR_MS  # 1970-01-05, the first Monday of the epoch
_COARSE = 0.5  # of a usual return, that a tick is at least


@dataclass(frozen=True, slots=True)
class Track:
    """One series' candles on their grid, oldest first; (n,) float64 each, NaN where none is held or nothing is given.

    Attributes:
        is_held: Whether there is a candle.
        is_clean: Whether there is one, and neither we made it up nor a rule flags it.
        gone: Slots since the last candle before; NaN where that is further back than REACH.
        last: The close of that candle.
        lately: (2 * len(NAMES), n) what was usual in the slots before, as `models.recent` has it.
    """

    timeframe: Timeframe
    start_ms: int
    is_held: Mask
    is_clean: Mask
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    trades: Floats
    taker_buy_volume: Floats
    gone: Floats
    last: Floats
    lately: Floats

    def __len__(self) -> int:
        return len(self.close)

    @property
    def open_time_ms(self) -> NDArray[np.int64]:
        """(n,) when each slot opens."""
        return self.start_ms + np.arange(len(self), dtype=np.int64) * self.timeframe.ms

    def cut(self, time_range: TimeRange) -> Track:
        """Return the slots of a range; what the track does not reach is held by none."""
        first = (self.timeframe.ceil(time_range.start) - from_ms(self.start_ms)) // self.timeframe.delta
        count = time_range.count(self.timeframe)
        lead = min(max(-first, 0), count)
        inside = slice(max(first, 0), max(first + count, 0))

        def taken(values: NDArray[Any], empty: float | bool) -> NDArray[Any]:
            part = np.full((*values.shape[:-1], count), empty, dtype=values.dtype)
            here = values[..., inside]
            part[..., lead : lead + here.shape[-1]] = here
            return part

        masks = {name: taken(getattr(self, name), False) for name in ("is_held", "is_clean")}
        columns = {name: taken(getattr(self, name), np.nan) for name in _COLUMNS}
        return Track(self.timeframe, self.start_ms + first * self.timeframe.ms, **masks, **columns)


_COLUMNS = ("open", "high", "low", "close", "volume", "trades", "taker_buy_volume", "gone", "last", "lately")


def to_track(candles: pa.Table, timeframe: Timeframe, time_range: TimeRange) -> Track:
    """Put candles on their grid.

    Args:
        candles: CANDLE_SCHEMA, ascending by open_time; what lies before `time_range` counts as the last close and for
            what was usual lately.
        time_range: The slots of the track. For numbers that do not depend on where it starts, give the candles of the
            REACH slots before it too, or the `recent.reach_of` slots where that is more.
    """
    columns = to_columns(candles)
    first_ms, count = -(-time_range.start_ms // timeframe.ms) * timeframe.ms, time_range.count(timeframe)
    slot = (columns["open_time"] - first_ms) // timeframe.ms
    inside = (slot >= 0) & (slot < count)
    here = slot[inside]

    def gridded(values: NDArray[np.float64] | NDArray[np.int64]) -> Floats:
        column = np.full(count, np.nan)
        column[here] = values[inside]
        return column

    is_held, is_clean = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    flags = columns["flags"]
    is_held[here] = (flags[inside] & Flag.FILLED) == 0
    is_clean[here] = (flags[inside] & np.int16(Flag.FILLED | RULE_FLAGS)) == 0
    gone, last = np.full(len(slot), np.nan), np.full(len(slot), np.nan)
    gone[1:], last[1:] = np.diff(slot), columns["close"][:-1]
    gone[gone > REACH] = np.nan
    last[np.isnan(gone)] = np.nan
    trades = np.where(columns["trades"] < 0, np.nan, columns["trades"])
    clean = (flags & np.int16(Flag.FILLED | RULE_FLAGS)) == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.abs(np.log(columns["close"] / last)) / np.sqrt(gone)
    width = (columns["high"] - columns["low"]) / columns["close"]
    values = [each[clean] for each in (width, columns["volume"], trades, moved)]
    since_epoch = columns["open_time"][clean] // timeframe.ms
    return Track(
        timeframe,
        first_ms,
        is_held,
        is_clean,
        open=gridded(columns["open"]),
        high=gridded(columns["high"]),
        low=gridded(columns["low"]),
        close=gridded(columns["close"]),
        volume=gridded(columns["volume"]),
        trades=gridded(trades),
        taker_buy_volume=gridded(columns["taker_buy_volume"]),
        gone=gridded(gone),
        last=gridded(last),
        lately=usual_lately(since_epoch, values, first_ms // timeframe.ms, count, timeframe),
    )


@dataclass(frozen=True, slots=True)
class Norm:
    """Normalisation of one series' features; numbers found in the range it was trained on.

    Attributes:
        centre: (len(FEATURES),) float64, what is taken off, by feature.
        scale: (len(FEATURES),) float64, what it is divided by, then.
        floor: (3,) added to range, volume and trades before their logs, so that zero has one.
        usual: (2, 168) the usual log volume and log trades, by hour of the week since Monday 00:00 UTC.
        tick: The least step of prices, where it is coarse: moves count in ticks, not as shares of the price. 0 where it
            is not.
        lately: (2 * len(NAMES),) the medians of the track's; zeros where nothing is held against what was usual lately.
    """

    centre: Floats
    scale: Floats
    floor: Floats
    usual: Floats
    tick: float = 0.0
    lately: Floats = field(default_factory=lambda: np.zeros(2 * len(NAMES)))


def find_norm(track: Track) -> Norm:
    """Find what normalises a series, by its clean candles alone."""
    hours = _hour_of_week(track.open_time_ms)
    tick = _coarse_tick(track)
    width = (track.high - track.low) / (tick or track.close)
    sized = (width, track.volume, track.trades)
    floor = np.array([floor_of(values[track.is_clean]) for values in sized])
    usual = np.stack(
        [usual_by_hour(np.log(v + f), hours, track.is_clean) for v, f in zip(sized[1:], floor[1:], strict=True)]
    )
    lately = np.array([median_of(row[track.is_clean]) for row in track.lately])
    bare = Norm(np.zeros(len(FEATURES)), np.ones(len(FEATURES)), floor, usual, tick, lately)
    values = _features(track, bare)[track.is_clean]
    centre, scale = np.zeros(len(FEATURES)), np.ones(len(FEATURES))
    for number, name in enumerate(FEATURES):
        known = values[:, number][~np.isnan(values[:, number])]
        if name in _AS_THEY_ARE or not len(known):
            continue
        # The price is scaled as everybody scales it; for the others, a few wild candles shall not matter.
        centre[number] = known.mean() if name == "close" else np.median(known)
        spread = known.std() if name == "close" else deviation_of(known - centre[number])
        scale[number] = spread or 1.0
    for name in ("return", "body"):
        centre[FEATURES.index(name)] = 0.0
        if tick:
            scale[FEATURES.index(name)] = 1 / LEAST_RETURN
    return Norm(centre, scale, floor, usual, tick, lately)


def normalise(track: Track, norm: Norm) -> NDArray[np.float32]:
    """Return (n, len(FEATURES)) float32; NaN where a feature is not known, in all of them where no candle is held."""
    values = (_features(track, norm) - norm.centre) / norm.scale
    values[~track.is_held] = np.nan
    return values.astype(np.float32)


def _features(track: Track, norm: Norm) -> Floats:
    hours = _hour_of_week(track.open_time_ms)
    angle = track.open_time_ms % _DAY_MS * (2 * np.pi / _DAY_MS)
    height = track.high - track.low
    # In ticks where they are coarse: as a share of the price, a tick is the larger the lower the price is.
    base = norm.tick or track.close
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = (track.close - track.last) / base if norm.tick else np.log(track.close / track.last)
        columns = {
            "return": moved / np.sqrt(track.gone),
            "range": np.log(height / base + norm.floor[0]),
            "body": (track.close - track.open) / base,
            "place": np.where(height > 0, 2 * (track.close - track.low) / height - 1, 0.0),
            "volume": np.log(track.volume + norm.floor[1]) - norm.usual[0][hours],
            "trades": np.log(track.trades + norm.floor[2]) - norm.usual[1][hours],
            "taker_share": np.where(track.volume > 0, track.taker_buy_volume / track.volume, 0.5),
            "close": track.close,
            "day_sin": np.sin(angle),
            "day_cos": np.cos(angle),
        }
    columns["taker_share"] = np.where(np.isnan(track.taker_buy_volume), np.nan, columns["taker_share"])
    if norm.lately.any():
        columns |= _against_lately(columns, track, norm)
    return np.stack([columns[name] for name in FEATURES], axis=1)


def _against_lately(columns: Mapping[str, Floats], track: Track, norm: Norm) -> dict[str, Floats]:
    """Return features that drift over years, held against what was usual lately; not known where that is not."""
    scaling = scaling_of(track.lately, norm.lately, norm.floor)
    # Of the hour of the week remains by how much it differs from others.
    hourly = dict(zip(("volume", "trades"), norm.usual.mean(axis=1), strict=True))
    held = {
        name: (columns[name] + hourly[name] - scaling.level[NAMES.index(name)]) / scaling.wide[NAMES.index(name)]
        for name in hourly
    }
    if norm.tick:
        return held
    held["range"] = (columns["range"] - scaling.level[0]) / scaling.wide[0]
    return held | {name: columns[name] / scaling.move for name in ("return", "body")}


def _hour_of_week(open_time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    return (open_time_ms - _MONDAY_MS) % _WEEK_MS // _HOUR_MS


def tick_of(track: Track) -> float:
    """Return the step of which nearly all prices of the latest clean candles are multiples; 0 if there is none."""
    clean = np.flatnonzero(track.is_clean)[-LATEST:]
    return find_tick(np.concatenate([getattr(track, name)[clean] for name in ("open", "high", "low", "close")]))


def _coarse_tick(track: Track) -> float:
    """Return the tick of clean candles if it is as much as a part of a usual return; 0 if it is finer."""
    with np.errstate(divide="ignore", invalid="ignore"):
        moves = (np.log(track.close / track.last) / np.sqrt(track.gone))[track.is_clean]
    moves = moves[~np.isnan(moves)]
    usual = deviation_of(moves) if len(moves) else 0.0
    tick = tick_of(track)
    return tick if usual and tick >= _COARSE * usual * np.median(track.close[track.is_clean]) else 0.0
