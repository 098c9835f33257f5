"""The outbox: alerts wait in it to be told, messages to be sent. An alert is written with what it tells of."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert as upsert

from etl.incidents import Found
from etl.messages import Notice
from etl.warehouse.incident_tables import alerts


def put_incident_alert(connection: Connection, incident_id: int, found: Found) -> bool:
    """Put an alert of an incident into the outbox, in the transaction that writes the incident.

    There is one for each severity that it has had: of an escalation people are told again.

    Returns:
        Whether there was none of it yet.
    """
    return _put(
        connection,
        {
            "identity": f"incident:{incident_id}:{found.severity}",
            "incident_id": incident_id,
            "kind": found.kind.value,
            "severity": found.severity.value,
            "happened_at": found.time_range.start,
        },
    )


def put_notice(connection: Connection, notice: Notice) -> bool:
    """Put an alert of the pipeline into the outbox; return whether there was none of that identity yet."""
    facts = asdict(notice) | {"happened_at": notice.happened_at.isoformat()}
    return _put(
        connection,
        {
            "identity": notice.identity,
            "kind": notice.kind.value,
            "severity": notice.severity.value,
            "happened_at": notice.happened_at,
            "notice": facts,
        },
    )


def _put(connection: Connection, values: dict[str, object]) -> bool:
    written = upsert(alerts).values(values).on_conflict_do_nothing().returning(alerts.c.id)
    return connection.execute(written).scalar() is not None
