"""What the warehouse says of some days besides their candles, read in one round trip: it is needed whole, and often."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg

from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.warehouse.absences import Absence, to_absence
from etl.warehouse.checkpoints import Checkpoint, to_checkpoint

_ABSENCES = """
SELECT span, kind, evidence, first_seen, asked_at, probes, next_probe FROM absences
WHERE series_id = %(series_id)s AND span && tstzrange(%(start)s, %(end)s, '[]') ORDER BY span
"""
# They never overlap, so from the last that begins before the days to the first that begins after them.
_CHECKPOINTS = """
SELECT range_start, range_end, rows, absent, quarantined, value_hash, archive_files, run, loaded_at, is_retired
FROM checkpoints WHERE series_id = %(series_id)s
  AND range_start >= coalesce((SELECT max(range_start) FROM checkpoints
                               WHERE series_id = %(series_id)s AND range_start < %(start)s), %(start)s)
  AND range_start <= coalesce((SELECT min(range_start) FROM checkpoints
                               WHERE series_id = %(series_id)s AND range_start >= %(end)s), %(end)s)
ORDER BY range_start
"""
# Of a revision there is no rule.
_COUNTS = """
SELECT CAST(open_time AT TIME ZONE 'UTC' AS date) AS day, rule, count(*) FROM (
    SELECT open_time, rule FROM quarantine
    WHERE series_id = %(series_id)s AND open_time >= %(start)s AND open_time < %(end)s AND state <> 'released'
    UNION ALL SELECT open_time, NULL FROM candle_revisions
    WHERE series_id = %(series_id)s AND open_time >= %(start)s AND open_time < %(end)s
) counted GROUP BY day, rule ORDER BY day, rule
"""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The account of some days.

    Attributes:
        days: Whole ones, UTC.
        absences: Those that overlap or touch the days, whole, ascending.
        checkpoints: Those that overlap the days, the last before and the first after them, ascending.
        covered: What they hold, ascending.
        refused: How many rows each rule has refused, by day; those that were released are left out.
        revisions: How many values were replaced, by day.
    """

    days: TimeRange
    absences: Sequence[Absence]
    checkpoints: Sequence[Checkpoint]
    covered: Sequence[TimeRange]
    refused: Mapping[date, Mapping[str, int]]
    revisions: Mapping[date, int]


def days_of(time_range: TimeRange) -> TimeRange:
    """Return the days that `time_range` touches, whole."""
    return TimeRange(Timeframe.D1.floor(time_range.start), Timeframe.D1.ceil(time_range.end))


def read_accounts(driver: psycopg.Connection[Any], series_id: int, days: TimeRange) -> Accounts:
    """Return the account of some days."""
    with driver.pipeline():
        answer = ask_for_accounts(driver, series_id, days)
    return answer()


def ask_for_accounts(driver: psycopg.Connection[Any], series_id: int, days: TimeRange) -> Callable[[], Accounts]:
    """Ask for the account of some days, in a pipeline that the caller has opened.

    Returns:
        What gives the answer once the pipeline is closed.
    """
    bounds = {"series_id": series_id, "start": days.start, "end": days.end}
    absences, checkpoints, counts = (driver.execute(query, bounds) for query in (_ABSENCES, _CHECKPOINTS, _COUNTS))

    def answer() -> Accounts:
        refused: dict[date, dict[str, int]] = {}
        revisions: dict[date, int] = {}
        for day, rule, count in counts:
            if rule is None:
                revisions[day] = count
            else:
                refused.setdefault(day, {})[rule] = count
        known = [to_checkpoint(*row) for row in checkpoints]
        return Accounts(
            days=days,
            absences=[to_absence(*row) for row in absences],
            checkpoints=known,
            covered=[one.time_range for one in known],
            refused=refused,
            revisions=revisions,
        )

    return answer
