"""Writing absences down: a load says what it found silent, a judgement says why; what changes is recorded besides.

The caller holds the series' lock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.findings import Finding, Findings
from etl.probing import is_settled, next_probe
from etl.schema import UNLOADED, AbsenceKind
from etl.series import TimeRange, clip
from etl.timeframe import Timeframe
from etl.warehouse.absence_rows import delete_rows, insert_changes, insert_rows, read_columns, update_rows
from etl.warehouse.absences import Absence, read_absences
from etl.warehouse.overlay import overlay

_FAR_APART = 32  # absences, which cost as much to rewrite as a statement does
_NOT_REQUESTED = "it lies between loaded ranges, and no run has requested it"

# What an exchange that is silent once more does not unsay: what a judgement says of a silence, and that a row came.
KEPT = frozenset({AbsenceKind.NO_TRADES, AbsenceKind.OUTAGE, AbsenceKind.HALTED, AbsenceKind.REFUSED})


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
    pieces = overlay(inside, found) if inside else ((finding.span, None, finding) for finding in found)
    asked = [_asked(span, old, new, asking) for span, old, new in pieces if new is not None]
    return _rewrite(connection, series_id, known, time_range, asked, asking.run)[0]


def record_verdicts(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    verdicts: Findings,
    settle: timedelta,
    run: str,
) -> list[TimeRange]:
    """Let absences be of the kinds that a judgement says. Returns the stretches that are of another kind now.

    Args:
        verdicts: Ascending, disjoint. What is held by now stays held.
    """
    changes = []
    for some in _stretches(_differ(connection, series_id, verdicts)):
        changes += _record_some(connection, series_id, timeframe, list(verdicts[some]), settle, run)
    return changes


def _differ(connection: Connection, series_id: int, verdicts: Findings) -> NDArray[np.intp]:
    """Return which verdicts say something else than what is recorded of just their spans, ascending."""
    if not verdicts:
        return np.array([], dtype=np.intp)
    hull = TimeRange.from_ms(int(verdicts.start_ms[0]), int(verdicts.end_ms[-1]))
    known = read_columns(connection, series_id, hull)
    if not len(known.start_ms):
        return np.arange(len(verdicts))
    place = np.minimum(np.searchsorted(known.start_ms, verdicts.start_ms), len(known.start_ms) - 1)
    has_span = (known.start_ms[place] == verdicts.start_ms) & (known.end_ms[place] == verdicts.end_ms)
    agrees = [
        kind is known.kinds[at] and evidence == known.evidence[at]
        for kind, evidence, at in zip(verdicts.kinds, verdicts.evidence, place.tolist(), strict=True)
    ]
    return np.flatnonzero(~(has_span & np.array(agrees)))


def _stretches(places: NDArray[np.intp]) -> list[slice]:
    """Return stretches that hold all the places: what lies far apart is not rewritten with what lies between."""
    if not len(places):
        return []
    bounds = np.flatnonzero(np.diff(places) > _FAR_APART)
    firsts, lasts = places[[0, *bounds + 1]].tolist(), places[[*bounds, -1]].tolist()
    return [slice(first, last + 1) for first, last in zip(firsts, lasts, strict=True)]


def _record_some(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    verdicts: Sequence[Finding],
    settle: timedelta,
    run: str,
) -> list[TimeRange]:
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
    instead_of: AbsenceKind | None = None,
) -> bool:
    """Record that no run has requested `time_range`, where nothing else is known of its candles.

    Args:
        time_range: No checkpoint covers any of it.
        instead_of: What is known of absences of that kind does not hold any more.

    Returns:
        Whether any of it was unknown before.
    """
    known = _read_around(connection, series_id, timeframe, time_range)
    inside = [clipped for absence in known if (clipped := _clipped(absence, time_range)) is not None]
    found = Finding(time_range, AbsenceKind.NOT_REQUESTED, evidence)
    pieces = [
        Absence(span, found.kind, found.evidence) if old is None or old.kind is instead_of else replace(old, span=span)
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
) -> tuple[Sequence[Absence], list[TimeRange]]:
    """Return the absences as they are now, and the stretches that are of another kind or held."""
    outside = [piece for absence in known for piece in _outside(absence, time_range)]
    settled = list(_joined(sorted([*outside, *inside], key=lambda absence: absence.span.start)))
    before, now = ({one.span.start: one for one in each} for each in (known, settled))
    delete_rows(connection, series_id, [one for one in known if not _has_span(now, one.span)])
    is_there = [_has_span(before, one.span) for one in settled]
    altered = [one for one, there in zip(settled, is_there, strict=True) if there and one != before[one.span.start]]
    update_rows(connection, series_id, altered)
    insert_rows(connection, series_id, [one for one, there in zip(settled, is_there, strict=True) if not there])
    changes = [
        (span, old, new)
        for span, old, new in overlay(known, _beside(known, settled))
        if old is not None and (new is None or new.kind is not old.kind)
    ]
    insert_changes(connection, series_id, changes, run)
    return settled, [span for span, _, _ in changes]


def _beside(known: Sequence[Absence], settled: Sequence[Absence]) -> Sequence[Absence]:
    """Return those of `settled` that may overlap what was known: of a first load hardly any."""
    if not known:
        return ()
    first = bisect_right(settled, known[0].span.start, key=lambda one: one.span.end)
    return settled[first : bisect_left(settled, known[-1].span.end, key=lambda one: one.span.start)]


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
