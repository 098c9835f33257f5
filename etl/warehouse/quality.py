"""The quality of each day of a series: a row a day, written in the transaction of whatever changes the day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Date, cast, delete, func, insert, select

from etl.schema import RULE_FLAGS, AbsenceKind, Flag
from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.warehouse import tables
from etl.warehouse.absences import read_absences
from etl.warehouse.checkpoints import covered_ranges
from etl.warehouse.overlay import clip

_RULES = [flag for flag in Flag if flag in RULE_FLAGS]


@dataclass(slots=True)
class Quality:
    """What is known of the candles that open within a day or more.

    Attributes:
        expected: Candles that are accounted for: `stored + sum(absent)`.
        absent: By kind.
        refused: Rows in quarantine, by rule; those that were released are not among them.
        flagged: Candles by rule; one may be flagged by several.
        revisions: Values that were replaced.
    """

    expected: int = 0
    stored: int = 0
    absent: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    flagged: dict[str, int] = field(default_factory=dict)
    revisions: int = 0

    def add(self, other: Quality) -> None:
        """Count `other` in."""
        self.expected += other.expected
        self.stored += other.stored
        self.revisions += other.revisions
        for mine, theirs in ((self.absent, other.absent), (self.refused, other.refused), (self.flagged, other.flagged)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count


def read_quality(connection: Connection, series_id: int, time_range: TimeRange | None = None) -> dict[date, Quality]:
    """Return the quality of each day that anything is known of, ascending.

    Args:
        time_range: Which days: all that it touches; without, all there are.
    """
    own = tables.quality.c
    query = select(own.day, own.expected, own.stored, own.absent, own.refused, own.flagged, own.revisions)
    query = query.where(own.series_id == series_id).order_by(own.day)
    if time_range is not None:
        days = _days(time_range)
        query = query.where(own.day >= days.start.date(), own.day < days.end.date())
    return {day: Quality(*rest) for day, *rest in connection.execute(query)}


def refresh_quality(connection: Connection, series_id: int, timeframe: Timeframe, time_range: TimeRange) -> None:
    """Count anew each day that `time_range` touches."""
    days = _days(time_range)
    own = tables.quality
    connection.execute(
        delete(own).where(own.c.series_id == series_id, own.c.day >= days.start.date(), own.c.day < days.end.date())
    )
    counted = count_quality(connection, series_id, timeframe, days)
    if counted:
        rows = [{"series_id": series_id, "day": day, **asdict(quality)} for day, quality in counted.items()]
        connection.execute(insert(own), rows)


def count_quality(
    connection: Connection, series_id: int, timeframe: Timeframe, time_range: TimeRange
) -> dict[date, Quality]:
    """Count the quality of each day that `time_range` touches, from the candles and the accounts of them."""
    days = _days(time_range)
    counted: defaultdict[date, Quality] = defaultdict(Quality)
    _count_candles(connection, series_id, days, counted)
    for absence in read_absences(connection, series_id, days):
        for day, slots in _slots_by_day(absence.span, days, timeframe).items():
            kinds = counted[day].absent
            kinds[absence.kind] = kinds.get(absence.kind, 0) + slots
            if absence.kind is AbsenceKind.UNFETCHED:
                counted[day].expected += slots
    for span in covered_ranges(connection, series_id):
        for day, slots in _slots_by_day(span, days, timeframe).items():
            counted[day].expected += slots
    _count_refused(connection, series_id, days, counted)
    return dict(sorted(counted.items()))


def _count_candles(
    connection: Connection, series_id: int, days: TimeRange, counted: defaultdict[date, Quality]
) -> None:
    own = tables.candles.c
    day = _day_of(own.open_time)
    flagged = [func.count().filter(own.flags.op("&")(int(flag)) != 0) for flag in _RULES]
    query = select(day, func.count(), *flagged).where(own.series_id == series_id, *_within(own.open_time, days))
    for at, stored, *counts in connection.execute(query.group_by(day)):
        counted[at].stored = stored
        named = zip(_RULES, counts, strict=True)
        counted[at].flagged = {(flag.name or "").lower(): count for flag, count in named if count}
    revised = tables.candle_revisions.c
    day = _day_of(revised.open_time)
    replaced = select(day, func.count()).where(revised.series_id == series_id, *_within(revised.open_time, days))
    for at, revisions in connection.execute(replaced.group_by(day)):
        counted[at].revisions = revisions


def _count_refused(
    connection: Connection, series_id: int, days: TimeRange, counted: defaultdict[date, Quality]
) -> None:
    own = tables.quarantine.c
    day = _day_of(own.open_time)
    query = select(day, own.rule, func.count()).where(
        own.series_id == series_id, own.state != "released", *_within(own.open_time, days)
    )
    for at, rule, count in connection.execute(query.group_by(day, own.rule).order_by(day, own.rule)):
        counted[at].refused[rule] = count


def _slots_by_day(span: TimeRange, days: TimeRange, timeframe: Timeframe) -> Mapping[date, int]:
    inside = clip(span, days)
    if inside is None:
        return {}
    return {
        day.start.date(): piece.count(timeframe)
        for day in _days(inside).windows(Timeframe.D1.ms)
        if (piece := clip(inside, day)) is not None
    }


def _days(time_range: TimeRange) -> TimeRange:
    return TimeRange(Timeframe.D1.floor(time_range.start), Timeframe.D1.ceil(time_range.end))


def _day_of(moment: Column[Any]) -> ColumnElement[date]:
    return cast(func.timezone("UTC", moment), Date)


def _within(moment: Column[Any], days: TimeRange) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return moment >= days.start, moment < days.end
