"""Feedback of people on models' incidents: which they have seen, and which were false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, select

from etl.incidents import IncidentState, Kind
from etl.series import Series
from etl.spelling import counted
from etl.timeframe import Timeframe
from etl.warehouse.incident_lists import model_name
from etl.warehouse.incident_tables import incident_changes, incidents
from etl.warehouse.incidents import SAID
from etl.warehouse.tables import models as models_table
from etl.warehouse.tables import series as series_table
from models.registry import Model, list_models
from models.targets import Target

NAMED = 20
"""How many false alarms are named, before the others are only counted."""


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """An incident that a person called a false alarm."""

    incident_id: int
    series: Series
    peak: datetime
    kind: Kind
    note: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """Feedback of people on the incidents of one model.

    Attributes:
        model: Its name.
        incidents: How many there were that people could be told of, or that they said something of.
        seen: How many of them a person has acknowledged or judged.
        false_alarms: Those that were called so, by kind, the latest first.
    """

    model: str
    incidents: int
    seen: int
    false_alarms: tuple[FalseAlarm, ...]

    @property
    def false_share(self) -> float | None:
        """The share of false alarms among those seen; None if nobody has seen any."""
        return len(self.false_alarms) / self.seen if self.seen else None

    def __str__(self) -> str:
        false = counted(len(self.false_alarms), "false alarm")
        return f"{self.model}: {counted(self.incidents, 'incident')}, {self.seen:,} seen, {false}"


def read_feedback(connection: Connection, target: Target, since: datetime | None) -> list[Feedback]:
    """Return what people said of a target's models, of each that there is anything to say of; the latest first.

    Args:
        since: Count what was found, and what was said, since then; all without.
    """
    own = models_table.c
    return _by_model(connection, (own.timeframe == target.timeframe.value) & (own.scope == target.scope), since=since)


def feedback_since_last_night(connection: Connection, target: Target) -> list[Feedback]:
    """Return what people said since the last model of a target was registered."""
    latest = list_models(connection, target)
    return read_feedback(connection, target, latest[0].created_at if latest else None)


def feedback_of(connection: Connection, model: Model) -> Feedback:
    """Return what people have ever said of a model's incidents."""
    found = _by_model(connection, models_table.c.id == model.id, since=None)
    return found[0] if found else Feedback(model.name, 0, 0, ())


def _by_model(connection: Connection, whose: ColumnElement[bool], *, since: datetime | None) -> list[Feedback]:
    own = incidents.c
    # What was withdrawn, or is history, counts once a person has said something of it.
    counts = ~own.is_history & (own.state != IncidentState.WITHDRAWN.value)
    said: ColumnElement[bool] = own.acknowledged_at.is_not(None)
    if since is not None:
        changes = incident_changes.c
        counts &= own.opened_at >= since
        said = exists().where(changes.incident_id == own.id, changes.change.in_(SAID), changes.changed_at >= since)
    columns = (own.id, own.peak, own.kind, own.is_false, own.acknowledged_at, own.note, own.model_id)
    series = series_table.c
    query = (
        select(*columns, series.exchange, series.symbol, series.timeframe, model_name().label("model"))
        .select_from(incidents)
        .join(series_table)
        .join(models_table, models_table.c.id == own.model_id)
        .where(whose, counts | said)
        .order_by(own.model_id.desc(), own.kind, own.peak.desc())
    )
    by_model: dict[str, list[Any]] = {}
    for row in connection.execute(query):
        by_model.setdefault(row.model, []).append(row)
    return [_of_rows(name, rows) for name, rows in by_model.items()]


def _of_rows(name: str, rows: Sequence[Any]) -> Feedback:
    false_alarms = tuple(
        FalseAlarm(
            row.id, Series(row.exchange, row.symbol, Timeframe(row.timeframe)), row.peak, Kind(row.kind), row.note
        )
        for row in rows
        if row.is_false
    )
    return Feedback(name, len(rows), sum(row.acknowledged_at is not None for row in rows), false_alarms)
