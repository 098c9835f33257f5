"""Alerts of an incident, and the fate of the messages that tell of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, any_, literal, select

from etl.incidents import Severity
from etl.messages import MessageState
from etl.warehouse.incident_tables import alerts, messages


@dataclass(frozen=True, slots=True)
class Delivery:
    """Fate of a message that tells of an incident.

    Attributes:
        outcome: Of its last try.
    """

    message_id: int
    channel: str
    state: MessageState
    tries: int
    next_try: datetime
    sent_at: datetime | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Telling:
    """An alert of an incident.

    Attributes:
        planned_at: When it was decided whom to tell; None: it is still to be decided.
        outcome: What was decided.
    """

    alert_id: int
    severity: Severity
    created_at: datetime
    planned_at: datetime | None
    outcome: str
    deliveries: tuple[Delivery, ...]


def read_tellings(connection: Connection, incident_id: int) -> list[Telling]:
    """Return the alerts of an incident with their messages, the earliest first."""
    own = alerts.c
    rows = connection.execute(select(alerts).where(own.incident_id == incident_id).order_by(own.id)).all()
    return [
        Telling(
            row.id,
            Severity(row.severity),
            row.created_at,
            row.planned_at,
            row.outcome,
            _read_deliveries(connection, row.id),
        )
        for row in rows
    ]


def _read_deliveries(connection: Connection, alert_id: int) -> tuple[Delivery, ...]:
    own = messages.c
    query = select(messages).where(literal(alert_id) == any_(own.alerts)).order_by(own.id)
    return tuple(
        Delivery(row.id, row.channel, MessageState(row.state), row.tries, row.next_try, row.sent_at, row.outcome)
        for row in connection.execute(query)
    )
