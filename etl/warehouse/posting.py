"""Messages on their way: who sends to a channel, what is due there, each try before it is made and after it has ended.

Whoever sends holds the channel by a lock that ends with its connection. So a message that is being sent while nobody
else holds its channel was cut off, and may have arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from etl.errors import ConfigError
from etl.messages import Message, MessageState
from etl.warehouse.database import Warehouse
from etl.warehouse.incident_tables import channels, message_tries, messages
from etl.warehouse.outbox import to_message

_UNSENT = (MessageState.WAITING.value, MessageState.SENDING.value)
_HOLD = text("SELECT pg_try_advisory_lock(hashtext('chandler channel'), hashtext(:name))")
_LEAVE = text("SELECT pg_advisory_unlock(hashtext('chandler channel'), hashtext(:name))")


@dataclass(frozen=True, slots=True)
class ChannelState:
    """State of a channel.

    Attributes:
        failing_since: None if its last try came through, or there was none.
        failures: In a row.
        next_try: Nothing is sent to it before; None: at once.
    """

    name: str
    failing_since: datetime | None = None
    failures: int = 0
    next_try: datetime | None = None
    last_sent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """A try to send a message; the one that is under way has not ended."""

    run: str
    began_at: datetime
    ended_at: datetime | None
    outcome: str


@contextmanager
def hold_channel(warehouse: Warehouse, name: str) -> Iterator[Connection | None]:
    """Yield a connection that alone may send to a channel; None if somebody else holds it.

    What is done on it is to be committed by who does it: a try is on record before it is made.
    """
    with warehouse.translated(), warehouse.engine.connect() as connection:
        is_held = bool(connection.execute(_HOLD, {"name": name}).scalar_one())
        connection.commit()
        if not is_held:
            yield None
            return
        try:
            yield connection
        finally:
            if not connection.closed and not connection.invalidated:
                connection.rollback()
                connection.execute(_LEAVE, {"name": name})
                connection.commit()


def channels_with_due(connection: Connection, now: datetime) -> list[str]:
    """Return the channels that have a message to be sent by now, those that came through last first."""
    own = messages.c
    due = select(own.channel).where(own.state.in_(_UNSENT), own.next_try <= now).distinct().subquery()
    joined = due.outerjoin(channels, channels.c.name == due.c.channel)
    query = select(due.c.channel).select_from(joined)
    return list(connection.execute(query.order_by(channels.c.failures.nulls_first(), due.c.channel)).scalars())


def due_messages(connection: Connection, channel: str, now: datetime) -> list[Message]:
    """Return what is to be sent to a channel by now, in the order in which it was made.

    A message waits for an earlier one of the same series that was tried and did not go; not for one that is to be sent
    at a later time.
    """
    own = messages.c
    rows = connection.execute(select(messages).where(own.channel == channel, own.state.in_(_UNSENT)).order_by(own.id))
    found: list[Message] = []
    held: set[str] = set()
    for message in map(to_message, rows):
        if message.next_try > now and not message.tries:
            continue
        if message.next_try > now or held.intersection(message.draft.series):
            held.update(message.draft.series)
        else:
            found.append(message)
    return found


def begin_try(connection: Connection, message: Message, run: str, now: datetime) -> int | None:
    """Note that a message is about to be sent; to be committed before it is.

    Returns:
        The number of the try; None if somebody has dropped the message meanwhile.
    """
    own = messages.c
    changes = {"state": MessageState.SENDING.value, "tries": own.tries + 1}
    query = update(messages).where(own.id == message.id, own.state.in_(_UNSENT)).values(**changes)
    if connection.execute(query.returning(own.id)).scalar() is None:
        return None
    begun = insert(message_tries).values(message_id=message.id, run=run, began_at=now)
    return int(connection.execute(begun.returning(message_tries.c.id)).scalar_one())


def end_try(connection: Connection, try_id: int, outcome: str, now: datetime) -> None:
    """Note how a try has ended."""
    own = message_tries.c
    connection.execute(update(message_tries).where(own.id == try_id).values(ended_at=now, outcome=outcome))


def settle_message(
    connection: Connection,
    message: Message,
    state: MessageState,
    outcome: str,
    *,
    next_try: datetime | None = None,
    may_have_arrived: bool = False,
    sent_at: datetime | None = None,
) -> None:
    """Note what became of a message.

    Args:
        may_have_arrived: Once that is so, it stays so.
    """
    changes = {
        "state": state.value,
        "outcome": outcome,
        "may_have_arrived": or_(messages.c.may_have_arrived, literal(may_have_arrived)),
        "next_try": next_try or message.next_try,
        "sent_at": sent_at,
    }
    connection.execute(update(messages).where(messages.c.id == message.id).values(**changes))


def give_up_messages(
    connection: Connection, channel: str, before: datetime, outcome: str, *, with_untried: bool
) -> list[int]:
    """Give up the messages to a channel that were first tried before a moment.

    Args:
        with_untried: And those that were due before it, and stood behind others.

    Returns:
        Their numbers.
    """
    own = messages.c
    first = select(func.min(message_tries.c.began_at)).where(message_tries.c.message_id == own.id).scalar_subquery()
    is_old = (func.coalesce(first, own.next_try) if with_untried else first) <= before
    query = update(messages).where(own.channel == channel, own.state.in_(_UNSENT), is_old)
    changes = {"state": MessageState.DEAD.value, "outcome": outcome}
    return list(connection.execute(query.values(**changes).returning(own.id)).scalars())


def read_channel_state(connection: Connection, name: str) -> ChannelState:
    """Return how it goes with a channel."""
    row = connection.execute(select(channels).where(channels.c.name == name)).one_or_none()
    return ChannelState(name) if row is None else ChannelState(**row._mapping)


def mark_channel_sent(connection: Connection, name: str, now: datetime) -> None:
    """Note that something came through."""
    _write(connection, ChannelState(name, last_sent_at=now))


def mark_channel_failing(connection: Connection, state: ChannelState, now: datetime, pause: timedelta) -> ChannelState:
    """Note that a try failed by the channel; nothing is sent to it for so long.

    Args:
        state: How it went with it before.

    Returns:
        How it goes with it now.
    """
    since = state.failing_since or now
    now_so = ChannelState(state.name, since, state.failures + 1, now + pause, state.last_sent_at)
    _write(connection, now_so)
    return now_so


def send_again(connection: Connection, message_id: int, now: datetime) -> Message:
    """Put a message on its way once more, at once, whatever became of it, and whatever its channel waits for.

    Raises:
        ConfigError: There is none of that number.
    """
    message = find_message(connection, message_id)
    arrived = message.may_have_arrived or message.state is MessageState.SENT
    settle_message(
        connection, message, MessageState.WAITING, "to be sent again", next_try=now, may_have_arrived=arrived
    )
    own = channels.c
    connection.execute(update(channels).where(own.name == message.draft.channel).values(next_try=None))
    return find_message(connection, message_id)


def find_message(connection: Connection, message_id: int) -> Message:
    """Return the message of that number.

    Raises:
        ConfigError: There is none.
    """
    row = connection.execute(select(messages).where(messages.c.id == message_id)).one_or_none()
    if row is None:
        raise ConfigError(f"there is no message {message_id}; see chandler alerts")
    return to_message(row)


def read_tries(connection: Connection, message_id: int) -> list[Try]:
    """Return the tries of a message, the first one first."""
    own = message_tries.c
    rows = connection.execute(select(message_tries).where(own.message_id == message_id).order_by(own.id))
    return [Try(row.run, row.began_at, row.ended_at, row.outcome) for row in rows]


def _write(connection: Connection, state: ChannelState) -> None:
    values = {
        "name": state.name,
        "failing_since": state.failing_since,
        "failures": state.failures,
        "next_try": state.next_try,
        "last_sent_at": state.last_sent_at,
    }
    query = upsert(channels).values(values)
    connection.execute(query.on_conflict_do_update(index_elements=[channels.c.name], set_=values))
