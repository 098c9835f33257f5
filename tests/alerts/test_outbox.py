import threading
from datetime import timedelta

import pytest

from etl.errors import ConfigError
from etl.messages import Draft, MessageState
from etl.settings import Settings
from etl.stores import Stores
from etl.warehouse import (
    Warehouse,
    channels_with_due,
    due_messages,
    hold_channel,
    open_warehouse,
    plan_alone,
    put_notice,
    read_alerts,
    read_unplanned,
    send_again,
    settle_message,
    write_plan,
)
from tests.alerts.made_alerts import notice
from tests.alerts.sending import Clock, channels, deliver, put, sent
from tests.made_incidents import found, have


@pytest.fixture
def warehouse(stores: Stores) -> Warehouse:
    """A fresh warehouse."""
    return stores.warehouse


def titles(warehouse: Warehouse, clock: Clock, channel: str = "chat") -> list[str]:
    """Return what is due."""
    with warehouse.begin() as connection:
        return [one.draft.title for one in due_messages(connection, channel, clock.now)]


def test_an_alert_comes_back_as_it_was_put(warehouse: Warehouse) -> None:
    """Notices and incidents are read as they were written; an incident's alert has the incident as it is now."""
    own = notice()
    with warehouse.begin() as connection:
        assert put_notice(connection, own)
        assert not put_notice(connection, own)
    number = have(warehouse, found(), is_told=True)
    with warehouse.begin() as connection:
        of_pipeline, of_incident = read_unplanned(connection)
    assert of_pipeline.notice == own
    assert of_incident.incident is not None
    assert (of_incident.incident.id, of_incident.incident.found) == (number, found())


def test_what_was_decided_is_not_decided_again(warehouse: Warehouse) -> None:
    """A plan leaves nothing unplanned, and a message of an identity is made once for a channel."""
    clock = Clock()
    with warehouse.begin() as connection:
        put_notice(connection, notice())
        (alert,) = read_unplanned(connection)
        draft = Draft("chat", "m", (alert.id,), ("btc",), alert.severity, "t", "b", clock.now)
        assert write_plan(connection, [draft], {alert.id: "told: chat"}, clock.now) == 1
        assert write_plan(connection, [draft], {}, clock.now) == 0
        assert read_unplanned(connection) == []
        assert list(read_alerts(connection, [alert.id])) == [alert.id]


def test_messages_of_a_series_keep_their_order(warehouse: Warehouse) -> None:
    """One that was tried and did not go holds those of its series after it; one for a later time holds nobody."""
    clock = Clock()
    put(warehouse, clock, "btc 1", "eth 1", "btc 2")
    put(warehouse, clock, "btc in the morning", not_before=clock.now + timedelta(hours=8))
    put(warehouse, clock, "btc 3", "both", series=("btc", "eth"))
    assert titles(warehouse, clock) == ["btc 1", "eth 1", "btc 2", "btc 3", "both"]
    deliver(warehouse, channels("chat"), clock, chat="json://127.0.0.1:1/")
    with warehouse.begin() as connection:
        first = sent(warehouse)["chat: btc 1"]
        again = clock.now + timedelta(minutes=5)
        settle_message(connection, first, MessageState.WAITING, "refused", next_try=again)
    assert titles(warehouse, clock) == ["eth 1"]
    clock.on(minutes=6)
    assert titles(warehouse, clock) == ["btc 1", "eth 1", "btc 2", "btc 3", "both"]


def test_a_channel_is_held_by_one(warehouse: Warehouse, settings: Settings) -> None:
    """While one sends to a channel nobody else does; other channels are free, and so is this one after it."""
    with open_warehouse(settings) as other:
        with hold_channel(warehouse, "chat") as mine:
            assert mine is not None
            with hold_channel(other, "chat") as theirs, hold_channel(other, "mail") as another:
                assert theirs is None
                assert another is not None
        with hold_channel(other, "chat") as theirs:
            assert theirs is not None


def test_a_channel_is_free_once_its_holder_is_gone(warehouse: Warehouse, settings: Settings) -> None:
    """A holder whose connection ends holds nothing, and its error is what is raised."""
    with pytest.raises(RuntimeError, match="gone"), hold_channel(warehouse, "chat"):
        raise RuntimeError("gone")
    with open_warehouse(settings) as other, hold_channel(other, "chat") as theirs:
        assert theirs is not None


def test_planning_is_done_by_one_at_a_time(warehouse: Warehouse, settings: Settings) -> None:
    """The second planner sees what the first has decided."""
    clock, seen = Clock(), []
    with warehouse.begin() as connection:
        put_notice(connection, notice())

    def second() -> None:
        with open_warehouse(settings) as other, other.begin() as connection:
            plan_alone(connection)
            seen.append(read_unplanned(connection))

    with warehouse.begin() as connection:
        plan_alone(connection)
        thread = threading.Thread(target=second)
        thread.start()
        (alert,) = read_unplanned(connection)
        thread.join(0.3)
        write_plan(connection, [], {alert.id: "no route"}, clock.now)
    thread.join()
    assert seen == [[]]


def test_channels_that_work_go_first(warehouse: Warehouse) -> None:
    """A channel that fails is asked after those that do not."""
    clock = Clock()
    put(warehouse, clock, "btc 1", channel="a")
    deliver(warehouse, channels("a"), clock, a="json://127.0.0.1:1/")
    put(warehouse, clock, "btc 1", channel="b")
    with warehouse.begin() as connection:
        assert channels_with_due(connection, clock.now) == ["b", "a"]


def test_sending_again_needs_a_message(warehouse: Warehouse) -> None:
    """A number that is none is told so."""
    with warehouse.begin() as connection, pytest.raises(ConfigError, match="no message 7"):
        send_again(connection, 7, Clock().now)
