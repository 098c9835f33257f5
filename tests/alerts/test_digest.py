"""The message of a day: once for each channel, with all that there was, or that there was nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from etl.alerting import Digest
from etl.alerts.digest import Day, due_digest, write_digest
from etl.alerts.past import Past
from etl.alerts.quiet import last_digest
from etl.alerts.wording import BODY_LENGTH
from etl.incidents import IncidentState, Scope, Severity
from tests.alerts.made_alerts import BTC, ETH, NOON, XRP, Outbox, alert_of, alerting, incident, notice

MORNING = NOON.replace(hour=8) + timedelta(days=1)
WITH_DIGEST = alerting(digest={"at": "08:00", "channels": ["chat", "phone"]})


def test_a_digest_is_made_once_a_day_for_each_channel() -> None:
    """Before its hour there is none; after it there is one a channel, and none again until the next day."""
    outbox = Outbox(WITH_DIGEST)
    yesterday = due_digest(outbox.past, WITH_DIGEST, MORNING - timedelta(seconds=1))
    due = due_digest(outbox.past, WITH_DIGEST, MORNING)
    assert yesterday is not None
    assert due is not None
    assert (yesterday.day, due.day) == (NOON.date(), MORNING.date())
    assert (due.time_range.start, due.time_range.end) == (MORNING - timedelta(days=1), MORNING)
    drafts = write_digest(due, Day((), ()), outbox.past, WITH_DIGEST, MORNING)
    assert [one.identity for one in drafts] == ["digest:2026-01-11:chat", "digest:2026-01-11:phone"]
    outbox.keep(drafts[:1], MORNING)
    rest = due_digest(outbox.past, WITH_DIGEST, MORNING + timedelta(minutes=5))
    assert rest is not None
    assert rest.channels == ("phone",)
    outbox.keep(drafts[1:], MORNING)
    assert due_digest(outbox.past, WITH_DIGEST, MORNING + timedelta(hours=23)) is None
    assert due_digest(outbox.past, WITH_DIGEST, MORNING + timedelta(hours=24)) is not None
    assert due_digest(Past(), alerting(), MORNING) is None


def test_nothing_is_a_digest_too() -> None:
    """A day without anything says so: silence would say nothing of whether anyone still looks."""
    due = due_digest(Past(), WITH_DIGEST, MORNING)
    assert due is not None
    draft = write_digest(due, Day((), ()), Past(), WITH_DIGEST, MORNING)[0]
    assert draft.title == "Digest of 2026-01-11: nothing"
    assert draft.body == "From 2026-01-10 08:00 UTC to 2026-01-11 08:00 UTC: nothing."
    assert draft.alerts == ()
    assert draft.not_before == MORNING


def test_a_digest_lists_incidents_what_was_held_back_what_is_open_and_the_pipeline() -> None:
    """The most severe first, counted by severity, kind and series; what this very channel was not told of is listed."""
    outbox = Outbox(alerting(digest={"at": "08:00", "channels": ["chat", "phone"]}))
    told = incident(1, BTC, scope=Scope.VENUE)
    held = incident(2, BTC, NOON + timedelta(minutes=5), scope=Scope.VENUE)
    worst = incident(3, ETH, NOON + timedelta(hours=1), severity=Severity.CRITICAL, is_false=True)
    gone = incident(4, XRP, state=IncidentState.WITHDRAWN)
    still_open = incident(5, XRP, NOON - timedelta(days=3), is_over=False, state=IncidentState.OPEN)
    for one in (told, held, worst, gone):
        outbox.put(alert_of(one, created_at=one.found.time_range.start))
        outbox.plan(one.found.time_range.start + timedelta(minutes=1))
    outbox.put(alert_of(notice(symbol="ETH/USDT"), 9))
    outbox.plan(NOON + timedelta(hours=2))
    due = due_digest(outbox.past, outbox.settings, MORNING)
    assert due is not None
    day = Day((told, held, worst, gone), (still_open,))
    chat, phone = write_digest(due, day, outbox.past, outbox.settings, MORNING)
    assert chat.title == "Digest of 2026-01-11: 3 incidents, 1 notice of the pipeline, 1 open and unacknowledged"
    assert chat.severity is Severity.CRITICAL
    for line in (
        "**Incidents**: critical 1, high 2; 1 marked as false alarms",
        "- By kind: crash 3",
        "- By series: binance:BTC/USDT:1m 2, binance:ETH/USDT:1m 1",
        "**Open, and nobody has acknowledged it**",
        "**The pipeline: 1 partition failed**",
    ):
        assert line in chat.body.splitlines()
    heading = "**Not told here, as this channel had just been told of the same series or event**"
    section = chat.body.split(heading)[1].split("**The pipeline")[0]
    assert "no. 2)" in section
    assert section.count("\n- ") == 1
    assert heading not in phone.body
    assert "no. 4)" not in chat.body


def test_what_was_held_back_is_listed_by_the_digest_of_its_day_alone() -> None:
    """Not the day before or after; and though it may be told later, if nobody acknowledges it."""
    routes = [{"channels": ["chat"]}, {"channels": ["chat"], "unacknowledged_for": "20h"}]
    outbox = Outbox(alerting(routes=routes, digest={"at": "08:00", "channels": ["chat"]}))
    for number, began in ((1, NOON), (2, NOON + timedelta(minutes=5))):
        outbox.put(alert_of(incident(number, BTC, began, scope=Scope.VENUE), created_at=began))
        outbox.plan(began + timedelta(minutes=1))
    bodies = []
    for day in (0, 1):
        now = MORNING + timedelta(days=day)
        due = due_digest(outbox.past, outbox.settings, now)
        assert due is not None
        bodies += [one.body for one in write_digest(due, Day((), ()), outbox.past, outbox.settings, now)]
    assert ["no. 2)" in body for body in bodies] == [True, False]


def test_a_digest_of_a_wild_day_is_short() -> None:
    """However much there was, it is one message that says how much more there is."""
    many = tuple(incident(n, f"binance:C{n}/USDT:1m") for n in range(1, 400))
    due = due_digest(Past(), WITH_DIGEST, MORNING)
    assert due is not None
    draft = write_digest(due, Day(many, many), Past(), WITH_DIGEST, MORNING)[0]
    assert len(draft.body) <= BODY_LENGTH
    assert "- and 389 more" in draft.body
    assert "`chandler incidents list --unacknowledged`" in draft.body


@given(
    moment=st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001  # made aware below
    at=st.times().map(lambda one: one.replace(second=0, microsecond=0)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
def test_digests_leave_no_time_out(moment: datetime, at: object, zone: str) -> None:
    """The digests of two days meet: what one does not tell of, the other does, on days of 23 and 25 hours too."""
    digest = Digest(at=at, channels=("chat",), zone=zone)  # type: ignore[arg-type]  # drawn as a time
    now = moment.replace(tzinfo=ZoneInfo("UTC"))
    day, told = last_digest(digest, now)
    assert told.end <= now
    before, earlier = last_digest(digest, told.end - timedelta(seconds=1))
    assert earlier.end == told.start
    assert before == day - timedelta(days=1)
