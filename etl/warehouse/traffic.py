"""Request outcomes of exchanges, hour by hour, and the present use of their budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql
from sqlalchemy import Connection, func, select

from etl.answers import BOUNDS_S, Answers, Outcome
from etl.timeframe import EPOCH
from etl.warehouse.budget.terms import Terms
from etl.warehouse.reading import driver_of
from etl.warehouse.tables import pauses, requests

# Whoever holds the row commits at once, or is not worth the wait: what is not written now is counted in later.
_IN_PASSING = "SET LOCAL lock_timeout = '1s'; SET LOCAL synchronous_commit = off"
_ADD = """
INSERT INTO requests (exchange, hour, outcome, requests, seconds, slowest_s, within)
VALUES (%(exchange)s, %(hour)s, %(outcome)s, %(requests)s, %(seconds)s, %(slowest_s)s, %(within)s)
ON CONFLICT (exchange, hour, outcome) DO UPDATE SET
    requests = requests.requests + excluded.requests,
    seconds = requests.seconds + excluded.seconds,
    slowest_s = greatest(requests.slowest_s, excluded.slowest_s),
    within = ARRAY(
        SELECT mine + theirs FROM unnest(requests.within, excluded.within) WITH ORDINALITY AS pairs(mine, theirs, place)
        ORDER BY place
    )
"""
_TAKE_OLD = """
DELETE FROM requests WHERE hour > %(sum)s AND hour < %(before)s
RETURNING exchange, outcome, requests, seconds, slowest_s, within
"""
_SPENT = """
SELECT count(*) FROM {log}, (SELECT clock_timestamp() AT TIME ZONE 'UTC') AS moment(now)
WHERE item_timestamp BETWEEN now - %(interval)s * interval '1 ms' AND now
"""
_OLD = EPOCH
"""The hour under which stands the sum of what is not kept by the hour any more."""


@dataclass(frozen=True, slots=True)
class RequestCount:
    """The requests of an hour that had the same outcome.

    Attributes:
        hour: When it began; None for the sum of all that is older than what is kept by the hour.
    """

    exchange: str
    hour: datetime | None
    outcome: Outcome
    answers: Answers


def add_requests(connection: Connection, exchange: str, counts: Mapping[tuple[datetime, Outcome], Answers]) -> None:
    """Count requests in, by hour and outcome, for whatever process made them."""
    cursor = driver_of(connection).cursor()
    cursor.execute(_IN_PASSING)
    for (hour, outcome), answers in sorted(counts.items()):  # in one order, so that two never wait for each other
        _add(cursor, exchange, hour, outcome, answers)


def read_requests(connection: Connection, since: datetime | None = None) -> list[RequestCount]:
    """Return what was counted, ascending by exchange and hour; from `since` on, or all there is."""
    own = requests.c
    query = select(own.exchange, own.hour, own.outcome, own.requests, own.seconds, own.slowest_s, own.within)
    if since is not None:
        query = query.where(own.hour >= since)
    return [
        RequestCount(exchange, None if hour == _OLD else hour.astimezone(UTC), Outcome(outcome), Answers(*counts))
        for exchange, hour, outcome, *counts in connection.execute(query.order_by(own.exchange, own.hour, own.outcome))
    ]


def total_requests(connection: Connection) -> dict[tuple[str, Outcome], Answers]:
    """Return all that was ever counted, by exchange and outcome."""
    own = requests.c
    within = [func.sum(own.within[place]) for place in range(1, len(BOUNDS_S) + 1)]
    sums = (func.sum(own.requests), func.sum(own.seconds), func.max(own.slowest_s), *within)
    query = select(own.exchange, own.outcome, *sums).group_by(own.exchange, own.outcome)
    return {
        (exchange, Outcome(outcome)): Answers(int(count), seconds, slowest_s, [int(one) for one in counts])
        for exchange, outcome, count, seconds, slowest_s, *counts in connection.execute(query.order_by(own.exchange))
    }


def fold_requests(connection: Connection, before: datetime) -> int:
    """Keep what is older than that as one sum, so that totals never fall; return how many rows went into it."""
    cursor = driver_of(connection).cursor()
    old = cursor.execute(_TAKE_OLD, {"sum": _OLD, "before": before}).fetchall()
    for exchange, outcome, *counts in sorted(old):
        _add(cursor, exchange, _OLD, Outcome(outcome), Answers(*counts))
    return len(old)


def read_spent(connection: Connection, exchange: str, weight_limit: int, interval_s: float) -> int:
    """Return what weight all processes have spent in the last interval, by the database's clock."""
    log = f"ratelimit___{exchange}"
    if connection.execute(select(func.to_regclass(log))).scalar() is None:
        return 0  # nobody has asked this exchange for anything yet
    terms = Terms.of(weight_limit, interval_s, 1.0)
    query = sql.SQL(_SPENT).format(log=sql.Identifier(log))
    row = driver_of(connection).execute(query, {"interval": terms.interval_ms}).fetchone()
    return int(row[0]) * terms.unit if row is not None else 0


def read_pauses(connection: Connection, now: datetime) -> dict[str, datetime]:
    """Return until when nobody asks the exchanges that want us away."""
    own = pauses.c
    found = connection.execute(select(own.exchange, own.until).where(own.until > now))
    return {exchange: until.astimezone(UTC) for exchange, until in found}


def hour_of(moment: datetime) -> datetime:
    """Return when the hour of a moment began."""
    return moment.astimezone(UTC) - (moment.astimezone(UTC) - EPOCH) % timedelta(hours=1)


def _add(
    cursor: psycopg.Cursor[tuple[object, ...]], exchange: str, hour: datetime, outcome: Outcome, answers: Answers
) -> None:
    facts = {"exchange": exchange, "hour": hour, "outcome": outcome.value, "requests": answers.requests}
    facts |= {"seconds": answers.seconds, "slowest_s": answers.slowest_s, "within": answers.within}
    cursor.execute(_ADD, facts)
