"""Candles that no market made: prints that nobody else shows, prices that moved though nothing was traded."""

from __future__ import annotations

import math

import numpy as np

from etl.incidents import Fired, Kind
from models.kinds.prices import BACK, FAR
from models.scene import Move, Sight, held, move_of
from models.witnessing import witness_move
from models.wording import clock, percent, price, size


def bad_print(sight: Sight) -> Fired | None:
    """The price went far and was back within the candle or the next, and no other exchange went with it.

    Other exchanges must be there to say so: a wick that nobody else could have shown is a recovery.
    """
    moved = move_of(sight, sight.farthest)
    if moved is None or not moved.size >= FAR * sight.usual_range * math.sqrt(moved.took) or not _is_back(sight, moved):
        return None
    seen = [witness_move(sight, series, moved, sight.scene.last) for series in sight.scene.others]
    told = [one for one in seen if one.sees is not None]
    if not told or any(one.sees for one in told):
        return None
    track, slot = sight.scene.track, sight.farthest
    name, side = ("high", "above") if moved.sign > 0 else ("low", "below")
    return Fired(
        Kind.DATA_FAULT,
        f"{name} {price(getattr(track, name)[slot])} at {clock(track, slot)} is {size(moved.size, moved.sign)} {side} "
        f"the close before, and was back at once; {_nobody(len(told))}; usual range of a candle "
        f"{percent(sight.usual_range)[1:]}",
    )


def moved_without_volume(sight: Sight) -> Fired | None:
    """The price moved though nothing was traded, farther than a candle usually does."""
    track = sight.scene.track
    idle = held(track, track.volume, sight.here) == 0
    idle &= track.gone[sight.here] == 1  # over a gap, who knows what was traded
    for slot in (sight.scene.first + np.flatnonzero(idle)).tolist():
        moved = move_of(sight, slot)
        if moved is not None and moved.size > sight.usual_range:
            far = percent(moved.sign * moved.size)
            return Fired(Kind.DATA_FAULT, f"the price moved {far} at {clock(track, slot)} though nothing was traded")
    return None


def broken_candle(sight: Sight) -> Fired | None:
    """High or low misses open or close, by so little that the candle was not refused."""
    track, here = sight.scene.track, sight.here
    body = np.stack([track.open[here], track.close[here]])
    misses = (track.low[here] > body.min(axis=0)) | (track.high[here] < body.max(axis=0))
    misses &= track.is_held[here]
    if not misses.any():
        return None
    slot = sight.scene.first + int(np.argmax(misses))
    prices = ", ".join(f"{name} {price(getattr(track, name)[slot])}" for name in ("open", "high", "low", "close"))
    return Fired(Kind.DATA_FAULT, f"{prices} at {clock(track, slot)} cannot all be true")


def _is_back(sight: Sight, moved: Move) -> bool:
    """Return whether most of a move was taken back by the candle's own close, or by the next one's."""
    track, slot = sight.scene.track, sight.farthest
    for at in range(slot, min(slot + 1, sight.scene.last) + 1):
        if track.is_held[at] and moved.sign * math.log(track.close[at] / moved.reference) <= (1 - BACK) * moved.size:
            return True
    return False


def _nobody(count: int) -> str:
    return "the other exchange shows nothing of it" if count == 1 else f"none of {count} other exchanges shows it"
