from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from etl import delivery
from etl.incidents import Kind, Severity
from etl.messages import MessageState
from etl.series import Series
from etl.stores import Stores
from etl.warehouse import (
    Warehouse,
    acknowledge,
    find_incident,
    judge_incident,
    put_incident_alert,
    update_incident,
)
from tests.alerts.receivers import MailReceiver, WebReceiver
from tests.alerts.sending import Clock, channels, deliver, lead, put, sent
from tests.made_incidents import BTC, PEAK, found, have, hold

ETH = Series.parse("binance:ETH/USDT:1m")


@pytest.fixture
def warehouse(stores: Stores) -> Warehouse:
    """A warehouse with candles of a crash."""
    hold(stores.warehouse)
    return stores.warehouse


def later(**how_long: float) -> Clock:
    """Return a clock that is behind nothing that the database has written."""
    clock = Clock()
    clock.on(**(how_long or {"seconds": 5}))
    return clock


def test_an_incident_reaches_every_channel_once(
    warehouse: Warehouse, web: WebReceiver, mail: MailReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A market event of two series is one message to each channel: webhook, mail, Slack; with the chart where it can.

    Delivered again, nothing is sent again.
    """
    from apprise.plugins.slack import NotifySlack

    monkeypatch.setattr(NotifySlack, "webhook_url", f"http://127.0.0.1:{web.port}/slack")
    have(warehouse, found(), is_told=True)
    have(warehouse, found(ETH, severity=Severity.HIGH), is_told=True)
    urls = {"hook": web.url(), "mail": mail.url, "chat": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#a"}
    three, clock = channels(*urls), later()
    delivered = deliver(warehouse, three, clock, **urls)
    assert (delivered.decided, delivered.made, delivered.sent) == (2, 3, 3)
    again = deliver(warehouse, three, clock, **urls)
    assert (again.decided, again.made, again.posted) == (0, 0, ())
    hook = next(one for one in web.requests if one.path == "/hook")
    slack = next(one for one in web.requests if one.path.startswith("/slack"))
    for text in (hook.json["message"], slack.body.decode(), mail.mails[0].as_string()):
        assert "BTC/USDT" in text
        assert "ETH/USDT" in text
    assert hook.json["attachments"][0]["mimetype"] == "image/png"
    assert [part.get_content_type() for part in mail.mails[0].walk()].count("image/png") == 1
    assert len(web.requests) == 2
    assert len(mail.mails) == 1


def test_no_candles_no_chart_and_yet_a_message(warehouse: Warehouse, web: WebReceiver) -> None:
    """A chart that cannot be drawn keeps no message back."""
    have(warehouse, found(BTC, at=PEAK + timedelta(days=90)), is_told=True)
    assert deliver(warehouse, channels("chat"), later(), chat=web.url()).sent == 1
    assert web.requests[0].json["attachments"] == []


def test_a_channel_without_an_address(warehouse: Warehouse, web: WebReceiver) -> None:
    """Its messages wait, what is said says how to set one, and once it is set they arrive."""
    clock, chat = Clock(), channels("chat")
    put(warehouse, clock, "btc 1")
    (posted,) = deliver(warehouse, chat, clock).posted
    assert "CHANDLER_CHANNEL_CHAT" in posted.state
    assert "chandler_channel_chat" in posted.state
    assert sent(warehouse)["chat: btc 1"].state is MessageState.WAITING
    assert deliver(warehouse, chat, clock, chat=web.url()).sent == 1


@pytest.mark.parametrize("is_seen", [True, False])
def test_an_escalation_is_for_what_nobody_has_seen(warehouse: Warehouse, web: WebReceiver, is_seen: bool) -> None:
    """An incident that was acknowledged before its time is dropped, with the reason; another is sent."""
    routes: list[dict[str, Any]] = [{"channels": ["chat"], "unacknowledged_for": "30m"}]
    alerting, clock = channels("chat", routes=routes), later()
    number = have(warehouse, found(), is_told=True)
    assert deliver(warehouse, alerting, clock, chat=web.url()).posted == ()
    if is_seen:
        with warehouse.begin() as connection:
            acknowledge(connection, number, "I know", "run")
    clock.on(hours=1)
    (posted,) = deliver(warehouse, alerting, clock, chat=web.url()).posted
    assert (posted.sent, posted.dropped, len(web.requests)) == ((0, 1, 0) if is_seen else (1, 0, 1))
    (message,) = sent(warehouse).values()
    assert message.outcome == ("acknowledged meanwhile" if is_seen else "sent")


def test_an_escalation_of_what_got_worse_is_for_who_saw_it_before(warehouse: Warehouse, web: WebReceiver) -> None:
    """A person who acknowledged an incident while it was low has not seen that it is critical now."""
    routes: list[dict[str, Any]] = [{"channels": ["chat"], "severity": "critical", "unacknowledged_for": "30m"}]
    alerting, clock = channels("chat", routes=routes), later()
    number = have(warehouse, found(severity=Severity.LOW), is_told=True)
    with warehouse.begin() as connection:
        acknowledge(connection, number, "I know", "run")
        known = find_incident(connection, number)
        worse = replace(known.found, severity=Severity.CRITICAL)
        update_incident(connection, known, worse, "run", is_history=False)
        put_incident_alert(connection, number, worse)
    deliver(warehouse, alerting, clock, chat=web.url())
    clock.on(hours=1)
    (posted,) = deliver(warehouse, alerting, clock, chat=web.url()).posted
    assert (posted.sent, posted.dropped) == (1, 0)


def test_what_turns_out_to_be_false_is_not_sent(warehouse: Warehouse, web: WebReceiver) -> None:
    """A message that waits for its channel is dropped once its incident is marked as a false alarm."""
    clock, chat = later(), channels("chat")
    number = have(warehouse, found(kind=Kind.UNUSUAL), is_told=True)
    deliver(warehouse, chat, clock)
    with warehouse.begin() as connection:
        judge_incident(connection, number, "a test", "run", is_false=True)
    (posted,) = deliver(warehouse, chat, clock, chat=web.url()).posted
    assert (posted.dropped, web.requests) == (1, [])
    (message,) = sent(warehouse).values()
    assert "false alarm" in message.outcome


def test_what_is_young_waits_for_what_belongs_with_it(warehouse: Warehouse, web: WebReceiver) -> None:
    """Delivery waits, once, until what has come can be told together; or leaves it for later."""
    have(warehouse, found(), is_told=True)
    have(warehouse, found(ETH), is_told=True)
    slow = channels("chat", gather_s=600)
    assert deliver(warehouse, slow, Clock(), is_patient=False, chat=web.url()).waiting == 2
    quick = channels("chat", gather_s=0.5)
    assert delivery.deliver(warehouse, quick, lead(chat=web.url()), "run").sent == 1


def test_a_digest_is_sent_once_a_day(warehouse: Warehouse, web: WebReceiver) -> None:
    """The digest of the day is made when it is due, lists what there was, and is not made again."""
    clock = later()
    alerting = channels("chat", routes=[], digest={"at": clock.now.time().replace(tzinfo=None), "channels": ["chat"]})
    have(warehouse, found(), is_told=True)
    clock.on(minutes=1)
    assert deliver(warehouse, alerting, clock, chat=web.url()).sent == 1
    assert deliver(warehouse, alerting, clock, chat=web.url()).sent == 0
    assert "1 incident" in web.titles[0]
