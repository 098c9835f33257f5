"""The way out of quarantine: a person looks at a refused row, and releases it or confirms that it is no candle.

A released row is loaded like any other, in one transaction with the decision; a later fetch that refuses it again does
not undo that. What no store can hold, or breaks another rule besides, is not released.
"""

from __future__ import annotations

import inspect as introspection
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import pyarrow as pa
from sqlalchemy import Connection

from etl.errors import ConfigError, DataQualityError
from etl.extract import Bounds
from etl.findings import Finding, Findings
from etl.loading import Incoming, put
from etl.rejudging import judge_again, name_of, never_of, not_alone
from etl.schema import AbsenceKind, empty_candles
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.validate import REFUSING, refused_slots
from etl.warehouse import (
    Absence,
    LoadReport,
    Quarantined,
    State,
    Wanted,
    decide,
    find_quarantined,
    known_series,
    leave_confirmed_alone,
    lock_series,
    log_mending,
    read_absences,
    read_candles,
    read_quarantine,
    record_verdicts,
    refresh_aggregates,
    refresh_quality,
    refused_rows,
    settle_open_time,
    with_retired,
    withdraw_doubt,
)

AROUND = 30
"""How many slots of the grid before and after a refused row are shown with it."""

_NO_SHAPE = (
    "No rule could look at the row: it is no list of values, or has too few or too many of them, or states no open "
    "time as other rows do. It can be released as the candle of its slot if its slot and values can be read; if that "
    "is one of two slots, you say which."
)


@dataclass(frozen=True, slots=True)
class Inspection:
    """A refused row, and what there is to judge it by.

    Attributes:
        reason: Why there is a rule that refuses such rows.
        never: Why it can never be a candle; empty if it can be released.
        around: What is stored from AROUND slots before its own slot to AROUND after it, or of both that it may be of.
        absences: What is absent there; of other slots without a candle no run has requested any.
    """

    row: Quarantined
    reason: str
    never: str
    around: pa.Table
    absences: Sequence[Absence]


class Reading(StrEnum):
    """Reading of a local time that the clock shows twice."""

    FIRST = "first"
    SECOND = "second"


def inspect(stores: Stores, row_id: int) -> Inspection:
    """Return all that is known of a refused row.

    Raises:
        ConfigError: There is no such row.
    """
    row = _find(stores, row_id)
    around, absences = empty_candles(), list[Absence]()
    if row.slots:
        reach = AROUND * row.series.timeframe.delta
        span = TimeRange(row.slots[0].start - reach, row.slots[-1].end + reach)
        with stores.warehouse.begin() as connection:
            series_id = known_series(connection)[row.series]
            stored = read_candles(connection, series_id, span)
            around = with_retired(
                connection, series_id, span, stored, lambda part: stores.archive.read(row.series, part)
            )
            absences = read_absences(connection, series_id, span)
    reason = next((introspection.getdoc(rule.finds) for rule in REFUSING if rule.name == row.rule), None)
    with stores.warehouse.begin() as connection:
        taken = [not_alone(stores, connection, row, slot) for slot in row.slots]
        never = never_of(row) or (taken[0] if all(taken) else "")
    return Inspection(row, reason or _NO_SHAPE, never, around, absences)


def rows_of(stores: Stores, row_ids: Sequence[int]) -> list[Quarantined]:
    """Return the refused rows of some numbers.

    Raises:
        ConfigError: There is no such row.
    """
    return [_find(stores, row_id) for row_id in row_ids]


def undecided_rows(
    stores: Stores, series: Series, within: TimeRange | None = None, of_run: str | None = None
) -> list[Quarantined]:
    """Return the open rows of a series that may be of either of two times, ascending by the first.

    Args:
        within: The range that one of their times lies in.
        of_run: The run that refused them first.

    Raises:
        ConfigError: The series was never loaded.
    """
    with stores.warehouse.begin() as connection:
        if series not in known_series(connection):
            raise ConfigError(f"never loaded: {series}; see chandler status")
        rows = read_quarantine(connection, Wanted([series], states=[State.OPEN], time_range=within))
    undecided = [row for row in rows if row.later_open_time is not None and of_run in (None, row.run)]
    return sorted(undecided, key=lambda row: (row.slots[0].start, row.id))


