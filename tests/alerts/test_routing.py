"""Routing: routes, gathering, grouping, cool-down, escalation, quiet hours."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.alerting import QuietHours
from etl.alerts.quiet import quiet_until
from etl.incidents import IncidentState, Kind, Scope, Severity
from etl.messages import MessageState, PipelineKind
from tests.alerts.made_alerts import BTC, ETH, NOON, SERIES, XRP, Outbox, alert_of, alerting, incident, notice

LATER = NOON + timedelta(minutes=1)
MINUTE = timedelta(minutes=1)


def sent(outbox: Outbox) -> list[tuple[str, tuple[int, ...]]]:
    """Return channel and alerts of each message."""
    return [(one.channel, one.alerts) for one in outbox.drafts]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_history": True}, "history"),
        ({"state": IncidentState.WITHDRAWN}, "withdrawn"),
        ({"is_false": True}, "false alarm"),
    ],
)
def test_what_is_history_withdrawn_or_false_is_told_nowhere(changes: dict[str, object], reason: str) -> None:
    """An alert of such an incident makes no message, whatever the routes say, and its outcome says why."""
    outbox = Outbox(alerting())
    outbox.put(alert_of(incident(**changes)))
    outbox.plan(LATER)
    assert not outbox.drafts
    assert reason in outbox.outcomes[1]


def test_an_alert_goes_once_to_each_channel_of_the_routes_that_match() -> None:
    """Severity is a least one, kinds, exchanges and symbols keep others out; a channel named twice is told once."""
    routes = [
        {"channels": ["chat", "chat"]},
        {"channels": ["chat"], "severity": "high", "symbols": ["BTC/USDT"], "exchanges": ["binance"]},
        {"channels": ["phone"], "severity": "critical"},
        {"channels": ["mail"], "kinds": ["crash", "failed_partition"]},
    ]
    outbox = Outbox(alerting(channels={"chat": {}, "phone": {}, "mail": {}}, routes=routes[1:]))
    outbox.put(
        alert_of(incident(1, severity=Severity.CRITICAL)),
        alert_of(incident(2, XRP, NOON - timedelta(hours=2), kind=Kind.VOLUME_BURST, severity=Severity.LOW)),
        alert_of(notice(symbol="ETH/USDT"), 3),
    )
    outbox.plan(LATER)
    assert sent(outbox) == [("chat", (1,)), ("mail", (1,)), ("phone", (1,)), ("mail", (3,))]
    assert outbox.outcomes[2] == "no route"
    twice = Outbox(alerting(routes=routes[:2]))
    twice.put(alert_of(incident()))
    twice.plan(LATER)
    assert sent(twice) == [("chat", (1,))]


def test_a_group_goes_together_once_its_first_alert_has_waited() -> None:
    """Alerts younger than gather_s wait; a group of which one has waited goes as a whole; `force` waits for none."""
    outbox = Outbox(alerting(gather_s=15))
    outbox.put(alert_of(incident(1)))
    first = outbox.plan(NOON + timedelta(seconds=14))
    assert first.waiting == {1}
    assert first.ripe_at == NOON + timedelta(seconds=15)
    young = NOON + timedelta(seconds=14)
    outbox.put(alert_of(incident(2, ETH), created_at=young), alert_of(incident(3, XRP, scope=Scope.VENUE), 3, young))
    second = outbox.plan(NOON + timedelta(seconds=15))
    assert sent(outbox) == [("chat", (1, 2))]
    assert second.waiting == {3}
    outbox.plan(NOON + timedelta(seconds=15), force=True)
    assert sent(outbox)[1:] == [("chat", (3,))]


def test_symbols_that_crash_together_are_one_message() -> None:
    """Market incidents that begin close to one another are one message; one venue's own is another, far ones too."""
    outbox = Outbox(alerting())
    outbox.put(
        alert_of(incident(1, BTC)),
        alert_of(incident(2, ETH, NOON + 9 * MINUTE, kind=Kind.VOLUME_BURST)),
        alert_of(incident(3, XRP, NOON, scope=Scope.VENUE)),
        alert_of(incident(4, "binance:LTC/USDT:1m", NOON, scope=Scope.UNCONFIRMED)),
        alert_of(incident(5, "binance:ADA/USDT:1m", NOON, scope=Scope.UNCONFIRMED, kind=Kind.PRICE_SPIKE)),
        alert_of(incident(6, "binance:DOT/USDT:1m", NOON + 30 * MINUTE)),
    )
    outbox.plan(LATER)
    assert [alerts for _, alerts in sent(outbox)] == [(1, 2, 4), (3,), (5,), (6,)]
    assert outbox.drafts[0].incident_id == 1
    assert "3 series" in outbox.drafts[0].title


