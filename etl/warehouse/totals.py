"""The whole warehouse in a few numbers: sums of small tables, and no look at a candle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, and_, func, select, text

from etl.incidents import IncidentState
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from etl.warehouse import tables
from etl.warehouse.incident_tables import alerts, channels, incidents, messages

_BY_NAME = """
SELECT series_id, 'absent', name, sum(count::bigint)::bigint
FROM quality, jsonb_each_text(absent) AS counted(name, count) WHERE absent <> '{}' GROUP BY series_id, name
UNION ALL SELECT series_id, 'refused', name, sum(count::bigint)::bigint
FROM quality, jsonb_each_text(refused) AS counted(name, count) WHERE refused <> '{}' GROUP BY series_id, name
UNION ALL SELECT series_id, 'flagged', name, sum(count::bigint)::bigint
FROM quality, jsonb_each_text(flagged) AS counted(name, count) WHERE flagged <> '{}' GROUP BY series_id, name
"""
_COVERED = "SELECT series_id, range_agg(tstzrange(range_start, range_end)) FROM checkpoints GROUP BY series_id"
_CHAMPIONS = """
SELECT timeframe, scope, scorer, version, created_at, (
    SELECT (summary ->> 'vus_pr')::float8 FROM jsonb_array_elements(metrics -> 'summaries') AS summaries(summary)
    WHERE summary ->> 'model' = metrics ->> 'model' LIMIT 1
) FROM models WHERE state = 'champion' ORDER BY timeframe, scope
"""
_LEFT = [state.value for state in IncidentState if state not in (IncidentState.CLOSED, IncidentState.WITHDRAWN)]


@dataclass(slots=True)
class SeriesTotals:
    """One series.

    Attributes:
        ended: When its last candle closed, if it is traded no more.
        covered: What is accounted for, ascending, joined where ranges meet.
        expected, stored, revisions, absent, refused, flagged: As of `Quality`, over all days.
        loads: How often it was loaded, and how many candles were new then, or revised; and how many rows refused.
        last_load: When that was for the last time.
    """

    ended: datetime | None = None
    covered: Sequence[TimeRange] = ()
    expected: int = 0
    stored: int = 0
    revisions: int = 0
    absent: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    flagged: Counter[str] = field(default_factory=Counter)
    loads: int = 0
    loaded: Counter[str] = field(default_factory=Counter)
    last_load: datetime | None = None


@dataclass(frozen=True, slots=True)
class Champion:
    """A model that judges now.

    Attributes:
        scope: `all`, or its one series.
        vus_pr: What it had in the night that it was trained in; None if it was not measured here.
    """

    timeframe: str
    scope: str
    scorer: str
    version: int
    created_at: datetime
    vus_pr: float | None


@dataclass(frozen=True, slots=True)
class IncidentCount:
    """Incidents that somebody might have been told of: those of history are not among them."""

    severity: str
    scope: str
    state: str
    count: int
    unacknowledged: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """Work that waits.

    Attributes:
        loads_to_score: Loads that no model has judged.
        alerts_to_plan: Alerts of which nobody has decided yet whom to tell.
        messages: By state.
        failing_since: Since when each channel fails; None if it does not.
    """

    loads_to_score: int
    alerts_to_plan: int
    messages: Counter[str]
    failing_since: dict[str, datetime | None]


def read_totals(connection: Connection) -> dict[Series, SeriesTotals]:
    """Return every series that the warehouse knows, in the order of their names."""
    rows = connection.execute(select(tables.series)).all()
    named = {row.id: Series(row.exchange, row.symbol, Timeframe(row.timeframe)) for row in rows}
    found = {row.id: SeriesTotals(ended=row.ended and row.ended.astimezone(UTC)) for row in rows}
    own = tables.quality.c
    sums = select(own.series_id, func.sum(own.expected), func.sum(own.stored), func.sum(own.revisions))
    for number, *counts in connection.execute(sums.group_by(own.series_id)):
        found[number].expected, found[number].stored, found[number].revisions = map(int, counts)
    for number, what, name, count in connection.execute(text(_BY_NAME)):
        getattr(found[number], what)[name] = count
    for number, covered in connection.execute(text(_COVERED)):
        found[number].covered = [TimeRange(one.lower.astimezone(UTC), one.upper.astimezone(UTC)) for one in covered]
    _take_loads(connection, found)
    return {series: found[number] for number, series in sorted(named.items(), key=lambda one: one[1])}


def _take_loads(connection: Connection, found: dict[int, SeriesTotals]) -> None:
    own = tables.loads.c
    sums = (func.sum(own.new), func.sum(own.revised), func.sum(own.quarantined))
    query = select(own.series_id, func.count(), func.max(own.loaded_at), *sums).group_by(own.series_id)
    for number, loads, last_load, *counts in connection.execute(query):
        one = found[number]
        one.loads, one.last_load = loads, last_load.astimezone(UTC)
        one.loaded = Counter(dict(zip(("new", "revised", "refused"), map(int, counts), strict=True)))


def read_champions(connection: Connection) -> list[Champion]:
    """Return the models that judge, in the order of timeframe and scope."""
    return [Champion(*row) for row in connection.execute(text(_CHAMPIONS))]


def count_present_incidents(connection: Connection) -> list[IncidentCount]:
    """Return how many incidents there are of each severity, scope and state."""
    own = incidents.c
    is_new = and_(own.acknowledged_at.is_(None), own.state.in_(_LEFT))
    counts = (func.count(), func.count().filter(is_new))
    query = select(own.severity, own.scope, own.state, *counts).where(~own.is_history)
    query = query.group_by(own.severity, own.scope, own.state).order_by(own.severity, own.scope, own.state)
    return [IncidentCount(*row) for row in connection.execute(query)]


def read_backlog(connection: Connection) -> Backlog:
    """Return what waits to be scored, decided and sent."""
    waiting = select(func.count()).where(~tables.loads.c.is_scored)
    undecided = select(func.count()).where(alerts.c.planned_at.is_(None))
    by_state = select(messages.c.state, func.count()).group_by(messages.c.state)
    failing = select(channels.c.name, channels.c.failing_since).order_by(channels.c.name)
    return Backlog(
        connection.execute(waiting).scalar_one(),
        connection.execute(undecided).scalar_one(),
        Counter(dict(tuple(row) for row in connection.execute(by_state))),
        {name: since for name, since in connection.execute(failing)},
    )
