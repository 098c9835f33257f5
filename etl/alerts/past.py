"""Recent messages and decisions, which planning looks back at. Values; `etl.delivery` fills them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from etl.alerting import Alerting
from etl.messages import Alert, MessageState

DECIDED_FOR = timedelta(days=2)
"""How far back the alerts of a Past go: a digest looks at the day before it was due, and may itself be late."""
_NOT_TOLD = frozenset({MessageState.DEAD, MessageState.DROPPED})


@dataclass(frozen=True, slots=True)
class Told:
    """A message that was made.

    Attributes:
        alerts: Those that it tells of; none if it is a digest.
    """

    id: int
    channel: str
    identity: str
    alerts: tuple[Alert, ...]
    unless_acknowledged: bool
    state: MessageState
    created_at: datetime

    @property
    def cools_down(self) -> bool:
        """True if its content need not be told again: it has arrived, or will, whatever anyone does."""
        return not self.unless_acknowledged and self.state not in _NOT_TOLD


@dataclass(frozen=True, slots=True)
class Decided:
    """An alert of which it was decided, at that time, whom to tell."""

    alert: Alert
    at: datetime


@dataclass(frozen=True, slots=True)
class Past:
    """Recent messages and decisions.

    Attributes:
        told: The messages that were made in the last `reach(alerting)`, digests too.
        decided: The alerts that were decided in the last `DECIDED_FOR`.
    """

    told: tuple[Told, ...] = ()
    decided: tuple[Decided, ...] = ()

    @property
    def identities(self) -> frozenset[str]:
        """Those of the messages: a digest that is among them is not made again."""
        return frozenset(one.identity for one in self.told)


def reach(alerting: Alerting) -> timedelta:
    """Return how far back the messages of a Past go: further than its alerts, so that none lacks its message."""
    return max(alerting.cool_down, DECIDED_FOR) + timedelta(days=1)


def told_on(past: Past, channel: str) -> list[Told]:
    """Return the messages to a channel that were for everyone, escalations not among them."""
    return [one for one in past.told if one.channel == channel and not one.unless_acknowledged]


def untold(decided: Iterable[Decided], told: Iterable[Told]) -> list[Decided]:
    """Return those whose incident, or notice, none of the messages tells of; of an incident the last one."""
    known = {_subject(alert) for one in told for alert in one.alerts}
    found = {_subject(one.alert): one for one in sorted(decided, key=lambda one: one.alert.id)}
    return [one for subject, one in found.items() if subject not in known]


def _subject(alert: Alert) -> tuple[str, int]:
    return ("alert", alert.id) if alert.incident is None else ("incident", alert.incident.id)