def release(
    stores: Stores, row_id: int, note: str | None, run: str, at: datetime | Reading | None = None
) -> LoadReport:
    """Make a refused row the candle of its slot: judged again without the rule that refused it, and loaded.

    A row that may be of either of two slots is of that one from then on, and says nothing of the other.

    Args:
        note: Why.
        run: What to call this run in the warehouse.
        at: When it opens, or which of its readings is right, for a row that may be of either of two slots.

    Returns:
        What the load changed: a candle that is new, or one that is revised.

    Raises:
        ConfigError: There is no such row, it was released already, or `at` is missing or no time that it may state.
        DataQualityError: It cannot be a candle, or another rule refuses it too; or it is off the grid or torn, and not
            all that came for its slot.
        StoreError: A store refuses or went away; nothing is decided.
    """
    row = _find(stores, row_id)
    if row.state is State.RELEASED:
        raise ConfigError(f"{name_of(row)} {_decision(row)}")
    if why := never_of(row):
        raise DataQualityError(f"{name_of(row)} can never be a candle: {why}")
    slot = _slot_at(row, at)
    partition = Partition(row.series, slot)
    candles = judge_again(stores, row, partition)

    def decided(connection: Connection) -> None:
        if not decide(connection, row.id, row.state, State.RELEASED, note):
            raise ConfigError(f"{name_of(row)} was decided by somebody else just now; look at it again")
        if why := not_alone(stores, connection, row, slot, candles):
            raise DataQualityError(f"{name_of(row)} cannot be the candle of its slot: {why}")
        if len(row.slots) > 1:
            settle_open_time(connection, row.id, slot.start)
            _account_without(stores, connection, row, slot, run)

    report = put(
        stores, partition, Incoming(candles, (), Bounds(), row.refused_at), run, is_history=True, first=decided
    )
    refresh_aggregates(stores.warehouse)
    return report


def confirm(stores: Stores, row_id: int, note: str | None) -> None:
    """Record that a refusal stands: no exchange is asked again for a candle in its place.

    Args:
        note: Why.

    Raises:
        ConfigError: There is no such row, or it was decided already.
    """
    row = _find(stores, row_id)
    if row.state is not State.OPEN:
        raise ConfigError(f"{name_of(row)} {_decision(row)}")
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[row.series]
        lock_series(connection, series_id)
        if not decide(connection, row.id, State.OPEN, State.CONFIRMED, note):
            raise ConfigError(f"{name_of(row)} was decided by somebody else just now; look at it again")
        for slot in row.slots:
            leave_confirmed_alone(connection, series_id, row.series.timeframe, slot)


def _find(stores: Stores, row_id: int) -> Quarantined:
    with stores.warehouse.begin() as connection:
        row = find_quarantined(connection, row_id)
    if row is None:
        raise ConfigError(f"no row {row_id} in quarantine; see chandler quarantine list")
    return row


def _slot_at(row: Quarantined, at: datetime | Reading | None) -> TimeRange:
    """Return the slot that a row is released for."""
    if isinstance(at, Reading):
        return row.slots[0] if at is Reading.FIRST else row.slots[-1]
    possible = [slot for slot in row.slots if at is None or slot.start <= at < slot.end]
    times = " or ".join(f"{slot.start:%Y-%m-%dT%H:%M}" for slot in row.slots)
    if len(possible) > 1:
        raise ConfigError(
            f"{name_of(row)} may be the candle of either time, and nothing tells which; say when it opens, in UTC: "
            f"--first, --second, or --at {times}"
        )
    if not possible:
        raise ConfigError(f"{name_of(row)} is no candle of {at:%Y-%m-%d %H:%M}; it opens at {times} (UTC)")
    return possible[0]


def _account_without(stores: Stores, connection: Connection, row: Quarantined, slot: TimeRange, run: str) -> None:
    """Let the slot that a row is not of, after all, be absent for what else is known.

    What a load has vouched for is to be judged; what no file and no exchange has said anything else of was never
    requested.
    """
    series, timeframe = row.series, row.series.timeframe
    series_id = known_series(connection)[series]
    for other in row.slots:
        if other == slot or refused_slots(refused_rows(connection, series_id, other), timeframe):
            continue
        if all(one.kind is not AbsenceKind.REFUSED for one in read_absences(connection, series_id, other)):
            continue
        evidence = f"row {row.id} of quarantine, which could be of it, is the candle of {slot.start:%Y-%m-%d %H:%M}"
        if withdraw_doubt(connection, series_id, timeframe, other, f"{evidence}, and no run has requested it"):
            continue
        pending = Findings.of([Finding(other, AbsenceKind.PENDING, f"{evidence}; not judged yet")])
        record_verdicts(connection, series_id, timeframe, pending, stores.settings.settle_of(series), run)
        log_mending(connection, series_id, other, run)
        refresh_quality(connection, series_id, timeframe, other)


def _decision(row: Quarantined) -> str:
    when = "" if row.decided_at is None else f" at {row.decided_at:%Y-%m-%d %H:%M}"
    why = f" ({row.note})" if row.note else ""
    if row.state is State.RELEASED:
        return f"was released{when}{why}; it is a candle now, and that is final"
    return f"was confirmed{when}{why}; if it is a candle after all, release it"