def test_what_is_less_severe_goes_along_with_its_market_event() -> None:
    """A channel that wants the worst alone reads of all symbols of a crash; what its routes keep out stays out."""
    routes = [
        {"channels": ["chat"], "severity": "high", "exchanges": ["binance"]},
        {"channels": ["phone"], "severity": "critical", "unacknowledged_for": "20m"},
    ]
    outbox = Outbox(alerting(channels={"chat": {}, "phone": {}}, routes=routes))
    outbox.put(
        alert_of(incident(1, BTC, severity=Severity.CRITICAL)),
        alert_of(incident(2, ETH, severity=Severity.LOW)),
        alert_of(incident(3, "kraken:SOL/USDT:1m", severity=Severity.LOW)),
        alert_of(incident(4, XRP, NOON + 30 * MINUTE, severity=Severity.LOW)),
    )
    outbox.plan(LATER)
    assert sent(outbox) == [("chat", (1, 2)), ("phone", (1,))]
    assert [outbox.outcomes[number] for number in (3, 4)] == ["no route", "no route"]


def test_notices_of_one_kind_are_one_message() -> None:
    """Partitions that failed are told of together; what failed otherwise is told of by itself."""
    outbox = Outbox(alerting())
    failed = [notice(f"dag:run:fetch:{number}", exchange=f"exchange{number}") for number in range(3)]
    outbox.put(*(alert_of(one, number + 1) for number, one in enumerate(failed)))
    outbox.put(alert_of(notice("other", kind=PipelineKind.FAILED_TRAINING, exchange=None), 9))
    outbox.plan(LATER)
    assert [alerts for _, alerts in sent(outbox)] == [(1, 2, 3), (9,)]
    assert outbox.drafts[0].title == "High: 3 partitions failed"


def test_after_a_message_the_same_or_less_is_held_back_and_more_is_told() -> None:
    """Within cool_down a series is told of again only if it is more severe; the next message counts what was held."""
    outbox = Outbox(alerting())
    outbox.put(alert_of(incident(1, scope=Scope.VENUE)))
    outbox.plan(LATER)
    for number, severity in ((2, Severity.HIGH), (3, Severity.LOW)):
        began = NOON + number * 5 * MINUTE
        outbox.put(alert_of(incident(number, BTC, began, scope=Scope.VENUE, severity=severity), created_at=began))
        outbox.plan(began + MINUTE)
        assert outbox.outcomes[number] == "cool-down of chat: message 1 told of it at 2026-01-10 12:01 UTC"
    worse = incident(4, BTC, NOON + 20 * MINUTE, scope=Scope.VENUE, severity=Severity.CRITICAL)
    outbox.put(alert_of(worse, created_at=NOON + 20 * MINUTE))
    outbox.plan(NOON + 21 * MINUTE)
    assert sent(outbox) == [("chat", (1,)), ("chat", (4,))]
    assert "And 2 more since 2026-01-10 12:10 UTC" in outbox.drafts[1].body
    outbox.put(alert_of(incident(5, BTC, NOON + 60 * MINUTE, scope=Scope.VENUE), created_at=NOON + 60 * MINUTE))
    outbox.plan(NOON + 61 * MINUTE)
    assert sent(outbox)[2:] == [("chat", (5,))]
    assert "more since" not in outbox.drafts[2].body


