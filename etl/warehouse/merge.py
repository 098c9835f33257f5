"""Changes of a load: stored candles against fetched ones, and what rules say of the outcome. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.schema import (
    CANDLE_COLUMNS,
    COMPUTED_FLAGS,
    STATE_FLAGS,
    VALUE_COLUMNS,
    ColumnKind,
    Flag,
    empty_candles,
    from_columns,
    to_column,
    to_columns,
)


@dataclass(frozen=True, slots=True)
class Merge:
    """The outcome, each a CANDLE_SCHEMA table ascending by open_time.

    Attributes:
        candles: What the range holds from now on.
        new: Those that were not stored.
        changed: Those whose values the exchange changed, with their new values and flagged as revised.
        reflagged: Stored candles of which only the rules say something else now, those after the range among them.
        after: The candles after the range up to the last that is reflagged.
        unchanged: How many were fetched again and are equal.
    """

    candles: pa.Table
    new: pa.Table
    changed: pa.Table
    reflagged: pa.Table
    after: pa.Table
    unchanged: int


def merge(stored: pa.Table, fetched: pa.Table) -> Merge:
    """Compare by open_time and values; flags and source are ours and change nothing.

    A stored candle that was not fetched stays: an exchange that no longer prints it does not unmake it. Nor does a
    value that is not given unsay one that was: a file or another way to the exchange may know fewer columns.
    """
    nothing = empty_candles()
    if not stored.num_rows:
        return Merge(fetched, fetched, changed=nothing, reflagged=nothing, after=nothing, unchanged=0)
    old, new = to_columns(stored), to_columns(fetched)
    place = np.searchsorted(old["open_time"], new["open_time"])
    is_stored = np.zeros(fetched.num_rows, dtype=np.bool_)
    inside = np.flatnonzero(place < stored.num_rows)
    is_stored[inside] = old["open_time"][place[inside]] == new["open_time"][inside]
    here = np.flatnonzero(is_stored)
    new = _completed(new, here, old, place[here])
    if (new["flags"] & Flag.VALUE_DROPPED).any():
        new["flags"] = np.where(lacks_value(new), new["flags"], new["flags"] & np.int16(~int(Flag.VALUE_DROPPED)))
    is_changed = np.zeros(fetched.num_rows, dtype=np.bool_)
    is_changed[here] = _differs(old, place[here], new, here)
    if not is_changed.any() and is_stored.all():
        return Merge(stored, nothing, nothing, reflagged=nothing, after=nothing, unchanged=fetched.num_rows)
    changed = {name: values[is_changed] for name, values in new.items()}
    # What was released, or dropped, is the value that is replaced.
    kept_flags = np.int16(~int(Flag.RELEASED | Flag.VALUE_DROPPED))
    changed["flags"] |= old["flags"][place[is_changed]] & kept_flags | np.int16(Flag.REVISED)
    kept = np.ones(stored.num_rows, dtype=np.bool_)
    kept[place[is_changed]] = False
    fresh = {name: values[~is_stored] for name, values in new.items()}
    parts = {name: np.concatenate([old[name][kept], fresh[name], changed[name]]) for name in old}
    order = np.argsort(parts["open_time"], kind="stable")
    return Merge(
        candles=from_columns({name: values[order] for name, values in parts.items()}),
        new=from_columns(fresh),
        changed=from_columns(changed),
        reflagged=nothing,
        after=nothing,
        unchanged=int(is_stored.sum() - is_changed.sum()),
    )


def without_equals(candles: pa.Table, others: pa.Table) -> pa.Table:
    """Return the candles that are not equal, by open_time and values, to one of `others`; both ascending."""
    differing = merge(others, candles)
    times = np.concatenate([to_column(each, "open_time") for each in (differing.new, differing.changed)])
    return _only(candles, np.isin(to_column(candles, "open_time"), times, assume_unique=True))


def with_flags(
    merged: Merge, before: pa.Table, after: pa.Table, flag: Callable[[pa.Table], NDArray[np.int16]]
) -> Merge:
    """Let rules flag the outcome, and the stored candles after it that they judge by it.

    Args:
        before: The stored candles before the range that a rule may look back at.
        after: Those after the range that may look back into it.
        flag: Returns the rules' bits for candles, each by itself and those before it.
    """
    around = pa.concat_tables([before, merged.candles, after])
    bits = flag(around)
    first, end = before.num_rows, before.num_rows + merged.candles.num_rows
    candles, inside = _flagged(merged.candles, bits[first:end])
    later, outside = _flagged(after, bits[end:])
    touched = np.concatenate([to_column(merged.new, "open_time"), to_column(merged.changed, "open_time")])
    times = to_column(candles, "open_time")
    is_new = np.isin(times, to_column(merged.new, "open_time"), assume_unique=True)
    is_changed = np.isin(times, to_column(merged.changed, "open_time"), assume_unique=True)
    is_other = inside & ~np.isin(times, touched, assume_unique=True)
    last = int(np.flatnonzero(outside)[-1]) + 1 if outside.any() else 0
    return Merge(
        candles=candles,
        new=_only(candles, is_new),
        changed=_only(candles, is_changed),
        reflagged=pa.concat_tables([_only(candles, is_other), _only(later, outside)]),
        after=later.slice(0, last),
        unchanged=merged.unchanged,
    )


def _flagged(candles: pa.Table, bits: NDArray[np.int16]) -> tuple[pa.Table, NDArray[np.bool_]]:
    """Return the candles with the rules' bits, and where these are others than before."""
    columns = to_columns(candles)
    flags = (columns["flags"] & np.int16(STATE_FLAGS)) | (bits & np.int16(COMPUTED_FLAGS))
    return from_columns({**columns, "flags": flags}), flags != columns["flags"]


def _only(candles: pa.Table, mask: NDArray[np.bool_]) -> pa.Table:
    return from_columns({name: values[mask] for name, values in to_columns(candles).items()})


def _completed(
    new: dict[str, NDArray[Any]], new_rows: NDArray[np.intp], old: dict[str, NDArray[Any]], old_rows: NDArray[np.intp]
) -> dict[str, NDArray[Any]]:
    """Return the new columns, with the old values where nothing new is given."""
    completed = dict(new)
    for column in CANDLE_COLUMNS:
        if column.is_nullable:
            values = new[column.name].copy()
            given = values[new_rows]
            is_null = given < 0 if column.kind is ColumnKind.INT else np.isnan(given)
            values[new_rows] = np.where(is_null, old[column.name][old_rows], given)
            completed[column.name] = values
    return completed


def lacks_value(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return where one of the values that may be null is."""
    lacks = np.zeros(len(columns["open_time"]), dtype=np.bool_)
    for column in CANDLE_COLUMNS:
        if column.is_nullable:
            values = columns[column.name]
            lacks |= values < 0 if column.kind is ColumnKind.INT else np.isnan(values)
    return lacks


def _differs(
    old: dict[str, NDArray[Any]], old_rows: NDArray[np.intp], new: dict[str, NDArray[Any]], new_rows: NDArray[np.intp]
) -> NDArray[np.bool_]:
    differs = np.zeros(len(new_rows), dtype=np.bool_)
    for name in VALUE_COLUMNS:
        before, after = old[name][old_rows], new[name][new_rows]
        differs |= (before != after) & ~(np.isnan(before) & np.isnan(after))
    return differs
