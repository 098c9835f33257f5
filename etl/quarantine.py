"""The way out of quarantine: a person looks at a refused row, and releases it or confirms that it is no candle.

A released row is loaded like any other, in one transaction with the decision; a later fetch that refuses it again does
not undo that. What no store can hold, or breaks another rule besides, is not released.
"""

from __future__ import annotations

import inspect as introspection
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection

from etl.errors import ConfigError, DataQualityError
from etl.exchanges import FILE_LAYOUT
from etl.extract import Bounds
from etl.findings import Finding, Findings
from etl.loading import Incoming, put
from etl.schema import AbsenceKind, Flag, empty_candles, from_columns, to_columns
from etl.series import TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.validate import OFF_GRID, REFUSING, ReceivedRows, clean, refused_slots
from etl.validate.numbers import to_floats
from etl.validate.rules import REQUIRED, SHAPE
from etl.warehouse import (
    LoadReport,
    Quarantined,
    State,
    decide,
    find_quarantined,
    known_series,
    leave_confirmed_alone,
    lock_series,
    log_mending,
    read_absences,
    read_candles,
    read_slot,
    record_verdicts,
    refresh_aggregates,
    refresh_quality,
    refused_rows,
    settle_open_time,
    with_retired,
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
    """

    row: Quarantined
    reason: str
    never: str
    around: pa.Table


def inspect(stores: Stores, row_id: int) -> Inspection:
    """Return all that is known of a refused row.

    Raises:
        ConfigError: There is no such row.
    """
    row = _find(stores, row_id)
    around = empty_candles()
    if row.slots:
        reach = AROUND * row.series.timeframe.delta
        span = TimeRange(row.slots[0].start - reach, row.slots[-1].end + reach)
        with stores.warehouse.begin() as connection:
            series_id = known_series(connection)[row.series]
            stored = read_candles(connection, series_id, span)
            around = with_retired(
                connection, series_id, span, stored, lambda part: stores.archive.read(row.series, part)
            )
    reason = next((introspection.getdoc(rule.finds) for rule in REFUSING if rule.name == row.rule), None)
    with stores.warehouse.begin() as connection:
        taken = [_not_alone(stores, connection, row, slot) for slot in row.slots]
        never = _never(row) or (taken[0] if all(taken) else "")
    return Inspection(row, reason or _NO_SHAPE, never, around)


def release(stores: Stores, row_id: int, note: str | None, run: str, at: datetime | None = None) -> LoadReport:
    """Make a refused row the candle of its slot: judged again without the rule that refused it, and loaded.

    A row that may be of either of two slots is of that one from then on, and says nothing of the other.

    Args:
        note: Why.
        run: What to call this run in the warehouse.
        at: When it opens, for a row that may be of either of two slots.

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
        raise ConfigError(f"{_name(row)} {_decision(row)}")
    if why := _never(row):
        raise DataQualityError(f"{_name(row)} can never be a candle: {why}")
    slot = _slot_at(row, at)
    partition = Partition(row.series, slot)
    candles = _judge_again(stores, row, partition)

    def decided(connection: Connection) -> None:
        if not decide(connection, row.id, row.state, State.RELEASED, note):
            raise ConfigError(f"{_name(row)} was decided by somebody else just now; look at it again")
        if why := _not_alone(stores, connection, row, slot):
            raise DataQualityError(f"{_name(row)} cannot be the candle of its slot: {why}")
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
        raise ConfigError(f"{_name(row)} {_decision(row)}")
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[row.series]
        lock_series(connection, series_id)
        if not decide(connection, row.id, State.OPEN, State.CONFIRMED, note):
            raise ConfigError(f"{_name(row)} was decided by somebody else just now; look at it again")
        for slot in row.slots:
            leave_confirmed_alone(connection, series_id, row.series.timeframe, slot)


def _find(stores: Stores, row_id: int) -> Quarantined:
    with stores.warehouse.begin() as connection:
        row = find_quarantined(connection, row_id)
    if row is None:
        raise ConfigError(f"no row {row_id} in quarantine; see chandler quarantine list")
    return row


def _never(row: Quarantined) -> str:
    if row.open_time is None:
        return "it does not say which candle it is"
    if row.rule == SHAPE:
        cells = None if row.cells is None else [row.cells.get(name) for name in REQUIRED]
        if cells is None:
            return "nothing tells which of its values is which"
        if not np.isfinite(to_floats(cells)[0]).all():
            return "a value that it needs is missing, or is no number"
    return next((rule.never for rule in REFUSING if rule.name == row.rule), "")


def _not_alone(stores: Stores, connection: Connection, row: Quarantined, slot: TimeRange) -> str:
    """Return what else came for the slot of a row that is not of its slot for sure; empty if nothing did."""
    if row.rule not in {OFF_GRID, SHAPE}:
        return ""
    series_id = known_series(connection)[row.series]
    stored = read_candles(connection, series_id, slot)
    held = with_retired(connection, series_id, slot, stored, lambda part: stores.archive.read(row.series, part))
    if held.num_rows:
        return f"the candle of {slot.start:%Y-%m-%d %H:%M} is stored"
    others = [one for one in read_slot(connection, row, slot) if not _says_the_same(one, row)]
    if others:
        return f"row {others[0].id} is of the same slot"
    return ""


def _says_the_same(one: Quarantined, other: Quarantined) -> bool:
    """Return whether two rows are one that came twice, perhaps with its values written otherwise."""
    if one.open_time != other.open_time or one.cells is None or other.cells is None:
        return False
    return _numbers(one.cells) == _numbers(other.cells)


def _numbers(cells: Mapping[str, Any]) -> dict[str, Any]:
    numbers, is_bad = to_floats(list(cells.values()))
    is_number = ~(is_bad | np.isnan(numbers))
    return {
        name: float(number) if is_one else cell
        for (name, cell), number, is_one in zip(cells.items(), numbers, is_number, strict=True)
    }


def _slot_at(row: Quarantined, at: datetime | None) -> TimeRange:
    """Return the slot that a row is released for."""
    possible = [slot for slot in row.slots if at is None or slot.start <= at < slot.end]
    times = " or ".join(f"{slot.start:%Y-%m-%dT%H:%M}" for slot in row.slots)
    if len(possible) > 1:
        raise ConfigError(
            f"{_name(row)} may be the candle of either time, and nothing tells which; say when it opens, in UTC: "
            f"--at {times}"
        )
    if not possible:
        raise ConfigError(f"{_name(row)} is no candle of {at:%Y-%m-%d %H:%M}; it opens at {times} (UTC)")
    return possible[0]


def _account_without(stores: Stores, connection: Connection, row: Quarantined, slot: TimeRange, run: str) -> None:
    """Let the slot that a row is not of, after all, be absent for what else is known; it is to be judged."""
    series, timeframe = row.series, row.series.timeframe
    series_id = known_series(connection)[series]
    for other in row.slots:
        if other == slot or refused_slots(refused_rows(connection, series_id, other), timeframe):
            continue
        if all(one.kind is not AbsenceKind.REFUSED for one in read_absences(connection, series_id, other)):
            continue
        evidence = f"row {row.id} of quarantine, which could be of it, is the candle of {slot.start:%Y-%m-%d %H:%M}"
        pending = Findings.of([Finding(other, AbsenceKind.PENDING, f"{evidence}; not judged yet")])
        record_verdicts(connection, series_id, timeframe, pending, stores.settings.settle_of(series), run)
        log_mending(connection, series_id, other, run)
        refresh_quality(connection, series_id, timeframe, other)


def _judge_again(stores: Stores, row: Quarantined, partition: Partition) -> pa.Table:
    """Return the row as a candle that is flagged as released."""
    if row.cells is None:
        start, end = (f"{bound:%Y-%m-%dT%H:%M}" for bound in (partition.time_range.start, partition.time_range.end))
        raise DataQualityError(
            f"{_name(row)} was refused by an earlier version, which did not keep what each value is; fetch it again "
            f"first: chandler ingest {row.series} --start {start} --end {end} --again"
        )
    cells: list[Any] = [None] * len(FILE_LAYOUT.columns)
    for name, place in FILE_LAYOUT.columns.items():
        cells[place] = row.cells.get(name)
    cells[FILE_LAYOUT.columns["open_time"]] = partition.time_range.start_ms
    # Else it would have been refused for that.
    had_closed = max(to_ms(row.refused_at), partition.time_range.end_ms)
    received = ReceivedRows([cells], had_closed, FILE_LAYOUT, row.origin)
    rules = stores.settings.rules_of(row.series.exchange)
    cleaned = clean([received], row.series, partition.time_range, rules, waived=row.rule)
    for refused in cleaned.refused:
        raise DataQualityError(f"{_name(row)} is refused by {refused.rule} too: {refused.evidence}")
    columns = to_columns(cleaned.candles)
    if (columns["high"] < columns["low"]).any():
        raise DataQualityError(f"{_name(row)} can never be a candle: its high is below its low, which no store holds")
    return from_columns({**columns, "flags": columns["flags"] | np.int16(Flag.RELEASED)})


def _name(row: Quarantined) -> str:
    times = " or ".join(f"{at:%Y-%m-%d %H:%M}" for at in (row.open_time, row.later_open_time) if at is not None)
    return f"row {row.id} of {row.series}" + (f" {times}" if times else "")


def _decision(row: Quarantined) -> str:
    when = "" if row.decided_at is None else f" at {row.decided_at:%Y-%m-%d %H:%M}"
    why = f" ({row.note})" if row.note else ""
    if row.state is State.RELEASED:
        return f"was released{when}{why}; it is a candle now, and that is final"
    return f"was confirmed{when}{why}; if it is a candle after all, release it"
