"""The outbox: alerts wait in it to be told, messages to be sent. An alert is written with what it tells of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, Row, Select, Text, any_, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from etl.incidents import Found, Severity
from etl.messages import Alert, Draft, Message, MessageState, Notice, PipelineKind
from etl.warehouse.incident_lists import incidents_by_id
from etl.warehouse.incident_tables import alerts, messages

_PLAN_ALONE = text("SELECT pg_advisory_xact_lock(hashtext('chandler planning of messages'))")


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


def plan_alone(connection: Connection) -> None:
    """Wait until nobody else plans, and keep others from it until the transaction ends."""
    connection.execute(_PLAN_ALONE)


def read_unplanned(connection: Connection) -> list[Alert]:
    """Return the alerts of which it is not decided yet whom to tell, the earliest first."""
    return _read(connection, select(alerts).where(alerts.c.planned_at.is_(None)))


def count_unplanned(connection: Connection) -> int:
    """Return of how many alerts it is not decided yet whom to tell."""
    query = select(func.count()).select_from(alerts).where(alerts.c.planned_at.is_(None))
    return int(connection.execute(query).scalar_one())


def read_alerts(connection: Connection, ids: Iterable[int]) -> dict[int, Alert]:
    """Return alerts by their number, their incidents as they are now."""
    return {
        one.id: one
        for one in _read(connection, select(alerts).where(alerts.c.id == any_(literal(list(ids), ARRAY(BigInteger)))))
    }


def read_decided(connection: Connection, since: datetime) -> list[tuple[Alert, datetime]]:
    """Return the alerts of which it was decided from a moment on whom to tell, and when that was."""
    own = alerts.c
    chosen = own.planned_at >= since
    when = {row.id: row.planned_at for row in connection.execute(select(own.id, own.planned_at).where(chosen))}
    return [(one, when[one.id]) for one in _read(connection, select(alerts).where(chosen))]


def read_messages(connection: Connection, since: datetime) -> list[Message]:
    """Return the messages that were made from a moment on, the earliest first."""
    own = messages.c
    rows = connection.execute(select(messages).where(own.created_at >= since).order_by(own.id))
    return [to_message(row) for row in rows]


def write_plan(connection: Connection, drafts: Sequence[Draft], outcomes: Mapping[int, str], now: datetime) -> int:
    """Write what was decided, in the transaction that planned alone: messages, and what became of each alert.

    Args:
        outcomes: By the numbers of the alerts, in words.

    Returns:
        How many messages are new; what was told to a channel is not told again under the same identity.
    """
    own = messages.c
    written = 0
    for draft in drafts:
        query = upsert(messages).values(_values(draft) | {"created_at": now})
        query = query.on_conflict_do_nothing(index_elements=[own.channel, own.identity])
        written += connection.execute(query.returning(own.id)).scalar() is not None
    if outcomes:
        ids = func.unnest(literal(list(outcomes), ARRAY(BigInteger))).label("id")
        said = func.unnest(literal(list(outcomes.values()), ARRAY(Text))).label("outcome")
        each = select(ids, said).subquery()
        changes = {"planned_at": now, "outcome": each.c.outcome}
        connection.execute(update(alerts).where(alerts.c.id == each.c.id).values(**changes))
    return written


def to_message(row: Row[Any]) -> Message:
    """Return a row of the table `messages`."""
    draft = Draft(
        channel=row.channel,
        identity=row.identity,
        alerts=tuple(row.alerts),
        series=tuple(row.series),
        severity=Severity(row.severity),
        title=row.title,
        body=row.body,
        not_before=row.next_try,
        incident_id=row.incident_id,
        unless_acknowledged=row.unless_acknowledged,
    )
    return Message(
        id=row.id,
        draft=draft,
        state=MessageState(row.state),
        tries=row.tries,
        may_have_arrived=row.may_have_arrived,
        created_at=row.created_at,
        next_try=row.next_try,
        sent_at=row.sent_at,
        outcome=row.outcome,
    )


def _put(connection: Connection, values: dict[str, object]) -> bool:
    written = upsert(alerts).values(values).on_conflict_do_nothing().returning(alerts.c.id)
    return connection.execute(written).scalar() is not None


def _read(connection: Connection, query: Select[Any]) -> list[Alert]:
    rows = connection.execute(query.order_by(alerts.c.id)).all()
    known = incidents_by_id(connection, {row.incident_id for row in rows if row.incident_id is not None})
    return [
        Alert(
            id=row.id,
            identity=row.identity,
            kind=row.kind,
            severity=Severity(row.severity),
            happened_at=row.happened_at,
            created_at=row.created_at,
            incident=known.get(row.incident_id),
            notice=None if row.notice is None else _to_notice(row.notice),
        )
        for row in rows
    ]


def _to_notice(facts: Mapping[str, Any]) -> Notice:
    own = {
        "kind": PipelineKind(facts["kind"]),
        "severity": Severity(facts["severity"]),
        "happened_at": datetime.fromisoformat(facts["happened_at"]),
    }
    return Notice(**{**facts, **own})


def _values(draft: Draft) -> dict[str, Any]:
    return {
        "channel": draft.channel,
        "identity": draft.identity,
        "alerts": list(draft.alerts),
        "series": list(draft.series),
        "severity": draft.severity.value,
        "title": draft.title,
        "body": draft.body,
        "incident_id": draft.incident_id,
        "unless_acknowledged": draft.unless_acknowledged,
        "next_try": draft.not_before,
    }
