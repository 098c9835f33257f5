"""Coverage of each day of each series, in a letter a day: a picture of years at a glance."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.schema import AbsenceKind
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from etl.warehouse import About, DayCounts, DayRemark, days_of, known_series, read_day_counts, read_day_remarks

UNKNOWN, STORED = ".", "s"
GRAVITY = {
    AbsenceKind.UNFETCHED: "u",
    AbsenceKind.REFUSED: "e",
    AbsenceKind.PENDING: "p",
    AbsenceKind.NOT_REQUESTED: "q",
    AbsenceKind.BEYOND_RETENTION: "b",
    AbsenceKind.OUTAGE: "o",
    AbsenceKind.HALTED: "h",
    AbsenceKind.NO_TRADES: "n",
    AbsenceKind.NOT_LISTED: "l",
    AbsenceKind.DELISTED: "d",
}
"""The letter of each kind, the gravest first: what somebody may have to do something about."""


@dataclass(frozen=True, slots=True)
class SeriesCoverage:
    """The days of one series. Mappings are by the day's number from the first, as text; days of zero are left out.

    Attributes:
        series: Its text.
        per_day: How many candles a whole day has.
        states: A letter a day: UNKNOWN, STORED if all that is expected is, or the letter of the gravest absence.
        missing: Absent candles by kind.
        partial: How many candles are expected so far, of days that are accounted for in part.
        refused: Rows in quarantine.
        revised: Values that were replaced.
        flagged: Candles, by rule and added up.
    """

    series: str
    per_day: int
    states: str
    missing: dict[str, Mapping[str, int]] = field(default_factory=dict)
    partial: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    revised: dict[str, int] = field(default_factory=dict)
    flagged: dict[str, int] = field(default_factory=dict)


def read_coverage(
    connection: Connection, days: TimeRange, series: Collection[Series] | None = None
) -> list[SeriesCoverage]:
    """Return what is held of each day, in the order of the series' names.

    Args:
        days: Every day that it touches, whole.
        series: Which; those that were never loaded are left out. All that were, without.
    """
    days = days_of(days)
    known = known_series(connection)
    wanted = {one: series_id for one, series_id in known.items() if series is None or one in series}
    ids = list(wanted.values())
    counts = read_day_counts(connection, ids, days)
    remarks: dict[int, list[DayRemark]] = {series_id: [] for series_id in ids}
    for remark in read_day_remarks(connection, ids, days):
        remarks[remark.series_id].append(remark)
    n_days = days.count(Timeframe.D1)
    return [_cover(one, n_days, counts.get(number), remarks[number]) for one, number in wanted.items()]


def _cover(series: Series, n_days: int, counts: DayCounts | None, remarks: Sequence[DayRemark]) -> SeriesCoverage:
    per_day = Timeframe.D1.ms // series.timeframe.ms
    states = np.full(n_days, ord(UNKNOWN), dtype=np.uint8)
    cover = SeriesCoverage(str(series), per_day, "")
    if counts is not None:
        states[counts.number[counts.expected > 0]] = ord(STORED)
        is_part = (counts.expected > 0) & (counts.expected < per_day)
        cover.partial.update(_by_day(counts.number[is_part], counts.expected[is_part]))
        is_revised = counts.revisions > 0
        cover.revised.update(_by_day(counts.number[is_revised], counts.revisions[is_revised]))
    for one in remarks:
        days = map(str, one.numbers)
        if one.about is About.ABSENT:
            cover.missing.update(dict.fromkeys(days, _read(one.counts)))
            states[list(one.numbers)] = ord(_gravest(one.counts))
        else:
            sums = cover.refused if one.about is About.REFUSED else cover.flagged
            sums.update(dict.fromkeys(days, sum(_read(one.counts).values())))
    return replace(cover, states=states.tobytes().decode())


def _by_day(numbers: NDArray[np.int64], counts: NDArray[np.int64]) -> dict[str, int]:
    return dict(zip(map(str, numbers.tolist()), counts.tolist(), strict=True))


@lru_cache(maxsize=10_000)
def _read(counts: str) -> Mapping[str, int]:
    read: dict[str, int] = orjson.loads(counts)
    return read


@lru_cache(maxsize=10_000)
def _gravest(counts: str) -> str:
    return next(letter for kind, letter in GRAVITY.items() if kind in _read(counts))
