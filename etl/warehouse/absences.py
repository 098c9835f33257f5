"""Recorded absences: ranges that never overlap, each with its kind, its evidence and when to ask again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from etl.errors import StoreError
from etl.schema import AbsenceKind
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from etl.warehouse import tables
from etl.warehouse.absence_rows import read_rows
from etl.warehouse.tables import absences

ABSENCE_COLUMNS = (
    func.lower(absences.c.span),
    func.upper(absences.c.span),
    *(absences.c[field] for field in ("kind", "evidence", "first_seen", "asked_at", "probes", "next_probe")),
)
"""The columns that `to_absence` takes."""


@dataclass(frozen=True, slots=True)
class Absence:
    """A stretch of expected candles that are not held.

    Attributes:
        evidence: What says that it is of this kind.
        first_seen: When it was first recorded; None for now.
        asked_at: When the exchange was last asked for it, by its clock; None if it never was.
        probes: How often it was asked again since the kind is known.
        next_probe: When to ask again; None to leave it alone.
    """

    span: TimeRange
    kind: AbsenceKind
    evidence: str = ""
    first_seen: datetime | None = None
    asked_at: datetime | None = None
    probes: int = 0
    next_probe: datetime | None = None


def read_absences(connection: Connection, series_id: int, time_range: TimeRange | None = None) -> list[Absence]:
    """Return the absences that overlap `time_range`, whole, ascending; without a range all of the series."""
    return [
        to_absence(start, end, kind, *rest) for start, end, kind, *rest in read_rows(connection, series_id, time_range)
    ]


def due_absences(connection: Connection, exchange: str, now: datetime) -> dict[Series, list[Absence]]:
    """Return what is to be asked for again by `now`, by series, ascending; the series that waits longest first."""
    own, series = absences.c, tables.series.c
    query = (
        select(series.exchange, series.symbol, series.timeframe, *ABSENCE_COLUMNS)
        .join(tables.series, own.series_id == series.id)
        .where(series.exchange == exchange, own.next_probe <= now)
        .order_by(own.next_probe)
    )
    due: dict[Series, list[Absence]] = {}
    for name, symbol, timeframe, *columns in connection.execute(query):
        due.setdefault(Series(name, symbol, Timeframe(timeframe)), []).append(to_absence(*columns))
    return {one: sorted(found, key=lambda absence: absence.span) for one, found in due.items()}


def to_absence(start: datetime | None, end: datetime | None, kind: str, *rest: Any) -> Absence:
    """Return the absence of a row: the bounds of its span, its kind, and the other fields in their order."""
    if start is None or end is None:
        raise StoreError(
            f"an absence without bounds is recorded: {start} to {end}; delete it, and ingest its range again"
        )
    return Absence(TimeRange(start, end), AbsenceKind(kind), *rest)
