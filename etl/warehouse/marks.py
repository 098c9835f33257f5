"""Marks in a range of a series: the gravest or longest of each sort, and how many there are in all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, text

from etl.incidents import IncidentState, Kind, Scope, Severity
from etl.schema import AbsenceKind
from etl.series import TimeRange
from etl.timeframe import to_ms

# An incident is told of an anomaly if one of the same detector holds its candle; incidents of one never overlap.
_ANOMALIES = """
SELECT open_time, score, held.id AS incident, count(*) OVER () AS total
FROM anomalies own LEFT JOIN LATERAL (
    SELECT id FROM incidents
    WHERE series_id = own.series_id AND detector = 'model' AND state <> 'withdrawn' AND span @> own.open_time LIMIT 1
) held ON true
WHERE series_id = :series_id AND open_time >= :start AND open_time < :end
ORDER BY score DESC, open_time DESC LIMIT :most
"""
_INCIDENTS = """
SELECT id, lower(span) AS start, upper(span) AS end, peak, kind, scope, severity, state, is_history,
       count(*) OVER () AS total
FROM incidents
WHERE series_id = :series_id AND span && tstzrange(:start, :end) AND state <> 'withdrawn'
ORDER BY array_position(ARRAY['critical', 'high', 'low'], severity), score DESC NULLS LAST, id DESC LIMIT :most
"""
_ABSENCES = """
SELECT lower(span) AS start, upper(span) AS end, kind, count(*) OVER () AS total
FROM absences WHERE series_id = :series_id AND span && tstzrange(:start, :end)
ORDER BY upper(span) - lower(span) DESC, lower(span) DESC LIMIT :most
"""
_REVISIONS = """
SELECT open_time, count(*) AS revisions, count(*) OVER () AS total
FROM candle_revisions WHERE series_id = :series_id AND open_time >= :start AND open_time < :end
GROUP BY open_time ORDER BY count(*) DESC, open_time DESC LIMIT :most
"""
_Mark = TypeVar("_Mark")


@dataclass(frozen=True, slots=True)
class AnomalyMark:
    """A candle that a model flags.

    Attributes:
        open_time_s: Seconds since the epoch.
        score: log10 of once in so many candles.
        incident: The number of the incident that it belongs to; None if that was withdrawn, or is not made yet.
    """

    open_time_s: int
    score: float
    incident: int | None


@dataclass(frozen=True, slots=True)
class IncidentMark:
    """An incident that was not withdrawn.

    Attributes:
        start: Open time of its first candle.
        end: When its last one closes.
        peak: Open time of its strangest one.
    """

    id: int
    start: datetime
    end: datetime
    peak: datetime
    kind: Kind
    scope: Scope
    severity: Severity
    state: IncidentState
    is_history: bool


@dataclass(frozen=True, slots=True)
class AbsenceMark:
    """A stretch of candles that are not held, whole."""

    start: datetime
    end: datetime
    kind: AbsenceKind


@dataclass(frozen=True, slots=True)
class RevisionMark:
    """A candle whose value was replaced, and how often; its open time in seconds since the epoch."""

    open_time_s: int
    count: int


def mark_anomalies(
    connection: Connection, series_id: int, time_range: TimeRange, most: int
) -> tuple[list[AnomalyMark], int]:
    """Return the highest scores of candles that open in a range, ascending in time, and how many are left out."""

    def to_mark(row: Row[Any]) -> AnomalyMark:
        return AnomalyMark(to_ms(row.open_time) // 1000, row.score, row.incident)

    marks, more = _read(connection, _ANOMALIES, series_id, time_range, most, to_mark)
    return sorted(marks, key=lambda mark: mark.open_time_s), more


def mark_incidents(
    connection: Connection, series_id: int, time_range: TimeRange, most: int
) -> tuple[list[IncidentMark], int]:
    """Return the gravest incidents that overlap a range, ascending in time, and how many are left out."""

    def to_mark(row: Row[Any]) -> IncidentMark:
        told = (Kind(row.kind), Scope(row.scope), Severity(row.severity), IncidentState(row.state))
        return IncidentMark(row.id, row.start, row.end, row.peak, *told, row.is_history)

    marks, more = _read(connection, _INCIDENTS, series_id, time_range, most, to_mark)
    return sorted(marks, key=lambda mark: (mark.start, mark.id)), more


def mark_absences(
    connection: Connection, series_id: int, time_range: TimeRange, most: int
) -> tuple[list[AbsenceMark], int]:
    """Return the longest absences that overlap a range, ascending in time, and how many are left out."""

    def to_mark(row: Row[Any]) -> AbsenceMark:
        return AbsenceMark(row.start, row.end, AbsenceKind(row.kind))

    marks, more = _read(connection, _ABSENCES, series_id, time_range, most, to_mark)
    return sorted(marks, key=lambda mark: mark.start), more


def mark_revisions(
    connection: Connection, series_id: int, time_range: TimeRange, most: int
) -> tuple[list[RevisionMark], int]:
    """Return the candles of a range that were revised most often, ascending in time, and how many are left out."""

    def to_mark(row: Row[Any]) -> RevisionMark:
        return RevisionMark(to_ms(row.open_time) // 1000, row.revisions)

    marks, more = _read(connection, _REVISIONS, series_id, time_range, most, to_mark)
    return sorted(marks, key=lambda mark: mark.open_time_s), more


def _read(
    connection: Connection,
    statement: str,
    series_id: int,
    time_range: TimeRange,
    most: int,
    to_mark: Callable[[Row[Any]], _Mark],
) -> tuple[list[_Mark], int]:
    bounds = {"series_id": series_id, "start": time_range.start, "end": time_range.end, "most": most}
    rows = connection.execute(text(statement), bounds).all()
    return [to_mark(row) for row in rows], rows[0].total - len(rows) if rows else 0
