"""The price that stands still in a market that moves."""

from __future__ import annotations

import numpy as np

from etl.incidents import Fired, Kind
from models.scene import Sight
from models.stillness import longest_run, share_still
from models.wording import amount, candles, clock, price

LEAST = 5
"""Candles that are alike, to be called frozen."""
SELDOM = 1e-4
"""How seldom so many in a row may stand still by chance, by the share that did before; in a market of which more than
half of the candles stand still, nothing is frozen."""


def frozen_price(sight: Sight) -> Fired | None:
    """Candles without any range at one and the same price, more in a row than this market ever has."""
    track, run = sight.scene.track, longest_run(sight)
    if run is None:
        return None
    start, last = run
    count, share = last - start + 1, share_still(track, start)
    if count < LEAST or share > 0.5 or share**count > SELDOM:
        return None
    volume = float(np.nansum(track.volume[start : last + 1]))
    traded = f"while {amount(volume)} was traded" if volume > 0 else "and nothing was traded"
    return Fired(
        Kind.FROZEN_PRICE,
        f"{candles(count)} alike at {price(track.close[start])} from {clock(track, start)} on, {traded}; "
        f"before, {100 * (1 - share):.0f} % of candles moved",
    )
