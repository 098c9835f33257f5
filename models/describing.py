"""Description of an incident: its kind, its scope, its severity, and the evidence.

Kind and severity follow from what closed until the incident's last candle. Who saw it may be known a little later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from etl.incidents import Evidence, Fired, Kind, Scope, Severity
from models import kinds
from models.kinds.prices import FAR
from models.scene import AROUND, Scene, Sight, look
from models.witnessing import numbers_at, scope_of, witness
from models.wording import without_candles

__all__ = ["AROUND", "Description", "Scene", "describe"]

HIGH, CRITICAL = 1.0, 2.0
"""Decades of score above the cut: ten times as seldom as the budget has them, and a hundred times."""
GREAT = 4 * FAR
"""Usual ranges, as FAR counts them, from which a move of the price matters one step more than its score says. A model
that has just seen a wild hour finds the next one less strange; whoever holds the asset does not."""
WIDE = math.log(1.0175)
"""Of the price, for each minute that it took, by the root: what such a move must have besides, as in thin markets most
candles have no range at all. It is what flags an outlier too (`price_floor_pct` in etl/rules.py)."""
SLIGHT = math.log(1.005)
"""A price that went less far, which hardly pays what it costs to trade it, matters one step less: in the calmest hours
of a weekend a model finds a tenth of a percent very strange, and is right, but nobody need be woken."""
HIGH_COSTS, CRITICAL_COSTS = 2.0, 5.0
"""Times the costs that prices of venues are apart."""
LONGEST_DAYS = 36_525.0
"""A hundred years: nobody has seen more of any market that candles are kept of."""

_PRICE_KINDS = frozenset({Kind.CRASH, Kind.PRICE_SPIKE, Kind.RECOVERY})


@dataclass(frozen=True, slots=True)
class Description:
    """Kind, scope, severity and evidence of an incident.

    Attributes:
        once_in_days: How seldom such a one is to be expected in this series; None if no model judged it.
    """

    kind: Kind
    scope: Scope
    severity: Severity
    evidence: Evidence
    once_in_days: float | None


def describe(scene: Scene) -> Description:
    """Say what an incident is."""
    sight = look(scene)
    fired = kinds.name(sight) if scene.gap is None else (scene.gap.fired, *kinds.name(sight))
    fired = fired or (Fired(Kind.UNUSUAL, _unnamed(sight)),)
    witnesses = witness(sight, fired[0].kind)
    numbers = numbers_at(scene.track, scene.peak)
    if numbers is None:
        raise ValueError(f"the peak of an incident of {scene.series} holds no candle")
    evidence = Evidence(
        numbers=numbers,
        last_close=sight.last_close,
        usual_volume=None if math.isnan(sight.usual_volume) else sight.usual_volume,
        move_pct=None if sight.last_close is None else 100 * math.expm1(sight.sign * sight.move),
        shares=scene.shares,
        fired=fired,
        witnesses=witnesses,
    )
    severity = severity_of(sight, fired[0].kind)
    return Description(fired[0].kind, scope_of(witnesses), severity, evidence, once_in_days(scene))


def once_in_days(scene: Scene) -> float | None:
    """Return how seldom such an incident is in this series: as the budget has it at the cut, and by the score beyond.

    At most LONGEST_DAYS.
    """
    if scene.score is None:
        return None
    return min(7 / scene.budget * 10 ** min(scene.score - scene.threshold, 12.0), LONGEST_DAYS)


def severity_of(sight: Sight, kind: Kind) -> Severity:
    """Return how much an incident matters.

    By how seldom it is; a price that went very far is one step more, one that hardly moved one less; a spread goes by
    its costs. Of a fault in data nobody is to be woken: it is HIGH at most.
    """
    scene = sight.scene
    if scene.gap is not None:
        return _step(scene.gap.beyond, HIGH_COSTS, CRITICAL_COSTS)
    rank = _step(0.0 if scene.score is None else scene.score - scene.threshold, HIGH, CRITICAL).rank
    if kind in _PRICE_KINDS:
        rank += -1 if sight.move < SLIGHT else int(_is_great(sight))
    most = Severity.HIGH if kind is Kind.DATA_FAULT else Severity.CRITICAL
    return list(Severity)[min(max(rank, 0), most.rank)]


def _is_great(sight: Sight) -> bool:
    minutes = sight.took * sight.scene.track.timeframe.ms / 60_000
    return sight.move >= GREAT * sight.usual_range * math.sqrt(sight.took) and sight.move >= WIDE * math.sqrt(minutes)


def _step(value: float, high: float, critical: float) -> Severity:
    if value >= critical:
        return Severity.CRITICAL
    return Severity.HIGH if value >= high else Severity.LOW


def _unnamed(sight: Sight) -> str:
    """Return what made an incident that no rule names: the features that had most of a part in it."""
    most = sorted(sight.scene.shares.items(), key=lambda one: one[1], reverse=True)[:3]
    told = ", ".join(f"{name} {share:.0%}" for name, share in most) or "nothing that is known"
    after = f"; it follows {without_candles(sight.scene.track, sight.absent)}" if sight.absent else ""
    return f"no rule says what it looks like; made by {told}{after}"
