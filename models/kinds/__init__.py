"""Kinds of incidents: rules, each a small pure function of what is seen at first sight. A new one is a line.

Rules look at nothing that came after the incident's last candle. Several may fire: the first names the incident.
"""

from __future__ import annotations

from collections.abc import Callable

from etl.incidents import Fired
from models.kinds.faults import bad_print, broken_candle, moved_without_volume
from models.kinds.frozen import frozen_price
from models.kinds.prices import crash, price_spike, recovery
from models.kinds.volumes import volume_burst, wash_like_volume
from models.scene import Sight

KINDS: tuple[Callable[[Sight], Fired | None], ...] = (
    bad_print,
    moved_without_volume,
    crash,
    price_spike,
    recovery,
    frozen_price,
    wash_like_volume,
    volume_burst,
    broken_candle,
)
"""The most telling first: that there was no such price is more than that it moved; that it moved, more than volume."""


def name(sight: Sight) -> tuple[Fired, ...]:
    """Return the rules that fire, in the order of KINDS; none if none does."""
    return tuple(fired for rule in KINDS if (fired := rule(sight)) is not None)
