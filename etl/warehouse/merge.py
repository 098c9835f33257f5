"""What a load changes: stored candles against fetched ones. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.schema import VALUE_COLUMNS, Flag, from_columns, to_columns


@dataclass(frozen=True, slots=True)
class Merge:
    """The outcome, each a CANDLE_SCHEMA table ascending by open_time.

    Attributes:
        candles: What the range holds from now on.
        new: Those that were not stored.
        changed: Those whose values the exchange changed, with their new values and flagged as revised.
        unchanged: How many were fetched again and are equal.
    """

    candles: pa.Table
    new: pa.Table
    changed: pa.Table
    unchanged: int


def merge(stored: pa.Table, fetched: pa.Table) -> Merge:
    """Compare by open_time and values; flags and source are ours and change nothing.

    A stored candle that was not fetched stays: an exchange that no longer prints it does not unmake it.
    """
    old, new = to_columns(stored), to_columns(fetched)
    place = np.searchsorted(old["open_time"], new["open_time"])
    is_stored = np.zeros(fetched.num_rows, dtype=np.bool_)
    inside = np.flatnonzero(place < stored.num_rows)
    is_stored[inside] = old["open_time"][place[inside]] == new["open_time"][inside]
    here = np.flatnonzero(is_stored)
    is_changed = np.zeros(fetched.num_rows, dtype=np.bool_)
    is_changed[here] = _differs(old, place[here], new, here)
    changed = {name: values[is_changed] for name, values in new.items()}
    changed["flags"] = old["flags"][place[is_changed]] | np.int16(Flag.REVISED)
    kept = np.ones(stored.num_rows, dtype=np.bool_)
    kept[place[is_changed]] = False
    fresh = {name: values[~is_stored] for name, values in new.items()}
    parts = {name: np.concatenate([old[name][kept], fresh[name], changed[name]]) for name in old}
    order = np.argsort(parts["open_time"], kind="stable")
    return Merge(
        candles=from_columns({name: values[order] for name, values in parts.items()}),
        new=from_columns(fresh),
        changed=from_columns(changed),
        unchanged=int(is_stored.sum() - is_changed.sum()),
    )


def _differs(
    old: dict[str, NDArray[Any]], old_rows: NDArray[np.intp], new: dict[str, NDArray[Any]], new_rows: NDArray[np.intp]
) -> NDArray[np.bool_]:
    differs = np.zeros(len(new_rows), dtype=np.bool_)
    for name in VALUE_COLUMNS:
        before, after = old[name][old_rows], new[name][new_rows]
        differs |= (before != after) & ~(np.isnan(before) & np.isnan(after))
    return differs
