"""Recorded absences: as ranges that never overlap, rewritten where a load has looked again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from etl.schema import AbsenceKind, TimeRange
from etl.timeframe import Timeframe
from etl.warehouse.tables import absences, to_sql_range


@dataclass(frozen=True, slots=True)
class Absence:
    """A stretch of expected candles that are not held.

    Attributes:
        first_seen: When it was first recorded; None for now.
    """

    span: TimeRange
    kind: AbsenceKind
    first_seen: datetime | None = None


def read_absences(connection: Connection, series_id: int, time_range: TimeRange) -> list[Absence]:
    """Return the absences that overlap `time_range`, whole, ascending."""
    rows = connection.execute(
        select(absences.c.span, absences.c.kind, absences.c.first_seen)
        .where(absences.c.series_id == series_id, absences.c.span.op("&&")(to_sql_range(time_range)))
        .order_by(absences.c.span)
    )
    return [Absence(TimeRange(row.span.lower, row.span.upper), AbsenceKind(row.kind), row.first_seen) for row in rows]


def replace_absences(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    time_range: TimeRange,
    absent: Sequence[tuple[TimeRange, AbsenceKind]],
) -> None:
    """Make `absent` the absences of `time_range`; what reaches beyond the range keeps its outer part.

    The caller holds the series' lock.
    """
    # One candle further on both sides, so that an absence across the border stays one absence.
    wider = TimeRange(time_range.start - timeframe.delta, time_range.end + timeframe.delta)
    known = read_absences(connection, series_id, wider)
    if not known and not absent:
        return
    overlapping = absences.c.span.op("&&")(to_sql_range(wider))
    connection.execute(delete(absences).where(absences.c.series_id == series_id, overlapping))
    settled = settle(known, time_range, absent)
    for absence in settled:
        values = {"series_id": series_id, "span": to_sql_range(absence.span), "kind": absence.kind.value}
        if absence.first_seen is not None:
            values["first_seen"] = absence.first_seen
        connection.execute(insert(absences).values(values))


def settle(
    known: Sequence[Absence], time_range: TimeRange, absent: Sequence[tuple[TimeRange, AbsenceKind]]
) -> list[Absence]:
    """Return the absences that hold once `time_range` was looked at and `absent` was found in it.

    Args:
        known: Disjoint absences near the range, in any order.
        absent: Disjoint, in the range, each with its kind.

    Returns:
        Ascending, disjoint; neighbours of one kind are one, and the earliest sight of its parts is its own.
    """
    pieces = [piece for absence in known for piece in _outside(absence, time_range)]
    for span, kind in absent:
        seen = [a.first_seen for a in known if a.span.start < span.end and span.start < a.span.end]
        pieces.append(Absence(span, kind, _earliest(seen)))
    settled: list[Absence] = []
    for piece in sorted(pieces, key=lambda absence: absence.span):
        last = settled[-1] if settled else None
        if last is not None and last.span.end == piece.span.start and last.kind is piece.kind:
            span = TimeRange(last.span.start, piece.span.end)
            settled[-1] = Absence(span, last.kind, _earliest([last.first_seen, piece.first_seen]))
        else:
            settled.append(piece)
    return settled


def _outside(absence: Absence, time_range: TimeRange) -> Iterable[Absence]:
    if absence.span.start < time_range.start:
        yield replace(absence, span=TimeRange(absence.span.start, min(absence.span.end, time_range.start)))
    if absence.span.end > time_range.end:
        yield replace(absence, span=TimeRange(max(absence.span.start, time_range.end), absence.span.end))


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
