"""Laws of telling, over histories of alerts: once, not too often, and never less than what got worse."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from etl.alerts.grouping import belonging, event_classes, series_of
from etl.alerts.routing import plan
from etl.incidents import Kind, Scope, Severity
from etl.messages import Alert, PipelineKind
from tests.alerts.made_alerts import NOON, SERIES, Outbox, alert_of, alerting, incident, notice

MINUTE = timedelta(minutes=1)

ROUTES = [
    {"channels": ["chat"]},
    {"channels": ["phone"], "severity": "high"},
    {"channels": ["phone"], "severity": "high", "unacknowledged_for": "20m"},
]


@st.composite
def histories(draw: st.DrawFn) -> list[list[Alert]]:
    """Draw what comes into the outbox, one list every seven minutes."""
    number, batches = 0, []
    for step in range(draw(st.integers(1, 8))):
        batch = []
        for _ in range(draw(st.integers(0, 5))):
            number += 1
            created = NOON + timedelta(minutes=7 * step, seconds=-draw(st.integers(0, 40)))
            if draw(st.integers(0, 5)) == 0:
                own = notice(f"n{number}", kind=draw(st.sampled_from(PipelineKind)), severity=draw(severities))
                batch.append(alert_of(own, number, created))
                continue
            made = incident(
                number,
                draw(st.sampled_from(SERIES)),
                created - draw(st.integers(0, 30)) * MINUTE,
                scope=draw(st.sampled_from(Scope)),
                kind=draw(st.sampled_from([Kind.CRASH, Kind.VOLUME_BURST])),
                severity=draw(severities),
                is_history=draw(st.integers(0, 9)) == 0,
            )
            batch.append(alert_of(made, number, created))
        batches.append(batch)
    return batches


severities = st.sampled_from(Severity)


@given(batches=histories(), quiet=st.booleans())
def test_laws_of_telling(batches: list[list[Alert]], quiet: bool) -> None:
    """Every alert is decided once, or waits; none is told twice to a channel; within cool_down only what is worse is.

    What is worse than all that a channel was told of its series, or of its event, within cool_down is always told; and
    whatever is told may be sent, by the end of the quiet hours.
    """
    hours = {"quiet_hours": {"start": "11:00", "end": "13:30"}} if quiet else {}
    outbox = Outbox(alerting(routes=ROUTES, **hours))
    told: dict[tuple[str, str], list[tuple[datetime, int]]] = defaultdict(list)
    for step, batch in enumerate(batches):
        now = NOON + timedelta(minutes=7 * step)
        outbox.put(*batch)
        known = set(outbox.outcomes)
        before = {key: list(values) for key, values in told.items()}
        made = outbox.plan(now)
        assert set(made.outcomes) | made.waiting == set(outbox.alerts) - known
        assert not set(made.outcomes) & made.waiting
        assert "no route" not in made.outcomes.values()
        for draft in made.drafts:
            assert now <= draft.not_before <= now + timedelta(hours=3)
            if draft.unless_acknowledged:
                continue
            for series in {series_of(outbox.alerts[number]) for number in draft.alerts}:
                worst = max(
                    one.severity.rank
                    for one in map(outbox.alerts.get, draft.alerts)
                    if one and series_of(one) == series
                )
                recent = [rank for at, rank in told[draft.channel, series] if at + timedelta(minutes=30) > now]
                assert all(rank < worst for rank in recent)
                told[draft.channel, series].append((now, worst))
        _check_rises(outbox, made.outcomes, before, now)
    for channel in ("chat", "phone"):
        for lane in (False, True):
            own = [d for d in outbox.drafts if (d.channel, d.unless_acknowledged) == (channel, lane)]
            assert len({n for d in own for n in d.alerts}) == sum(len(d.alerts) for d in own)


def _check_rises(
    outbox: Outbox, decided: dict[int, str], before: dict[tuple[str, str], list[tuple[datetime, int]]], now: datetime
) -> None:
    recent = timedelta(minutes=30)
    for number in decided:
        alert = outbox.alerts[number]
        is_silent = alert.incident is not None and alert.incident.is_history
        own = [rank for at, rank in before.get(("chat", series_of(alert)), []) if at + recent > now]
        event = [
            other.severity.rank
            for one in outbox.messages
            if one.channel == "chat" and one.created_at < now < one.created_at + recent
            for other in one.alerts
            if len(belonging([other, alert], timedelta(minutes=10))) == 1 and event_classes(alert)
        ]
        if not is_silent and all(rank < alert.severity.rank for rank in own + event):
            assert "told: chat" in decided[number]


@given(batches=histories(), order=st.randoms(use_true_random=False))
def test_a_plan_is_the_same_whenever_it_is_made_again(batches: list[list[Alert]], order: random.Random) -> None:
    """The order of what is given does not matter, and identities are those of what is told."""
    outbox = Outbox(alerting(routes=ROUTES))
    *earlier, last = [[], *batches]
    for step, batch in enumerate(earlier):
        outbox.put(*batch)
        outbox.plan(NOON + timedelta(minutes=7 * step))
    past, now = outbox.past, NOON + timedelta(minutes=7 * len(earlier))
    shuffled = order.sample(last, len(last))
    assert plan(last, past, outbox.settings, now) == plan(shuffled, past, outbox.settings, now)
