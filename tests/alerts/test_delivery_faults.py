import itertools
import logging
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler

import pytest
from sqlalchemy import inspect, select, text

from etl.messages import MessageState
from etl.settings import Settings
from etl.stores import Stores
from etl.warehouse import Warehouse, open_warehouse, read_tries
from etl.warehouse.incident_tables import alerts
from tests.alerts.receivers import Request, WebReceiver, free_port, mail_receiver, nothing, status, web_receiver
from tests.alerts.sending import Clock, channels, deliver, deliver_and_die, put, sent

CHAT = channels("chat")
SECRET = "T0pSecretToken"  # noqa: S105 - nobody's


@pytest.fixture
def warehouse(stores: Stores) -> Warehouse:
    """A fresh warehouse."""
    return stores.warehouse


def test_a_channel_that_is_down_for_a_while(warehouse: Warehouse) -> None:
    """All is delivered once it is back, none twice, in order; and it is left alone for longer and longer."""
    clock, port = Clock(), free_port()
    url = f"json://127.0.0.1:{port}/"
    put(warehouse, clock, "btc 1", "eth 1", "btc 2", "xrp 1")
    tried = []
    for _ in range(10):
        (posted,) = deliver(warehouse, CHAT, clock, chat=url).posted
        tried.append(posted.failed)
        clock.on(minutes=1, seconds=15)
    assert sum(tried) in {3, 4}, "after 1, 2, 4 and 8 minutes, each a little longer"
    with web_receiver(port) as web:
        clock.on(hours=2)
        assert deliver(warehouse, CHAT, clock, chat=url).sent == 4
        assert deliver(warehouse, CHAT, clock, chat=url).posted == ()
        assert web.titles == ["btc 1", "eth 1", "btc 2", "xrp 1"]


def test_a_channel_that_takes_it_and_says_nothing(warehouse: Warehouse, web: WebReceiver) -> None:
    """It is sent once more, and says so; after that it is let be, and what comes after it is sent."""
    clock = Clock()
    put(warehouse, clock, "btc 1", "btc 2")
    web.answers = [nothing(1), nothing(1)]
    for _ in range(5):
        deliver(warehouse, CHAT, clock, chat=web.url())
        clock.on(hours=2)
    assert web.titles == ["btc 1", "Perhaps again: btc 1", "btc 2"]
    found = sent(warehouse)["chat: btc 1"]
    assert (found.state, found.tries, found.may_have_arrived) == (MessageState.SENT, 2, True)
    assert "nobody said" in found.outcome
    assert sent(warehouse)["chat: btc 2"].outcome == "sent"


def test_a_repetition_that_arrives(warehouse: Warehouse, web: WebReceiver) -> None:
    """One that was not answered, and is the second time, is sent: twice at most."""
    clock = Clock()
    put(warehouse, clock, "btc 1")
    web.answers = [nothing(1), status(500), status(200)]
    for _ in range(5):
        deliver(warehouse, CHAT, clock, chat=web.url())
        clock.on(hours=2)
    assert web.titles == ["btc 1", "Perhaps again: btc 1", "Perhaps again: btc 1"]
    assert sent(warehouse)["chat: btc 1"].state is MessageState.SENT


def test_killed_while_it_sends(warehouse: Warehouse, settings: Settings, web: WebReceiver) -> None:
    """Killed between sending and noting it, a message arrives twice at most, and the second says so."""
    clock = Clock()
    put(warehouse, clock, "btc 1", "btc 2")
    assert deliver_and_die(settings, CHAT, clock, chat=web.url()) == -9
    assert sent(warehouse)["chat: btc 1"].state is MessageState.SENDING
    assert deliver(warehouse, CHAT, clock, chat=web.url()).sent == 2
    assert web.titles == ["btc 1", "Perhaps again: btc 1", "btc 2"]
    with warehouse.begin() as connection:
        cut, done = read_tries(connection, sent(warehouse)["chat: btc 1"].id)
    assert (cut.run, cut.ended_at, done.run, done.outcome) == ("killed", None, "run", "sent")


def test_killed_twice(warehouse: Warehouse, settings: Settings, web: WebReceiver) -> None:
    """A message that was cut off twice is not sent a third time."""
    clock = Clock()
    put(warehouse, clock, "btc 1", "btc 2")
    for _ in range(2):
        assert deliver_and_die(settings, CHAT, clock, chat=web.url()) == -9
    assert deliver(warehouse, CHAT, clock, chat=web.url()).sent == 1
    assert web.titles == ["btc 1", "Perhaps again: btc 1", "btc 2"]
    assert "nobody said" in sent(warehouse)["chat: btc 1"].outcome


def test_two_deliver_at_once(warehouse: Warehouse, settings: Settings, web: WebReceiver) -> None:
    """Each message is sent once, in order, however many deliver at a time; nobody waits for the other."""
    clock = Clock()
    titles = [f"{series} {number}" for number, series in itertools.product(range(4), ("btc", "eth"))]
    put(warehouse, clock, *titles)
    begin = threading.Barrier(3)
    counts: list[int] = []

    def one() -> None:
        with open_warehouse(settings) as own:
            begin.wait()
            counts.append(deliver(own, CHAT, clock, chat=web.url()).sent)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == len(titles)
    assert web.titles == titles