def test_what_got_worse_takes_the_rest_of_its_series_along() -> None:
    """If a series is told of at all, all that is new of it is in that message; of others in the group nothing is."""
    outbox = Outbox(alerting())
    outbox.put(alert_of(incident(1, BTC, scope=Scope.VENUE)), alert_of(incident(2, ETH, scope=Scope.VENUE)))
    outbox.plan(LATER)
    later = NOON + 15 * MINUTE
    outbox.put(
        alert_of(incident(3, BTC, later, severity=Severity.CRITICAL), created_at=later),
        alert_of(incident(4, BTC, later + 2 * MINUTE, severity=Severity.LOW), created_at=later),
        alert_of(incident(5, ETH, later), created_at=later),
    )
    outbox.plan(later + MINUTE)
    assert sent(outbox)[2:] == [("chat", (3, 4))]
    assert "message 2 told of it" in outbox.outcomes[5]


def test_a_symbol_that_joins_a_market_event_late_is_held_back() -> None:
    """A market event that was told of is not told of again for each symbol that follows; a worse one is."""
    outbox = Outbox(alerting())
    outbox.put(alert_of(incident(1, BTC)))
    outbox.plan(LATER)
    late = NOON + 5 * MINUTE
    outbox.put(alert_of(incident(2, ETH, late), created_at=late), alert_of(incident(3, XRP, NOON - 11 * MINUTE), 3))
    outbox.plan(late + MINUTE)
    assert "message 1 told of it" in outbox.outcomes[2]
    assert sent(outbox)[1:] == [("chat", (3,))]
    outbox.put(alert_of(incident(4, "binance:LTC/USDT:1m", late, severity=Severity.CRITICAL), created_at=late))
    outbox.plan(late + 2 * MINUTE)
    assert sent(outbox)[2:] == [("chat", (4,))]


def test_a_message_that_never_arrived_cools_nothing_down() -> None:
    """A message that was dropped, or given up, is no reason to hold the next one back; nor is an escalation."""
    for changes in ({"state": MessageState.DROPPED}, {"state": MessageState.DEAD}, {"unless_acknowledged": True}):
        outbox = Outbox(alerting())
        outbox.put(alert_of(incident(1)))
        outbox.plan(LATER)
        outbox.messages = [replace(outbox.messages[0], **changes)]
        outbox.put(alert_of(incident(2, BTC, LATER), created_at=LATER))
        outbox.plan(LATER + MINUTE)
        assert sent(outbox) == [("chat", (1,)), ("chat", (2,))]


def test_an_escalation_waits_and_is_a_message_of_its_own() -> None:
    """It may be sent once nobody has acknowledged for so long, keeps no order, and cannot be of the pipeline."""
    routes = [{"channels": ["chat"]}, {"channels": ["phone", "chat"], "unacknowledged_for": "30m"}]
    outbox = Outbox(alerting(routes=routes))
    outbox.put(alert_of(incident(1)), alert_of(notice(), 2))
    outbox.plan(LATER)
    at_once, again, phone, of_pipeline = outbox.drafts
    assert not at_once.unless_acknowledged
    assert at_once.series == (BTC,)
    for late in (again, phone):
        assert late.unless_acknowledged
        assert late.not_before == NOON + 30 * MINUTE
        assert late.series == ()
        assert late.title.startswith("Not acknowledged for 30 min: High: BTC/USDT")
        assert late.identity != at_once.identity
    assert of_pipeline.alerts == (2,)
    assert "phone" in outbox.outcomes[1]
    assert outbox.outcomes[2] == "told: chat"


