"""Market or venue: whether other exchanges show an incident too, and what they show instead.

By what made the incident: a move of the price, volume, a price that stands still, or a price apart from all others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from etl.incidents import Kind, Numbers, Scope, Witness
from etl.series import Series
from models.features import Track
from models.scene import Move, Sight, close_before, held, move_of, reach_of, usual_volume
from models.spreads import Gap
from models.stillness import is_still, longest_run
from models.wording import candles, clock, percent, price, size, times

SLACK = 2
"""Slots by which another exchange may be early or late: trades at the turn of a minute fall on either side of it."""
HALF = 0.5
"""Of the move, in the same direction, is the same move: books differ in depth, and the deepest moves least."""
HARDLY = 2.0
"""Usual ranges below which the price moved too little to say of another one that it moved along."""
LIVELY = 4.0
"""Usual volumes that another exchange must have had at least, to have seen a burst."""

_NUMBERS = ("open", "high", "low", "close", "volume", "trades")
_BY_VOLUME = frozenset({Kind.VOLUME_BURST, Kind.WASH_LIKE_VOLUME})
_VOLUME_CHANNELS = frozenset({"volume", "effort", "trades", "wash", "burst"})


def witness(sight: Sight, kind: Kind) -> tuple[Witness, ...]:
    """Return what each other exchange shows, those that see it first, those that cannot tell last.

    This alone may look past the incident's last candle, by SLACK, where more is held: a late witness is one.
    """
    told = [_witness(sight, series, kind) for series in sight.scene.others]
    return tuple(sorted(told, key=lambda one: (one.sees is None, not one.sees, str(one.series))))


def scope_of(witnesses: Sequence[Witness]) -> Scope:
    """Return who saw it.

    One other exchange that saw it is enough for a market incident: that two make the same mistake in the same minute
    is less likely than that a thin one misses what happened.
    """
    if any(one.sees for one in witnesses):
        return Scope.MARKET
    return Scope.VENUE if any(one.sees is False for one in witnesses) else Scope.UNCONFIRMED


def witness_move(sight: Sight, series: Series, moved: Move, until: int) -> Witness:
    """Say whether another exchange's price went along: the same way, and by HALF at least, within SLACK.

    Args:
        until: The last slot that may be looked at.
    """
    track = sight.scene.others[series]
    first = moved.first - SLACK
    reference = close_before(track, max(first, 0))
    if not _is_held(track, moved.at):
        return _cannot_tell(sight, series, _nothing_at(track, moved.at))
    if math.isnan(reference):
        return _cannot_tell(sight, series, f"holds no candle before {clock(track, max(first, 0))}")
    reach, slot = reach_of(track, first, min(moved.last + SLACK, until), reference, moved.sign)
    name = "high" if moved.sign > 0 else "low"
    told = (
        f"{name} {price(math.exp(moved.sign * reach) * reference)} at {clock(track, slot)}, "
        f"{percent(moved.sign * reach)}, against {percent(moved.sign * moved.size)} here"
    )
    return _says(sight, series, reach >= HALF * moved.size, told, moved.sign * reach)


def _witness(sight: Sight, series: Series, kind: Kind) -> Witness:
    scene = sight.scene
    strongest = max(scene.shares, key=scene.shares.__getitem__, default=None)
    if scene.gap is not None:
        return _witness_gap(sight, series, scene.gap)
    if kind is Kind.FROZEN_PRICE:
        return _witness_stillness(sight, series)
    if kind in _BY_VOLUME or (kind is Kind.UNUSUAL and strongest in _VOLUME_CHANNELS):
        return _witness_volume(sight, series)
    until = len(scene.track) - 1
    if kind is Kind.DATA_FAULT and (moved := move_of(sight, sight.farthest)) is not None:
        return witness_move(sight, series, moved, until)
    moved = Move(sight.sign, sight.move, sight.reference, scene.first, scene.last, scene.peak, sight.took)
    if kind is Kind.UNUSUAL and not sight.move >= HARDLY * sight.usual_range * math.sqrt(sight.took):
        return _cannot_tell(sight, series, "cannot tell: the price hardly moved here")
    return witness_move(sight, series, moved, until)


def _witness_volume(sight: Sight, series: Series) -> Witness:
    """By volume over the incident's candles, each exchange's against its own usual one."""
    scene, track = sight.scene, sight.scene.others[series]
    if not _is_held(track, scene.peak):
        return _cannot_tell(sight, series, _nothing_at(track, scene.peak))
    usual = usual_volume(track, sight.before)
    if not (usual > 0 and sight.usual_volume > 0):
        return _cannot_tell(sight, series, "holds too few candles before, to say what is usual")
    own, its = (
        float(np.nanmean(held(each, each.volume, sight.here))) / normal
        for each, normal in ((scene.track, sight.usual_volume), (track, usual))
    )
    # Half of a burst, as half of a move: by logs, since that is how volumes vary.
    sees = its >= max(math.sqrt(max(own, 0.0)), LIVELY)
    return _says(sight, series, sees, f"{times(its)} its usual volume, against {times(own)} here")


def _witness_stillness(sight: Sight, series: Series) -> Witness:
    """By whether its price moved while this one stood still."""
    scene, track = sight.scene, sight.scene.others[series]
    start, last = longest_run(sight) or (scene.first, scene.last)
    count = int(track.is_held[start : last + 1].sum())
    if not _is_held(track, scene.peak):
        return _cannot_tell(sight, series, _nothing_at(track, scene.peak))
    moving = count - int(is_still(track, start, last + 1).sum())
    before = int(track.is_held[sight.before].sum())
    if 2 * int(is_still(track, sight.before.start, sight.before.stop).sum()) > before:
        return _cannot_tell(sight, series, "cannot tell: its price stands still most of the time")
    return _says(sight, series, moving == 0, f"its price moved in {moving} of {candles(count)} meanwhile")


def _witness_gap(sight: Sight, series: Series, gap: Gap) -> Witness:
    """By whether it is off together with this one, or apart from it."""
    scene, track = sight.scene, sight.scene.others[series]
    if series not in gap.off or not _is_held(track, scene.peak):
        return _cannot_tell(sight, series, _nothing_at(track, scene.peak))
    off = gap.off[series]
    side = "below" if off > 0 else "above"
    told = f"close {price(track.close[scene.peak])}, {size(off)} {side} here but for what is usual between the two"
    return _says(sight, series, abs(off) <= gap.cost, told)


def _says(sight: Sight, series: Series, sees: bool, why: str, move: float | None = None) -> Witness:
    """Return what one that holds a candle at the peak says; its move by its closes, unless another is given."""
    scene, track = sight.scene, sight.scene.others[series]
    if move is None:
        reference = close_before(track, scene.first)
        move = math.log(track.close[scene.peak] / reference)
    move_pct = None if math.isnan(move) else 100 * math.expm1(move)
    return Witness(series, numbers_at(track, scene.peak), move_pct, bool(sees), why)


def _cannot_tell(sight: Sight, series: Series, why: str) -> Witness:
    return Witness(series, numbers_at(sight.scene.others[series], sight.scene.peak), None, None, why)


def numbers_at(track: Track, slot: int) -> Numbers | None:
    """Return the candle of a slot; None if it holds none."""
    if not _is_held(track, slot):
        return None
    opened, high, low, close, volume, trades = (float(getattr(track, name)[slot]) for name in _NUMBERS)
    return Numbers(opened, high, low, close, volume, None if math.isnan(trades) else int(trades))


def _is_held(track: Track, slot: int) -> bool:
    return bool(track.is_held[slot])


def _nothing_at(track: Track, slot: int) -> str:
    if not track.is_held.any():
        return "holds no candles here"
    if not track.is_held[slot:].any():
        return f"its candles from {clock(track, slot)} on are not loaded yet"
    return f"holds no candle at {clock(track, slot)}"
