"""State of a range and of the days around it for a load, read in one statement: it is needed whole, and often."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
import pyarrow as pa
from numpy.typing import NDArray
from psycopg import sql

from etl.schema import CANDLE_COLUMNS, from_columns
from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.warehouse.absences import Absence, to_absence
from etl.warehouse.checkpoints import Checkpoint, to_checkpoint
from etl.warehouse.copying import COUNTED_COLUMNS, arrays_of, raw, read_arrays

# Rows as JSON, of which there are few: to send a statement for each kind costs more than to read them so.
_ACCOUNTS = """
SELECT json_build_array(
    (SELECT json_agg(json_build_array(
        lower(span), upper(span), kind, evidence, first_seen, asked_at, probes, next_probe) ORDER BY span)
     FROM absences
     WHERE series_id = %(series_id)s AND span && tstzrange(%(first_day)s, %(end_day)s, '[]')),
    -- They never overlap, so from the last that begins before the days to the first that begins after them.
    (SELECT json_agg(json_build_array(
        range_start, range_end, rows, absent, quarantined, value_hash, archive_files, run, loaded_at, is_retired,
        asked_at) ORDER BY range_start)
     FROM checkpoints WHERE series_id = %(series_id)s
       AND range_start >= coalesce((SELECT max(range_start) FROM checkpoints
                                    WHERE series_id = %(series_id)s AND range_start < %(first_day)s), %(first_day)s)
       AND range_start <= coalesce((SELECT min(range_start) FROM checkpoints
                                    WHERE series_id = %(series_id)s AND range_start >= %(end_day)s), %(end_day)s)),
    -- Of a revision there is no rule.
    (SELECT json_agg(json_build_array(day, rule, count)) FROM (
        SELECT CAST(open_time AT TIME ZONE 'UTC' AS date) AS day, rule, count(*) AS count FROM (
            SELECT open_time, rule FROM quarantine WHERE series_id = %(series_id)s
              AND open_time >= %(first_day)s AND open_time < %(end_day)s AND state <> 'released'
            UNION ALL SELECT open_time, NULL FROM candle_revisions
            WHERE series_id = %(series_id)s AND open_time >= %(first_day)s AND open_time < %(end_day)s
        ) counted GROUP BY day, rule ORDER BY day, rule
    ) counts),
    -- Its times may lie on two days, or the days between them.
    EXISTS (SELECT FROM quarantine WHERE series_id = %(series_id)s AND state <> 'released'
            AND later_open_time >= %(first_day)s AND open_time < %(end_day)s)
)
"""
_REST = """
SELECT {arrays} FROM (
    SELECT {names} FROM candles
    WHERE series_id = %(series_id)s AND open_time >= %(first_day)s AND open_time < %(start)s
    UNION ALL SELECT {names} FROM candles
    WHERE series_id = %(series_id)s AND open_time >= %(end)s AND open_time < %(end_day)s
) unordered
"""
_COUNTED = [sql.Identifier(column.name) for column in COUNTED_COLUMNS]
_AROUND = (
    sql.SQL("SELECT * FROM ({}) candles, ({}) rest, ({}) accounts")
    .format(
        arrays_of(CANDLE_COLUMNS),
        sql.SQL(_REST).format(
            arrays=sql.SQL(", ").join(sql.SQL("array_agg({})").format(name) for name in _COUNTED),
            names=sql.SQL(", ").join(_COUNTED),
        ),
        sql.SQL(_ACCOUNTS),
    )
    .as_bytes()
)


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
        is_undecided: Whether there may be refused rows of the days that do not tell which of two slots they are of.
    """

    days: TimeRange
    absences: Sequence[Absence]
    checkpoints: Sequence[Checkpoint]
    covered: Sequence[TimeRange]
    refused: Mapping[date, Mapping[str, int]]
    revisions: Mapping[date, int]
    is_undecided: bool


def days_of(time_range: TimeRange) -> TimeRange:
    """Return the days that `time_range` touches, whole."""
    return TimeRange(Timeframe.D1.floor(time_range.start), Timeframe.D1.ceil(time_range.end))


@dataclass(frozen=True, slots=True)
class Around:
    """Stored candles of a range, and the accounts of the days that it touches.

    Attributes:
        candles: Of the range: CANDLE_SCHEMA, ascending by open_time.
        rest: COUNTED_COLUMNS of the candles of the rest of the days: as `to_columns`, ascending by open_time.
        accounts: Of the days.
    """

    candles: pa.Table
    rest: Mapping[str, NDArray[Any]]
    accounts: Accounts


def ask_around(driver: psycopg.Connection[Any], series_id: int, time_range: TimeRange) -> Callable[[], Around]:
    """Ask for what is stored in a range and known of its days; it may be in a pipeline.

    Args:
        time_range: Of a million candles at most.

    Returns:
        What gives the answer, once the pipeline is closed.
    """
    days = days_of(time_range)
    answer = driver.cursor(binary=True)
    answer.execute(_AROUND, {"start": time_range.start, "end": time_range.end, **_bounds(series_id, days)})

    def around() -> Around:
        candles = read_arrays(answer, CANDLE_COLUMNS)
        rest = read_arrays(answer, COUNTED_COLUMNS, first=len(CANDLE_COLUMNS))
        said = json.loads(raw(answer, len(CANDLE_COLUMNS) + len(COUNTED_COLUMNS)) or b"")
        return Around(from_columns(candles), rest, _to_accounts(days, *said))

    return around


def read_accounts(driver: psycopg.Connection[Any], series_id: int, days: TimeRange) -> Accounts:
    """Return the account of some days."""
    answer = driver.cursor(binary=True).execute(_ACCOUNTS.encode(), _bounds(series_id, days))
    return _to_accounts(days, *json.loads(raw(answer, 0) or b""))


def _bounds(series_id: int, days: TimeRange) -> dict[str, Any]:
    return {"series_id": series_id, "first_day": days.start, "end_day": days.end}


def _to_accounts(
    days: TimeRange,
    absences: list[list[Any]] | None,
    checkpoints: list[list[Any]] | None,
    counts: list[list[Any]] | None,
    is_undecided: bool,
) -> Accounts:
    refused: dict[date, dict[str, int]] = {}
    revisions: dict[date, int] = {}
    for day, rule, count in counts or ():
        if rule is None:
            revisions[date.fromisoformat(day)] = count
        else:
            refused.setdefault(date.fromisoformat(day), {})[rule] = count
    known = [
        to_checkpoint(*map(datetime.fromisoformat, (start, end)), *rest, _moment(at), is_retired, _moment(asked))
        for start, end, *rest, at, is_retired, asked in checkpoints or ()
    ]
    return Accounts(
        days=days,
        absences=[_to_absence(*row) for row in absences or ()],
        checkpoints=known,
        covered=[one.time_range for one in known],
        refused=refused,
        revisions=revisions,
        is_undecided=is_undecided,
    )


def _to_absence(
    lower: str | None,
    upper: str | None,
    kind: str,
    evidence: str,
    seen: str | None,
    asked: str | None,
    probes: int,
    due: str | None,
) -> Absence:
    return to_absence(
        _moment(lower), _moment(upper), kind, evidence, _moment(seen), _moment(asked), probes, _moment(due)
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
