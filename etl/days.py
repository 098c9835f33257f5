"""All that is known of one day of a series, and of each series how far it reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from sqlalchemy import Connection

from etl.schema import AbsenceKind
from etl.series import Series, TimeRange, clip, utc_day
from etl.timeframe import Timeframe
from etl.warehouse import (
    Absence,
    LoggedLoad,
    Quality,
    Quarantined,
    Revision,
    State,
    Wanted,
    count_quarantine,
    count_revisions,
    find_series,
    loads_within,
    read_absences,
    read_extents,
    read_quality,
    read_quarantine,
    read_revisions,
)

_COLUMNS = ("open", "high", "low", "close", "volume")
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class DayAbsence:
    """A stretch of candles that are not held, as much of it as lies in the day; see `etl.warehouse.Absence`.

    Attributes:
        slots: How many candles it is of.
    """

    start: datetime
    end: datetime
    slots: int
    kind: AbsenceKind
    evidence: str
    first_seen: datetime | None
    asked_at: datetime | None
    probes: int
    next_probe: datetime | None


@dataclass(frozen=True, slots=True)
class DayRefusal:
    """A refused row that belongs into the day, or may; see `etl.warehouse.Quarantined`."""

    id: int
    open_time: datetime | None
    later_open_time: datetime | None
    rule: str
    evidence: str
    row: str
    state: State


@dataclass(frozen=True, slots=True)
class DayRevision:
    """A value that was replaced, with prices and volume before and after.

    Attributes:
        run: The run that brought the value after.
        after: None if that is in the archive alone.
    """

    open_time: datetime
    replaced_at: datetime
    run: str
    before: Mapping[str, float | None]
    after: Mapping[str, float | None] | None


@dataclass(frozen=True, slots=True)
class DayLoad:
    """A load of a range that the day, or a part of it, lies in; see `etl.warehouse.LoadReport`."""

    run: str
    loaded_at: datetime
    start: datetime
    end: datetime
    rows: int
    new: int
    revised: int
    absent: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class DayAccount:
    """One day of a series.

    Attributes:
        series: Its text.
        quality: Of all counts zero, if nothing is known of the day.
        absences: Ascending.
        refused: The latest refusal first.
        revisions: The latest first.
        loads: The latest first.
        more: How many are left out, by the names of these; those of which none is are not in it.
    """

    series: str
    day: date
    quality: Quality
    absences: Sequence[DayAbsence]
    refused: Sequence[DayRefusal]
    revisions: Sequence[DayRevision]
    loads: Sequence[DayLoad]
    more: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """Reach of a series; see `etl.warehouse.Extent`."""

    series: str
    first: datetime | None
    last: datetime | None
    watermark: datetime | None
    end: datetime | None
    ended: datetime | None
    last_load: datetime | None


def read_series(connection: Connection) -> list[SeriesFacts]:
    """Return how far each series reaches that was ever loaded, in the order of their names."""
    return [
        SeriesFacts(str(one.series), one.first, one.last, one.watermark, one.end, one.ended, one.last_load)
        for one in read_extents(connection)
    ]


def read_day(connection: Connection, series: Series, day: date, most: int = 200) -> DayAccount:
    """Return the account of one day.

    Args:
        most: How many of each sort at most.

    Raises:
        ConfigError: The series was never loaded.
    """
    series_id = find_series(connection, series)
    span = utc_day(day)
    absences = [_to_absence(one, span, series.timeframe) for one in read_absences(connection, series_id, span)]
    wanted = Wanted([series], time_range=span)
    loads = loads_within(connection, series, span)[::-1]
    refused = read_quarantine(connection, wanted, most)
    revisions = read_revisions(connection, [series], span, most)
    more = {
        "absences": max(len(absences) - most, 0),
        "refused": sum(count_quarantine(connection, wanted).values()) - len(refused),
        "revisions": count_revisions(connection, series_id, span) - len(revisions),
        "loads": max(len(loads) - most, 0),
    }
    return DayAccount(
        series=str(series),
        day=day,
        quality=read_quality(connection, series_id, span).get(day, Quality()),
        absences=absences[:most],
        refused=[_to_refusal(one) for one in refused],
        revisions=[_to_revision(one) for one in revisions],
        loads=[_to_load(one) for one in loads[:most]],
        more={name: count for name, count in more.items() if count},
    )


def _to_absence(absence: Absence, day: TimeRange, timeframe: Timeframe) -> DayAbsence:
    inside = clip(absence.span, day) or absence.span
    return DayAbsence(
        start=inside.start,
        end=inside.end,
        slots=inside.count(timeframe),
        kind=absence.kind,
        evidence=absence.evidence,
        first_seen=absence.first_seen,
        asked_at=absence.asked_at,
        probes=absence.probes,
        next_probe=absence.next_probe,
    )


def _to_refusal(row: Quarantined) -> DayRefusal:
    return DayRefusal(row.id, row.open_time, row.later_open_time, row.rule, row.evidence, row.row, row.state)


def _to_revision(revision: Revision) -> DayRevision:
    before = {name: revision.before[name] for name in _COLUMNS}
    after = None if revision.after is None else {name: revision.after[name] for name in _COLUMNS}
    return DayRevision(revision.open_time, revision.replaced_at, revision.run, before, after)


def _to_load(load: LoggedLoad) -> DayLoad:
    own, report = load.time_range, load.report
    counts = (report.rows, report.new, report.revised, report.absent, report.quarantined)
    return DayLoad(load.run, load.loaded_at, own.start, own.end, *counts)