def test_a_poisonous_message_holds_up_its_series_alone(warehouse: Warehouse, web: WebReceiver) -> None:
    """One that a channel never takes keeps back what comes after it of its series, and nothing else."""
    clock = Clock()
    put(warehouse, clock, "btc poison", "btc 2", "eth 1")

    def choosy(request: Request, handler: BaseHTTPRequestHandler) -> None:
        status(500 if "poison" in request.json["title"] else 200)(request, handler)

    web.always = choosy
    deliver(warehouse, CHAT, clock, chat=web.url())
    put(warehouse, clock, "xrp 1")
    deliver(warehouse, CHAT, clock, chat=web.url())
    assert web.titles == ["btc poison", "eth 1", "xrp 1"]
    clock.on(days=2)
    deliver(warehouse, CHAT, clock, chat=web.url())
    clock.on(days=2)
    deliver(warehouse, CHAT, clock, chat=web.url())
    assert sent(warehouse)["chat: btc poison"].state is MessageState.DEAD
    deliver(warehouse, CHAT, clock, chat=web.url())
    assert web.titles[-2:] == ["btc poison", "btc 2"], "what waited for it is sent once it is given up"


def test_a_channel_that_refuses_all_is_left_alone(warehouse: Warehouse, web: WebReceiver) -> None:
    """Three refusals in a row are the channel's fault: the fourth message is not tried."""
    clock = Clock()
    put(warehouse, clock, *(f"s{number} 1" for number in range(6)))
    web.always = status(401)
    (posted,) = deliver(warehouse, CHAT, clock, chat=web.url()).posted
    assert (len(web.requests), posted.failed) == (3, 3)
    assert "401" in posted.state
    assert "left alone until" in posted.state


def test_what_cannot_be_sent_is_given_up_and_told_of(warehouse: Warehouse, web: WebReceiver) -> None:
    """A dead channel's messages are given up after days, and the other channels are told that it is dead."""
    clock, dead = Clock(), f"json://127.0.0.1:{free_port()}/"
    both = channels("chat", "mail", give_up_after=timedelta(days=3))
    put(warehouse, clock, "btc 1", "eth 1")
    for _ in range(9):
        deliver(warehouse, both, clock, chat=dead, mail=web.url())
        clock.on(hours=12)
    deliver(warehouse, both, clock, chat=dead, mail=web.url())
    found = sent(warehouse)
    assert {found[f"chat: {name} 1"].state for name in ("btc", "eth")} == {MessageState.DEAD}
    assert found["chat: btc 1"].outcome.startswith("given up")
    assert len(web.titles) == 1
    assert "chat takes no messages" in web.titles[0]


def test_a_private_address_is_refused_unless_it_is_allowed(warehouse: Warehouse, web: WebReceiver) -> None:
    """Nothing is sent there, the outcome says what would allow it, and once that is done the message arrives."""
    clock = Clock()
    closed = channels("chat", channels={"chat": {"timeout_s": 30}})
    put(warehouse, clock, "btc 1")
    deliver(warehouse, closed, clock, chat=web.url())
    assert web.requests == []
    assert "allow_private" in sent(warehouse)["chat: btc 1"].outcome
    clock.on(hours=1)
    assert deliver(warehouse, CHAT, clock, chat=web.url()).sent == 1


def test_secrets_stay_where_they_are(
    warehouse: Warehouse, web: WebReceiver, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever comes of it, no part of an address is in a log, on the screen, in what is returned, or in a table."""
    clock, port = Clock(), free_port()
    three = channels("chat", "down", "wrong", "mail")
    put(warehouse, clock, "btc 1", "eth 1", "xrp 1")
    for name in ("down", "wrong", "mail"):
        put(warehouse, clock, "btc 1", channel=name)
    web.answers = [status(200), status(500), nothing(1)]
    with caplog.at_level(logging.DEBUG), mail_receiver() as mail:
        mail.refuse = [f"554 {SECRET} is no address of ours"]
        delivered = deliver(
            warehouse,
            three,
            clock,
            chat=f"json://{SECRET}:{SECRET}@127.0.0.1:{web.port}/{SECRET}",
            down=f"json://127.0.0.1:{port}/{SECRET}",
            wrong=f"slack://{SECRET}",
            mail=mail.url.replace("people", SECRET),
        )
    assert {one.channel: one.failed for one in delivered.posted} == {"chat": 2, "down": 1, "mail": 1, "wrong": 0}
    logged = [record.getMessage() for record in caplog.records if record.name != "mail.log"]  # of the receiver
    assert logged
    assert SECRET not in "".join(logged) + repr(delivered) + "".join(capsys.readouterr())
    with warehouse.begin() as connection:
        for table in inspect(connection).get_table_names():
            rows = connection.execute(text(f'SELECT t::text FROM "{table}" t')).scalars().all()  # noqa: S608 - ours
            assert SECRET not in "".join(rows), table


def test_ten_thousand_alerts_are_decided_in_seconds(warehouse: Warehouse, web: WebReceiver) -> None:
    """However many there are, each is decided once, and people get few messages."""
    clock = Clock()
    with warehouse.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO alerts (identity, kind, severity, notice, happened_at) SELECT 'n' || n, 'failed_task', "
                "'high', jsonb_build_object('identity', 'n' || n, 'kind', 'failed_task', 'severity', 'high', 'title', "
                "'task ' || n, 'detail', '', 'happened_at', now()::text, 'exchange', null, 'symbol', null, 'link', '')"
                ", now() FROM generate_series(1, 10000) n"
            )
        )
    clock.on(seconds=5)
    delivered = deliver(warehouse, CHAT, clock, chat=web.url())
    with warehouse.begin() as connection:
        left = connection.execute(select(alerts.c.id).where(alerts.c.planned_at.is_(None))).all()
    assert (delivered.decided, left) == (10_000, [])
    assert len(web.requests) <= 3
