"""Recorded absences: ranges that never overlap, each with its kind, its evidence and when to ask again.

A load says what it found silent, a judgement says why; what changes is recorded besides. The caller holds the series'
lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from etl.errors import StoreError
from etl.probing import is_settled, next_probe
from etl.schema import UNLOADED, AbsenceKind
from etl.series import Series, TimeRange, clip
from etl.timeframe import Timeframe
from etl.warehouse import tables
from etl.warehouse.absence_rows import delete_rows, insert_changes, insert_rows, read_rows, update_rows
from etl.warehouse.overlay import overlay
from etl.warehouse.tables import absences

ABSENCE_COLUMNS = (
    func.lower(absences.c.span),
    func.upper(absences.c.span),
    *(absences.c[field] for field in ("kind", "evidence", "first_seen", "asked_at", "probes", "next_probe")),
)
"""The columns that `to_absence` takes."""

_NOT_REQUESTED = "it lies between loaded ranges, and no run has requested it"

# What an exchange that is silent once more does not unsay: what a judgement says of a silence, and that a row came.
KEPT = frozenset({AbsenceKind.NO_TRADES, AbsenceKind.OUTAGE, AbsenceKind.HALTED, AbsenceKind.REFUSED})


@dataclass(frozen=True, slots=True)
class Finding:
    """A stretch of candles that are not there, and what is said of it."""

    span: TimeRange
    kind: AbsenceKind
    evidence: str


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


@dataclass(frozen=True, slots=True)
class Asking:
    """The circumstances in which absences were found.

    Attributes:
        asked_at: When the exchange was asked, by its clock.
        settle: How long a candle stays young.
        run: What to call the run that asked.
    """

    asked_at: datetime
    settle: timedelta
    run: str


def record_absences(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    time_range: TimeRange,
    found: Sequence[Finding],
    asking: Asking,
    known: Sequence[Absence] | None = None,
) -> Sequence[Absence]:
    """Make `found` the absences of `time_range`, all of which was asked for; what lies outside stays as it is.

    Args:
        known: Those that overlap or touch the range, if the caller has read them; others may be among them.

    Returns:
        What has become of `known`.
    """
    known = _read_around(connection, series_id, timeframe, time_range) if known is None else known
    inside = [clipped for absence in known if (clipped := _clipped(absence, time_range)) is not None]
    asked = [_asked(span, old, new, asking) for span, old, new in overlay(inside, found) if new is not None]
    return _rewrite(connection, series_id, known, time_range, asked, asking.run)[0]


def record_verdicts(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    verdicts: Sequence[Finding],
    settle: timedelta,
    run: str,
) -> int:
    """Let absences be of the kinds that a judgement says. Returns how many stretches changed their kind.

    Args:
        verdicts: Ascending, disjoint. What is held by now stays held.
    """
    if not verdicts:
        return 0
    time_range = TimeRange(verdicts[0].span.start, verdicts[-1].span.end)
    known = _read_around(connection, series_id, timeframe, time_range)
    inside = [clipped for absence in known if (clipped := _clipped(absence, time_range)) is not None]
    judged = [_judged(span, old, new, settle) for span, old, new in overlay(inside, verdicts) if old is not None]
    return _rewrite(connection, series_id, known, time_range, judged, run)[1]


def record_unfetched(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    time_range: TimeRange,
    evidence: str,
    tried_at: datetime,
) -> None:
    """Record that a fetch of `time_range` failed, where nothing else is known of its candles.

    Args:
        time_range: No checkpoint covers any of it.
        tried_at: When the fetch failed.
    """
    known = _read_around(connection, series_id, timeframe, time_range)
    inside = [clipped for absence in known if (clipped := _clipped(absence, time_range)) is not None]
    found = Finding(time_range, AbsenceKind.UNFETCHED, evidence)
    missed = [_missed(span, old, evidence, tried_at) for span, old, _ in overlay(inside, [found])]
    _rewrite(connection, series_id, known, time_range, missed, run="")


def record_not_requested(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    time_range: TimeRange,
    evidence: str = _NOT_REQUESTED,
) -> bool:
    """Record that no run has requested `time_range`, where nothing else is known of its candles.

    Args:
        time_range: It lies between loaded ranges, and no checkpoint covers any of it.

    Returns:
        Whether any of it was unknown before.
    """
    known = _read_around(connection, series_id, timeframe, time_range)
    inside = [clipped for absence in known if (clipped := _clipped(absence, time_range)) is not None]
    found = Finding(time_range, AbsenceKind.NOT_REQUESTED, evidence)
    pieces = [
        Absence(span, found.kind, found.evidence) if old is None else replace(old, span=span)
        for span, old, _ in overlay(inside, [found])
    ]
    _rewrite(connection, series_id, known, time_range, pieces, run="")
    return sum(a.span.end_ms - a.span.start_ms for a in inside) < time_range.end_ms - time_range.start_ms


def _missed(span: TimeRange, old: Absence | None, evidence: str, tried_at: datetime) -> Absence:
    if old is not None and old.kind not in UNLOADED:
        return replace(old, span=span)
    # A range that was only not requested is missed from now on.
    known = old if old is not None and old.kind is AbsenceKind.UNFETCHED else None
    probes = 0 if known is None or known.next_probe is None else known.probes + 1
    first_seen = None if known is None else known.first_seen
    due = next_probe(AbsenceKind.UNFETCHED, probes, span, tried_at, timedelta(0))
    return Absence(span, AbsenceKind.UNFETCHED, evidence, first_seen, None, probes, due)


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


def _asked(span: TimeRange, old: Absence | None, new: Finding, asking: Asking) -> Absence:
    """Return what holds of a stretch that was asked for and is still not there."""
    # What an exchange serves no longer was silent, or out of its listing, when it still served it.
    is_told = new.kind is AbsenceKind.BEYOND_RETENTION and old is not None and old.kind is not AbsenceKind.UNFETCHED
    is_silent = new.kind is AbsenceKind.PENDING or is_told
    if old is not None and (old.kind is new.kind or (is_silent and old.kind in KEPT)):
        kind, evidence = old.kind, old.evidence if is_silent else new.evidence
        probes = old.probes + is_settled(span, asking.asked_at, asking.settle)
    else:
        kind, evidence, probes = new.kind, new.evidence, 0
    due = next_probe(kind, probes, span, asking.asked_at, asking.settle)
    return Absence(span, kind, evidence, None if old is None else old.first_seen, asking.asked_at, probes, due)


def _judged(span: TimeRange, old: Absence, new: Finding | None, settle: timedelta) -> Absence:
    if new is None or (old.kind is new.kind and old.evidence == new.evidence) or old.asked_at is None:
        return old if span is old.span else replace(old, span=span)
    probes = old.probes if old.kind is new.kind else 0
    due = next_probe(new.kind, probes, span, old.asked_at, settle)
    return Absence(span, new.kind, new.evidence, old.first_seen, old.asked_at, probes, due)


def _rewrite(
    connection: Connection,
    series_id: int,
    known: Sequence[Absence],
    time_range: TimeRange,
    inside: Sequence[Absence],
    run: str,
) -> tuple[Sequence[Absence], int]:
    """Return the absences as they are now, and how many stretches are of another kind or held."""
    outside = [piece for absence in known for piece in _outside(absence, time_range)]
    settled = list(_joined(sorted([*outside, *inside], key=lambda absence: absence.span)))
    before, now = ({one.span.start: one for one in each} for each in (known, settled))
    delete_rows(connection, series_id, [one for one in known if not _has_span(now, one.span)])
    is_there = [_has_span(before, one.span) for one in settled]
    altered = [one for one, there in zip(settled, is_there, strict=True) if there and one != before[one.span.start]]
    update_rows(connection, series_id, altered)
    insert_rows(connection, series_id, [one for one, there in zip(settled, is_there, strict=True) if not there])
    changes = [
        (span, old, new)
        for span, old, new in overlay(known, settled)
        if old is not None and (new is None or new.kind is not old.kind)
    ]
    insert_changes(connection, series_id, changes, run)
    return settled, len(changes)


def _has_span(by_start: Mapping[datetime, Absence], span: TimeRange) -> bool:
    """Return whether there is an absence of just that span."""
    one = by_start.get(span.start)
    return one is not None and one.span.end == span.end


def _joined(pieces: Iterable[Absence]) -> Iterator[Absence]:
    """Yield the pieces, those that touch and are alike as one: asked as often as the part that was asked least."""
    last: Absence | None = None
    for piece in pieces:
        if last is None or (last.span.end, last.kind, last.evidence) != (piece.span.start, piece.kind, piece.evidence):
            if last is not None:
                yield last
            last = piece
        else:
            last = replace(
                last,
                span=TimeRange(last.span.start, piece.span.end),
                first_seen=_earliest(last.first_seen, piece.first_seen),
                asked_at=_earliest(last.asked_at, piece.asked_at),
                probes=min(last.probes, piece.probes),
                next_probe=_earliest(last.next_probe, piece.next_probe),
            )
    if last is not None:
        yield last


def _read_around(connection: Connection, series_id: int, timeframe: Timeframe, time_range: TimeRange) -> list[Absence]:
    """Read one candle further on both sides, so that an absence across the border stays one absence."""
    wider = TimeRange(time_range.start - timeframe.delta, time_range.end + timeframe.delta)
    return read_absences(connection, series_id, wider)


def to_absence(start: datetime | None, end: datetime | None, kind: str, *rest: Any) -> Absence:
    """Return the absence of a row: the bounds of its span, its kind, and the other fields in their order."""
    if start is None or end is None:
        raise StoreError(
            f"an absence without bounds is recorded: {start} to {end}; delete it, and ingest its range again"
        )
    return Absence(TimeRange(start, end), AbsenceKind(kind), *rest)


def _clipped(absence: Absence, time_range: TimeRange) -> Absence | None:
    if time_range.start <= absence.span.start and absence.span.end <= time_range.end:
        return absence
    span = clip(absence.span, time_range)
    return None if span is None else replace(absence, span=span)


def _outside(absence: Absence, time_range: TimeRange) -> Iterator[Absence]:
    if absence.span.start < time_range.start:
        yield replace(absence, span=TimeRange(absence.span.start, min(absence.span.end, time_range.start)))
    if absence.span.end > time_range.end:
        yield replace(absence, span=TimeRange(max(absence.span.start, time_range.end), absence.span.end))


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
