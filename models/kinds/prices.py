"""Kinds of incidents by where the price went: up or down and still there, or back again."""

from __future__ import annotations

import math

from etl.incidents import Fired, Kind
from models.scene import Sight
from models.wording import candles, clock, percent, price, size, without_candles

FAR = 4.0
"""Usual ranges that one candle must go from the last close to be a price move; so many candles, the root of their count
times that, as a price that wanders does; it wanders on while there are no candles. Four ranges are some six deviations
of a common candle's return."""
BACK = 0.75
"""What must come back of a move to be most of it: a crash that bounces by two thirds is a crash."""


def is_far(sight: Sight) -> bool:
    """Return whether the price went farther than it wanders."""
    needed = FAR * sight.usual_range * math.sqrt(sight.took)
    return sight.move >= needed  # NaN where nobody knows what is usual: then it is not


def crash(sight: Sight) -> Fired | None:
    """The price fell far, and has not come back by most of it when the incident ends, or as far as it is known."""
    if sight.sign > 0 or not is_far(sight) or sight.kept <= 1 - BACK:
        return None
    return Fired(Kind.CRASH, _moved(sight))


def price_spike(sight: Sight) -> Fired | None:
    """The price rose far, and has not come back by most of it when the incident ends, or as far as it is known."""
    if sight.sign < 0 or not is_far(sight) or sight.kept <= 1 - BACK:
        return None
    return Fired(Kind.PRICE_SPIKE, _moved(sight))


def recovery(sight: Sight) -> Fired | None:
    """The price went far, up or down, and came back by most of it within the incident."""
    if not is_far(sight) or sight.kept > 1 - BACK:
        return None
    track, last = sight.scene.track, sight.scene.last
    back = f"{100 * (1 - sight.kept):.0f} % of it came back by the close at {clock(track, last)}"
    return Fired(Kind.RECOVERY, f"{_moved(sight)}; {back}")


def _moved(sight: Sight) -> str:
    track, slot = sight.scene.track, sight.farthest
    name, side = ("high", "above") if sight.sign > 0 else ("low", "below")
    extreme = getattr(track, name)[slot]
    from_what = "the last close" if sight.last_close is not None else "the open"
    within = candles(slot - sight.scene.first + 1)
    if sight.absent:
        within += f" after {without_candles(track, sight.absent)}"
    return (
        f"{name} {price(extreme)} at {clock(track, slot)} is {size(sight.move, sight.sign)} {side} {from_what} "
        f"{price(sight.reference)}, within {within}; usual range of a candle {percent(sight.usual_range)[1:]}"
    )
