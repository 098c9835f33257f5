"""Kinds of incidents by what was traded: a burst, or much that moves nothing."""

from __future__ import annotations

import math

import numpy as np

from etl.incidents import Fired, Kind
from models.scene import Sight, held, widths
from models.wording import amount, candles, clock, size, times

BURST = 15.0
"""Usual volumes in one candle, and more than any of those before: the common hour has its bursts too."""
WASHED = 3.0
"""Usual volumes, candle by candle at the median, for trades that go round; ..."""
CALM = 0.5
"""... while candles have no more than that part of their usual range ..."""
LASTING = 6
"""... for so many candles at least, as many as the models' sums go over."""


def volume_burst(sight: Sight) -> Fired | None:
    """One candle has many times the usual volume, and more than any of those before."""
    track = sight.scene.track
    here, before = (held(track, track.volume, slots) for slots in (sight.here, sight.before))
    if math.isnan(sight.usual_volume) or not sight.usual_volume > 0 or np.isnan(here).all():
        return None
    slot = int(np.nanargmax(here))
    ratio, most = here[slot] / sight.usual_volume, float(np.nanmax(before))
    if ratio < BURST or here[slot] <= most:
        return None
    told = f"volume {amount(here[slot])} at {clock(track, sight.scene.first + slot)} is {times(ratio)} the usual"
    count = int((~np.isnan(before)).sum())
    return Fired(Kind.VOLUME_BURST, f"{told}, and {times(here[slot] / most)} the most of {candles(count)} before")


def wash_like_volume(sight: Sight) -> Fired | None:
    """Much is traded for a while, candles have hardly any range, and the price ends where it was.

    What lasts is told only once it has lasted: the incident's first candles may have come before its first anomaly.
    """
    track = sight.scene.track
    slots = slice(max(min(sight.scene.first, sight.scene.last - LASTING + 1), 0), sight.scene.last + 1)
    volume, closes = held(track, track.volume, slots), held(track, track.close, slots)
    width = widths(track, slots)
    known = ~np.isnan(closes)
    if known.sum() < LASTING or math.isnan(sight.usual_range) or not sight.usual_volume > 0:
        return None
    ratio, range_ = float(np.median(volume[known])) / sight.usual_volume, float(np.median(width[known]))
    ends = closes[known][[0, -1]]
    moved = abs(math.log(ends[1] / ends[0]))
    if ratio < WASHED or range_ > CALM * sight.usual_range or moved > sight.usual_range:
        return None
    return Fired(
        Kind.WASH_LIKE_VOLUME,
        f"{times(ratio)} the usual volume in {candles(int(known.sum()))}, with ranges of {size(range_)} where "
        f"{size(sight.usual_range)} is usual; the price ended {size(moved)} from where it was",
    )
