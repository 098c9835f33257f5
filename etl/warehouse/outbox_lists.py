"""The outbox for people: which alerts there were, what was decided of them, and what became of the messages."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, any_, func, literal, select

from etl.errors import ConfigError
from etl.messages import Alert, Message, MessageState
from etl.warehouse.incident_tables import alerts, messages
from etl.warehouse.outbox import read_alerts, to_message


@dataclass(frozen=True, slots=True)
class Decision:
    """An alert and what was decided of it.

    Attributes:
        planned_at: When that was; None: it is still to be decided.
        outcome: In words.
    """

    alert: Alert
    planned_at: datetime | None
    outcome: str


def list_decisions(connection: Connection, limit: int) -> list[Decision]:
    """Return the last alerts, the latest first."""
    own = alerts.c
    return _decisions(
        connection, list(connection.execute(select(own.id).order_by(own.id.desc()).limit(limit)).scalars())
    )


def find_decision(connection: Connection, alert_id: int) -> Decision:
    """Return the alert of that number.

    Raises:
        ConfigError: There is none.
    """
    found = _decisions(connection, [alert_id])
    if not found:
        raise ConfigError(f"there is no alert {alert_id}; see chandler alerts")
    return found[0]


def list_messages(
    connection: Connection, limit: int, *, channel: str | None = None, state: MessageState | None = None
) -> list[Message]:
    """Return the last messages, the latest first."""
    own = messages.c
    query = select(messages).order_by(own.id.desc()).limit(limit)
    if channel is not None:
        query = query.where(own.channel == channel)
    if state is not None:
        query = query.where(own.state == state.value)
    return [to_message(row) for row in connection.execute(query)]


def messages_of(connection: Connection, alert_id: int) -> list[Message]:
    """Return the messages that tell of an alert, the earliest first."""
    own = messages.c
    rows = connection.execute(select(messages).where(literal(alert_id) == any_(own.alerts)).order_by(own.id))
    return [to_message(row) for row in rows]


def count_messages(connection: Connection) -> Mapping[str, Mapping[MessageState, int]]:
    """Return how many messages each channel has in each state."""
    own = messages.c
    counts: defaultdict[str, Counter[MessageState]] = defaultdict(Counter)
    for row in connection.execute(
        select(own.channel, own.state, func.count().label("n")).group_by(own.channel, own.state)
    ):
        counts[row.channel][MessageState(row.state)] = row.n
    return counts


def _decisions(connection: Connection, ids: list[int]) -> list[Decision]:
    own = alerts.c
    rows = connection.execute(
        select(own.id, own.planned_at, own.outcome).where(own.id.in_(ids)).order_by(own.id.desc())
    )
    known = read_alerts(connection, ids)
    return [Decision(known[row.id], row.planned_at, row.outcome) for row in rows]
