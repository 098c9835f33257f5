"""The quality report: what of each day or month is held, absent, refused and flagged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum

from etl.series import Series, TimeRange
from etl.warehouse import Quality, Warehouse, count_undated, known_series, read_quality

COLUMNS = ("series", "when", "expected", "stored", "absent", "refused", "flagged", "unjudged", "revisions")
NUMBERS = frozenset({"expected", "stored", "unjudged", "revisions"})


class Period(StrEnum):
    """Period of a line of the report."""

    DAY = "day"
    MONTH = "month"
    ALL = "all"

    def of(self, day: date) -> str:
        """Return what to call the line that a day belongs to."""
        return {Period.DAY: f"{day:%Y-%m-%d}", Period.MONTH: f"{day:%Y-%m}", Period.ALL: "all"}[self]


@dataclass(frozen=True, slots=True)
class SeriesQuality:
    """The quality of one series.

    Attributes:
        periods: By day or month, ascending.
        whole: All of them together.
        undated: How many refused rows that state no time there are, by rule: they are of no period, and in no sum.
    """

    series: Series
    periods: Mapping[str, Quality]
    whole: Quality
    undated: Mapping[str, int] = field(default_factory=dict)


def report_quality(
    warehouse: Warehouse,
    only: Collection[Series] = (),
    within: TimeRange | None = None,
    by: Period = Period.DAY,
) -> list[SeriesQuality]:
    """Return the quality of each series, in the order of their names.

    Args:
        only: Which series; all that were ever loaded, without.
        within: Every day that it touches is counted, whole; all days, without.
        by: What is counted together.
    """
    with warehouse.begin() as connection:
        return [
            replace(
                _summed(series, read_quality(connection, series_id, within), by),
                undated=count_undated(connection, series_id),
            )
            for series, series_id in known_series(connection).items()
            if not only or series in only
        ]


def quality_lines(reports: Sequence[SeriesQuality]) -> list[str]:
    """Return the report as plain text, aligned: a heading, a line for each period, and sums."""
    rows = [COLUMNS, *(cells for cells, _ in quality_rows(reports))]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    return ["  ".join(_aligned(row, widths)).rstrip() for row in rows]


def quality_rows(reports: Sequence[SeriesQuality]) -> Iterator[tuple[tuple[str, ...], Quality]]:
    """Yield the cells of each line, by COLUMNS, and the quality that they tell of: periods, and sums of several."""
    for report in reports:
        for when, quality in report.periods.items():
            yield _cells(str(report.series), when, quality), quality
        if len(report.periods) > 1:
            yield _cells(str(report.series), "sum", report.whole), report.whole
    if len(reports) > 1:
        whole = _sum(report.whole for report in reports)
        yield _cells("all", "sum", whole), whole


def undated_lines(reports: Iterable[SeriesQuality]) -> Iterator[str]:
    """Yield what is to be said of rows that the report does not count, whatever range it is of: they state no time."""
    for report in reports:
        if report.undated:
            said = f"besides, refused rows that state no time, and are of no day: {by_name(report.undated)}"
            yield f"{report.series}: {said}; see chandler quarantine list {report.series}"


def by_name(counts: Mapping[str, int]) -> str:
    """Return `120 outage, 3 refused`, or 0."""
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "0"


def _summed(series: Series, days: Mapping[date, Quality], by: Period) -> SeriesQuality:
    periods: dict[str, Quality] = {}
    for day, quality in days.items():
        periods.setdefault(by.of(day), Quality()).add(quality)
    return SeriesQuality(series, periods, _sum(days.values()))


def _sum(qualities: Iterable[Quality]) -> Quality:
    whole = Quality()
    for quality in qualities:
        whole.add(quality)
    return whole


def _cells(series: str, when: str, quality: Quality) -> tuple[str, ...]:
    by_kind, by_rule, by_flag = (by_name(each) for each in (quality.absent, quality.refused, quality.flagged))
    return (
        *(series, when, f"{quality.expected:,}", f"{quality.stored:,}"),
        *(by_kind, by_rule, by_flag, f"{quality.unjudged:,}", f"{quality.revisions:,}"),
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for name, cell, width in zip(COLUMNS, row, widths, strict=True):
        yield cell.rjust(width) if name in NUMBERS else cell.ljust(width)