def test_of_a_dead_channel_the_others_are_told() -> None:
    """Nobody is told over the channel that is dead; if the routes name no other, whoever is told anything is."""
    dead = notice("channel:chat:2026-01-10T11:00:00", kind=PipelineKind.DEAD_CHANNEL, exchange=None, symbol=None)
    everywhere = Outbox(alerting(routes=[{"channels": ["chat", "phone"]}]))
    elsewhere = Outbox(alerting(routes=[{"channels": ["chat"]}, {"channels": ["phone"], "severity": "critical"}]))
    nowhere = Outbox(alerting())
    for outbox in (everywhere, elsewhere, nowhere):
        outbox.put(alert_of(dead))
        outbox.plan(LATER)
    assert sent(everywhere) == sent(elsewhere) == [("phone", (1,))]
    assert nowhere.outcomes == {1: "no route"}


def test_in_quiet_hours_messages_wait_unless_they_matter() -> None:
    """Until their end, by their zone's clock; a message that waits keeps no order, so that a worse one may overtake."""
    quiet = {"start": "22:00", "end": "07:00", "zone": "Europe/Berlin"}
    outbox = Outbox(alerting(quiet_hours=quiet))
    night = NOON + timedelta(hours=12)
    outbox.put(alert_of(incident(1, BTC, night), created_at=night))
    outbox.plan(night + MINUTE)
    worse = incident(2, BTC, night, severity=Severity.CRITICAL)
    outbox.put(alert_of(worse, created_at=night))
    outbox.plan(night + 2 * MINUTE)
    waits, goes = outbox.drafts
    assert waits.not_before == datetime(2026, 1, 11, 7, tzinfo=ZoneInfo("Europe/Berlin"))
    assert waits.series == ()
    assert goes.not_before == night + 2 * MINUTE
    assert goes.series == (BTC,)
    assert outbox.outcomes[1] == "told: chat (after the quiet hours: at 2026-01-11 06:00 UTC)"


ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns")
clocks = st.builds(time, st.integers(0, 23), st.sampled_from((0, 15, 30, 59)))


@given(
    start=clocks,
    end=clocks,
    zone=st.sampled_from(ZONES),
    moment=st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001  # made aware below
)
def test_quiet_hours_end(start: time, end: time, zone: str, moment: datetime) -> None:
    """They end within a day or so, at `end` by the clock or just after a skipped one; and then it is not quiet."""
    if start == end:
        return
    quiet = QuietHours(start=start, end=end, zone=zone)
    now = moment.replace(tzinfo=NOON.tzinfo)
    until = quiet_until(quiet, now)
    clock = now.astimezone(ZoneInfo(zone))
    is_shifted = clock.utcoffset() != (now + timedelta(days=1)).astimezone(ZoneInfo(zone)).utcoffset()
    is_shifted |= clock.utcoffset() != (now - timedelta(days=1)).astimezone(ZoneInfo(zone)).utcoffset()
    if until is None:
        between = start <= clock.time() < end if start < end else not end <= clock.time() < start
        assert is_shifted or not between
        return
    assert now < until <= now + timedelta(hours=25)
    assert quiet_until(quiet, until) is None or is_shifted
    assert quiet_until(quiet, until - timedelta(milliseconds=1)) == until
    assert until.astimezone(ZoneInfo(zone)).time() == end or is_shifted


def test_ten_thousand_alerts_are_planned_in_a_moment() -> None:
    """A load with ten thousand incidents is a few messages, planned within seconds, and so is the next one after it."""
    outbox = Outbox(alerting())
    many = [
        alert_of(incident(n, SERIES[n % 4], NOON - timedelta(minutes=n % 1440), scope=list(Scope)[n % 3]))
        for n in range(1, 10_001)
    ]
    outbox.put(*many)
    outbox.plan(LATER)
    assert sum(len(one.alerts) for one in outbox.drafts) == 10_000
    assert len(outbox.drafts) <= len(SERIES)
    outbox.put(*(replace(one, id=one.id + 10_000, identity=f"{one.identity}:again") for one in many))
    outbox.plan(LATER + MINUTE)
    assert len(outbox.outcomes) == 20_000
    assert len(outbox.drafts) <= len(SERIES)
