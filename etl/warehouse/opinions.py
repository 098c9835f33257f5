"""Second opinions in the warehouse: what may be asked, what was, and what it cost. Written before and after asking."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from etl.incidents import Incident, IncidentState, Severity
from etl.warehouse.incident_lists import find_incident
from etl.warehouse.incident_tables import alerts, incidents, opinions
from etl.warehouse.incidents import log_incident_change

_LOCK = 0x4348414F


def lock_opinions(connection: Connection) -> None:
    """Wait until nobody else decides whom to ask of what, and keep others out until the transaction ends."""
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def incidents_to_judge(connection: Connection, severity: Severity, limit: int) -> list[Incident]:
    """Return incidents at least so severe of which people are still to be told, and nobody was asked; worst first."""
    own = incidents.c
    grave = [one.value for one in reversed(Severity) if one.rank >= severity.rank]
    query = (
        select(own.id)
        .where(
            own.id.in_(select(alerts.c.incident_id).where(alerts.c.planned_at.is_(None))),
            own.id.not_in(select(opinions.c.incident_id)),
            own.severity.in_(grave),
            ~own.is_history,
            own.is_false.is_not(True),
            own.state != IncidentState.WITHDRAWN.value,
        )
        .order_by(func.array_position(grave, own.severity), own.id)
        .limit(limit)
    )
    return [find_incident(connection, number) for number in connection.execute(query).scalars()]


def spent_on_day(connection: Connection, moment: datetime) -> tuple[int, int]:
    """Return how often somebody was asked on the UTC day of a moment, and how many tokens that has cost at most."""
    start = datetime.combine(moment.astimezone(UTC).date(), time(), UTC)
    own = opinions.c
    total = func.coalesce(func.sum(own.tokens), 0)
    query = select(func.count(), total).where(own.asked_at >= start, own.asked_at < start + timedelta(days=1))
    calls, tokens = connection.execute(query).one()
    return int(calls), int(tokens)


def begin_opinion(
    connection: Connection, incident_id: int, model: str, evidence: Mapping[str, Any], tokens: int, now: datetime
) -> int:
    """Note that somebody is about to be asked, as if it cost `tokens`, the most there may be; return its number."""
    values = {"incident_id": incident_id, "model": model, "evidence": evidence, "tokens": tokens, "asked_at": now}
    return int(connection.execute(insert(opinions).values(values).returning(opinions.c.id)).scalar_one())


def end_opinion(
    connection: Connection,
    number: int,
    answer: Mapping[str, Any] | None,
    problem: str,
    tokens: int | None,
    run: str,
) -> None:
    """Note what came of asking, and put the answer beside the incident, if there is one.

    Args:
        tokens: What it cost; None if nobody says, and then it counts as the most there may be.
    """
    own = opinions.c
    changes: dict[str, Any] = {"problem": problem, "answered_at": func.clock_timestamp()}
    if answer is not None:
        changes["answer"] = answer
    if tokens is not None:
        changes["tokens"] = tokens
    written = update(opinions).where(own.id == number).values(changes).returning(own.incident_id, own.model)
    incident_id, model = connection.execute(written).one()
    if answer is not None:
        said = {**answer, "model": model}
        connection.execute(update(incidents).where(incidents.c.id == incident_id).values(opinion=said))
    gist = problem if answer is None else f"{answer['kind']}, confidence {answer['confidence']}: {answer['action']}"
    log_incident_change(connection, incident_id, "second opinion", f"{model}: {gist}", run)
