"""Alerts, incidents and notices for tests; and a small outbox in memory that plans are made from, time after time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from etl.alerting import Alerting
from etl.alerts.past import Decided, Past, Told
from etl.alerts.routing import Plan, plan
from etl.incidents import (
    Detector,
    Evidence,
    Found,
    Incident,
    IncidentState,
    Kind,
    Numbers,
    Scope,
    Severity,
)
from etl.messages import Alert, Draft, MessageState, Notice, PipelineKind
from etl.series import Series, TimeRange

NOON = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)
LONG_AGO = timedelta(minutes=1)
BTC, ETH, XRP = (f"binance:{name}/USDT:1m" for name in ("BTC", "ETH", "XRP"))
SERIES = (BTC, ETH, XRP, "coinbase:BTC/USD:1m")


def alerting(**changes: Any) -> Alerting:
    """Return settings with the channels chat and phone, and one route to chat."""
    facts: dict[str, Any] = {"channels": {"chat": {}, "phone": {}}, "routes": [{"channels": ["chat"]}]}
    return Alerting(**(facts | changes))


def incident(number: int = 1, series: str = BTC, began: datetime = NOON, **changes: Any) -> Incident:
    """Return a market crash of nine minutes; `changes` are of Found or of Incident."""
    of_found = {name: changes.pop(name) for name in tuple(changes) if name in Found.__dataclass_fields__}
    found = Found(
        series=Series.parse(series),
        detector=Detector.MODEL,
        time_range=TimeRange(began, began + timedelta(minutes=9)),
        peak=began + timedelta(minutes=1),
        kind=Kind.CRASH,
        scope=Scope.MARKET,
        severity=Severity.HIGH,
        evidence=Evidence(Numbers(50_000.0, 50_100.0, 42_000.5, 45_123.0, 1234.5, 5210), 50_010.0, 40.0, -16.02),
        is_over=True,
        score=7.0,
        once_in_days=40.0,
        model_id=1,
    )
    whole = Incident(
        id=number,
        found=replace(found, **of_found),
        state=IncidentState.CLOSED,
        reason="over",
        model="1m/3",
        is_history=False,
        opened_at=began,
        updated_at=began,
        acknowledged_at=None,
        is_false=None,
        note="",
        opinion=None,
    )
    return replace(whole, **changes)


def alert_of(subject: Incident | Notice, number: int | None = None, created_at: datetime = NOON) -> Alert:
    """Return the alert of an incident, whose number it has unless told, or of a notice."""
    if isinstance(subject, Notice):
        number = number or 1
        own = (subject.identity, subject.kind.value, subject.severity, subject.happened_at)
        return Alert(number, *own, created_at, None, subject)
    found = subject.found
    own = (f"incident:{subject.id}:{found.severity}", found.kind.value, found.severity, found.time_range.start)
    return Alert(number or subject.id, *own, created_at, subject, None)


def notice(identity: str = "dag:run:task:1", **changes: Any) -> Notice:
    """Return a notice of a partition that failed."""
    own = Notice(
        identity=identity,
        kind=PipelineKind.FAILED_PARTITION,
        severity=Severity.HIGH,
        title="binance:BTC/USDT:1m failed",
        detail="the exchange did not answer",
        happened_at=NOON,
        exchange="binance",
        symbol="BTC/USDT",
        link="/dags/ingest_majors/runs/scheduled__2026-01-10T00:00:00+00:00/tasks/fetch/mapped/1",
    )
    return replace(own, **changes)


@dataclass
class Outbox:
    """Alerts and messages of the warehouse, in memory."""

    settings: Alerting
    alerts: dict[int, Alert] = field(default_factory=dict)
    decided: dict[int, Decided] = field(default_factory=dict)
    outcomes: dict[int, str] = field(default_factory=dict)
    messages: list[Told] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)

    def put(self, *alerts: Alert) -> None:
        """Put alerts there."""
        self.alerts |= {one.id: one for one in alerts}

    @property
    def past(self) -> Past:
        """All that was told and decided."""
        return Past(tuple(self.messages), tuple(self.decided.values()))

    def plan(self, now: datetime, *, force: bool = False) -> Plan:
        """Plan what was not decided, and keep what comes of it."""
        made = plan(self._unplanned, self.past, self.settings, now, force=force)
        for number, outcome in made.outcomes.items():
            assert number not in self.outcomes, "an alert is decided once"
            self.outcomes[number] = outcome
            self.decided[number] = Decided(self.alerts[number], now)
        self.keep(made.drafts, now)
        return made

    def keep(self, drafts: Sequence[Draft], now: datetime) -> None:
        """Keep messages."""
        known = {(one.channel, one.identity) for one in self.messages}
        for draft in drafts:
            assert (draft.channel, draft.identity) not in known, "a message is made once"
            self.drafts.append(draft)
            told = tuple(self.alerts[number] for number in draft.alerts)
            number = len(self.messages) + 1
            one = (number, draft.channel, draft.identity, told, draft.unless_acknowledged, MessageState.WAITING, now)
            self.messages.append(Told(*one))

    @property
    def _unplanned(self) -> list[Alert]:
        return [one for number, one in self.alerts.items() if number not in self.outcomes]
