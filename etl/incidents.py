"""Incidents: values that scoring makes, the warehouse keeps and messages are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from etl.series import Series, TimeRange


class Severity(StrEnum):
    """Weight of an incident or an alert, the least first."""

    LOW = "low"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0, 1, 2: higher matters more."""
        return list(Severity).index(self)


class Scope(StrEnum):
    """Reach of an incident. MARKET: other exchanges too. VENUE: this one alone. UNCONFIRMED: none to compare with."""

    MARKET = "market"
    VENUE = "venue"
    UNCONFIRMED = "unconfirmed"


class IncidentState(StrEnum):
    """OPEN: seen, and may go on. UPDATED: open, and changed since. CLOSED: over. WITHDRAWN: it was none after all."""

    OPEN = "open"
    UPDATED = "updated"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


class Detector(StrEnum):
    """Finder of an incident: the model that judges the series, or the comparison of prices between venues."""

    MODEL = "model"
    SPREAD = "spread"


class Kind(StrEnum):
    """Look of an incident, by rules; UNUSUAL if none of them fires."""

    PRICE_SPIKE = "price_spike"
    CRASH = "crash"
    RECOVERY = "recovery"
    VOLUME_BURST = "volume_burst"
    FROZEN_PRICE = "frozen_price"
    WASH_LIKE_VOLUME = "wash_like_volume"
    SPREAD = "spread"
    DATA_FAULT = "data_fault"
    UNUSUAL = "unusual"


@dataclass(frozen=True, slots=True)
class Numbers:
    """One candle's numbers: prices in quote currency, volume in base currency."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """Candles of the same asset at the same time on another exchange.

    Attributes:
        numbers: Its candle at the incident's peak; None if it holds none there.
        move_pct: How far its price moved over the incident, in percent; None where that is not known.
        sees: Whether it shows the incident too; None if it cannot tell.
        why: In words.
    """

    series: Series
    numbers: Numbers | None
    move_pct: float | None
    sees: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule that says what an incident looks like, and by what."""

    kind: Kind
    why: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence of an incident.

    Attributes:
        numbers: The candle at the peak.
        last_close: The close before the incident; None if none is held near.
        usual_volume: The median volume of the candles before it; None likewise.
        move_pct: From `last_close` to the farthest price of the incident, in percent: below zero if down.
        shares: What each feature contributed at the peak: shares that add up to 1.
        fired: The rules that fired, the most telling first.
        witnesses: Other exchanges, those that see it first.
    """

    numbers: Numbers
    last_close: float | None
    usual_volume: float | None
    move_pct: float | None
    shares: Mapping[str, float] = field(default_factory=dict)
    fired: tuple[Fired, ...] = ()
    witnesses: tuple[Witness, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        facts = asdict(self)
        for one, witness in zip(facts["witnesses"], self.witnesses, strict=True):
            one["series"] = str(witness.series)
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        return cls(
            numbers=Numbers(**facts["numbers"]),
            last_close=facts["last_close"],
            usual_volume=facts["usual_volume"],
            move_pct=facts["move_pct"],
            shares=facts["shares"],
            fired=tuple(Fired(Kind(one["kind"]), one["why"]) for one in facts["fired"]),
            witnesses=tuple(
                Witness(
                    Series.parse(one["series"]),
                    None if one["numbers"] is None else Numbers(**one["numbers"]),
                    one["move_pct"],
                    one["sees"],
                    one["why"],
                )
                for one in facts["witnesses"]
            ),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """An incident as a detector found it.

    Attributes:
        time_range: From its first candle's open to its last one's close.
        peak: When its strangest candle opens.
        once_in_days: How seldom such a one is to be expected in this series; None if no model judged it.
        score: The peak's, as models give it: log10 of once in so many candles; None likewise.
        is_over: Whether enough came after it, that nothing can belong to it any more.
    """

    series: Series
    detector: Detector
    time_range: TimeRange
    peak: datetime
    kind: Kind
    scope: Scope
    severity: Severity
    evidence: Evidence
    is_over: bool
    score: float | None = None
    once_in_days: float | None = None
    model_id: int | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident in the warehouse.

    Attributes:
        found: As it was last found.
        reason: Why it is in its state.
        model: The name of the model that judged it; None if none did.
        is_history: Whether nobody was, or is to be, told of it.
        is_false: What a person said of it: a false alarm or not; None if nobody has.
        note: What that person wrote.
        opinion: What a language model said of it, once it was asked and answered: see `etl.alerts.opinion`.
    """

    id: int
    found: Found
    state: IncidentState
    reason: str
    model: str | None
    is_history: bool
    opened_at: datetime
    updated_at: datetime
    acknowledged_at: datetime | None
    is_false: bool | None
    note: str
    opinion: Mapping[str, Any] | None
