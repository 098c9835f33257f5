"""A refused row judged again: whether it can be the candle of a slot, and what stands against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection

from etl.errors import DataQualityError
from etl.exchanges import FILE_LAYOUT
from etl.schema import Flag, from_columns, to_column, to_columns
from etl.series import TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.validate import OFF_GRID, REFUSING, ReceivedRows, clean
from etl.validate.numbers import to_floats
from etl.validate.rules import REQUIRED, SHAPE
from etl.warehouse import (
    Quarantined,
    known_series,
    read_candles,
    read_slot,
    with_retired,
    without_equals,
)


def name_of(row: Quarantined) -> str:
    """Return what to call a row in a message: its number, its series, and the times that it may state."""
    times = " or ".join(f"{at:%Y-%m-%d %H:%M}" for at in (row.open_time, row.later_open_time) if at is not None)
    return f"row {row.id} of {row.series}" + (f" {times}" if times else "")


def never_of(row: Quarantined) -> str:
    """Return why a row can be no candle, whatever else is known; empty if it can be one."""
    if row.open_time is None:
        return "it does not say which candle it is"
    if row.rule == SHAPE:
        cells = None if row.cells is None else [row.cells.get(name) for name in REQUIRED]
        if cells is None:
            return "nothing tells which of its values is which"
        if not np.isfinite(to_floats(cells)[0]).all():
            return "a value that it needs is missing, or is no number"
    return next((rule.never for rule in REFUSING if rule.name == row.rule), "")


def not_alone(
    stores: Stores, connection: Connection, row: Quarantined, slot: TimeRange, own: pa.Table | None = None
) -> str:
    """Return what else came for the slot of a row that is not of its slot for sure; empty if nothing did.

    Args:
        own: The row as the candle that it is to be. If it is stored as released, a release of it was cut off, and an
            audit has read it in from the archive.
    """
    if row.rule not in {OFF_GRID, SHAPE}:
        return ""
    series_id = known_series(connection)[row.series]
    stored = read_candles(connection, series_id, slot)
    held = with_retired(connection, series_id, slot, stored, lambda part: stores.archive.read(row.series, part))
    if held.num_rows and not _is_released_as(held, own):
        return f"the candle of {slot.start:%Y-%m-%d %H:%M} is stored"
    # Rows of two files may be of the same two slots: of those that do not tell a person says it, one after the other.
    certain = [one for one in read_slot(connection, row, slot) if one.later_open_time is None]
    others = [one for one in certain if not _says_the_same(one, row)]
    if others:
        return f"row {others[0].id} is of the same slot"
    return ""


def judge_again(stores: Stores, row: Quarantined, partition: Partition) -> pa.Table:
    """Return the row as the candle of a slot, flagged as released: judged without the rule that refused it.

    Raises:
        DataQualityError: Another rule refuses it too, no store can hold it, or an early version did not keep its
            values.
    """
    if row.cells is None:
        start, end = (f"{bound:%Y-%m-%dT%H:%M}" for bound in (partition.time_range.start, partition.time_range.end))
        raise DataQualityError(
            f"{name_of(row)} was refused by an earlier version, which did not keep what each value is; fetch it again "
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
        raise DataQualityError(f"{name_of(row)} is refused by {refused.rule} too: {refused.evidence}")
    columns = to_columns(cleaned.candles)
    if (columns["high"] < columns["low"]).any():
        raise DataQualityError(f"{name_of(row)} can never be a candle: its high is below its low, which no store holds")
    return from_columns({**columns, "flags": columns["flags"] | np.int16(Flag.RELEASED)})


def _is_released_as(held: pa.Table, own: pa.Table | None) -> bool:
    is_released = bool((to_column(held, "flags") & Flag.RELEASED).all())
    return own is not None and is_released and without_equals(held, own).num_rows == 0


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
