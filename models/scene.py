"""Input of describing an incident: the candles around it, here and on other exchanges, and what was usual before.

Nothing here looks at a candle that came after the incident's last one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from etl.incidents import Detector
from etl.series import Series
from models.features import REACH, Floats, Track
from models.spreads import Gap

AROUND = 120
"""Slots before an incident that describing looks at: what was usual."""
LEAST_RANGE = 1e-4
"""Over the close: where most candles have no range, a tick is no move."""
_ENOUGH = 16  # candles before, to know what is usual


@dataclass(frozen=True, slots=True)
class Scene:
    """An incident among the candles around it.

    Attributes:
        track: Spans at least AROUND slots before `first`, as far as there are candles, and to `last` or a little after.
        others: Siblings on the very same slots; they may hold nothing there.
        first, peak, last: Slots of the tracks, all of them in the incident, and held.
        shares: What each feature contributed at the peak, together 1; empty if no model found it.
        score: The joined score at the peak; None likewise.
        threshold: The cut that the score reached.
        budget: How many incidents a week that cut was made for.
        gap: What the comparison of venues found; None if a model found it.
    """

    series: Series
    track: Track
    others: Mapping[Series, Track]
    first: int
    peak: int
    last: int
    detector: Detector = Detector.MODEL
    shares: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    threshold: float = 0.0
    budget: float = 1.0
    gap: Gap | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """A scene, and what is seen of it at first sight. Moves are logs of price over price.

    Attributes:
        last_close: The close before the incident; None if none is held near.
        reference: What moves are measured from: `last_close`, or the first open where there is none.
        usual_range: The median of high less low, over close, of the AROUND slots before; NaN where too few are held.
        usual_volume: The median volume of them; NaN likewise.
        sign: 1 if the farthest price of the incident lies above the reference, -1 if below.
        move: How far that is, at least 0.
        farthest: Its slot.
        absent: Slots without a candle between the last close and the incident.
    """

    scene: Scene
    last_close: float | None
    reference: float
    usual_range: float
    usual_volume: float
    sign: int
    move: float
    farthest: int
    absent: int

    @property
    def took(self) -> int:
        """Slots that the move took, those without a candle before the incident included."""
        return self.absent + self.farthest - self.scene.first + 1

    @property
    def before(self) -> slice:
        """The slots that say what was usual."""
        return slice(max(self.scene.first - AROUND, 0), self.scene.first)

    @property
    def here(self) -> slice:
        """The incident's slots."""
        return slice(self.scene.first, self.scene.last + 1)

    @property
    def kept(self) -> float:
        """The part of the move that is left at the last close; below 0 if the price went back beyond where it was."""
        if not self.move > 0:
            return 1.0
        return self.sign * math.log(self.scene.track.close[self.scene.last] / self.reference) / self.move


@dataclass(frozen=True, slots=True)
class Move:
    """Move of the price in some slots: up (1) or down (-1) from a reference, by so much.

    Attributes:
        size: A log, at least 0.
        took: How many slots it took, those without a candle before the first included.
        first, last: The slots, both included.
        at: The slot that others must hold a candle in, to say anything of it.
    """

    sign: int
    size: float
    reference: float
    first: int
    last: int
    at: int
    took: int


def look(scene: Scene) -> Sight:
    """Return what is seen at first sight."""
    track, first, last = scene.track, scene.first, scene.last
    before = slice(max(first - AROUND, 0), first)
    last_close = close_before(track, first)
    reference = float(track.open[first]) if math.isnan(last_close) else last_close
    sign, move, farthest = farthest_move(track, first, last, reference)
    return Sight(
        scene,
        last_close=None if math.isnan(last_close) else last_close,
        reference=reference,
        usual_range=usual_range(track, before),
        usual_volume=usual_volume(track, before),
        sign=sign,
        move=move,
        farthest=farthest,
        absent=absent_before(track, first),
    )


def move_of(sight: Sight, slot: int) -> Move | None:
    """Return where the price went in one slot, from the close before it; None if there is none."""
    track = sight.scene.track
    reference = close_before(track, slot)
    if math.isnan(reference) or not track.is_held[slot]:
        return None
    sign, size, _ = farthest_move(track, slot, slot, reference)
    return Move(sign, size, reference, slot, slot, slot, absent_before(track, slot) + 1)


def close_before(track: Track, slot: int) -> float:
    """Return the last close that is held before a slot, no further than REACH slots back; NaN if there is none."""
    start = max(slot - REACH, 0)
    held = np.flatnonzero(track.is_held[start:slot])
    if len(held):
        return float(track.close[start + held[-1]])
    # Tracks know the close before their first candle too.
    return float(track.last[slot]) if slot < len(track) and track.is_held[slot] else math.nan


def absent_before(track: Track, slot: int) -> int:
    """Return how many slots lie between the last close before a candle and the candle; 0 if none is held near."""
    gone = track.gone[slot]
    return 0 if np.isnan(gone) else int(gone) - 1


def farthest_move(track: Track, first: int, last: int, reference: float) -> tuple[int, float, int]:
    """Return where the price went farthest from `reference` in the slots `first` to `last`: sign, size, slot."""
    up = reach_of(track, first, last, reference, 1)
    down = reach_of(track, first, last, reference, -1)
    sign, (move, slot) = (1, up) if up[0] > down[0] else (-1, down)
    return sign, max(move, 0.0), slot


def reach_of(track: Track, first: int, last: int, reference: float, sign: int) -> tuple[float, int]:
    """Return how far the price went up (sign 1) or down (-1) in the slots `first` to `last`, and where.

    Returns:
        A log, below 0 if it stayed on the other side throughout; NaN where nothing is held. And the slot.
    """
    start = max(first, 0)
    prices = held(track, track.high if sign > 0 else track.low, slice(start, last + 1))
    if np.isnan(prices).all():
        return math.nan, start
    slot = int(np.nanargmax(sign * prices))
    return sign * math.log(prices[slot] / reference), start + slot


def usual_range(track: Track, before: slice) -> float:
    """Return the median of high less low, over close; at least LEAST_RANGE, NaN where too few candles are held."""
    return float(np.maximum(_median(widths(track, before)), LEAST_RANGE))


def usual_volume(track: Track, before: slice) -> float:
    """Return the median volume; NaN where too few candles are held."""
    return _median(held(track, track.volume, before))


def held(track: Track, values: Floats, slots: slice) -> Floats:
    """Return the values of some slots, NaN in those that hold no candle, or one that we made up."""
    return np.where(track.is_held[slots], values[slots], np.nan)


def widths(track: Track, slots: slice) -> Floats:
    """Return high less low, over close, of some slots; NaN likewise."""
    return (held(track, track.high, slots) - track.low[slots]) / track.close[slots]


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) >= _ENOUGH else math.nan
