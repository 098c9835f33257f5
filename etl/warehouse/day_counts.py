"""The quality of many days of many series at once, as arrays: what a picture of all of them is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.schema import ColumnKind
from etl.series import TimeRange
from etl.warehouse.copying import raw, to_array
from etl.warehouse.reading import driver_of

_COUNTS = b"""
SELECT CAST(series_id AS bigint), array_agg(CAST(day - %(start)s AS bigint)), array_agg(expected), array_agg(stored)
FROM quality WHERE series_id = ANY(%(ids)s) AND day >= %(start)s AND day < %(end)s GROUP BY series_id
"""
# Counts by name are few kinds of text, so that whoever reads them need not read each anew.
_REMARKS = b"""
SELECT series_id, day - %(start)s, CAST(absent AS text), CAST(refused AS text), CAST(flagged AS text), revisions
FROM quality WHERE series_id = ANY(%(ids)s) AND day >= %(start)s AND day < %(end)s
  AND (absent <> '{}' OR refused <> '{}' OR flagged <> '{}' OR revisions > 0)
ORDER BY series_id, day
"""


@dataclass(frozen=True, slots=True)
class DayCounts:
    """Some days of a series, those of which anything is known, in any order.

    Attributes:
        number: (n,) which day, counted from the first one that was asked for.
        expected: (n,) candles that are accounted for.
        stored: (n,) candles.
    """

    number: NDArray[np.int64]
    expected: NDArray[np.int64]
    stored: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DayRemark:
    """A day of a series of which there is more to say than that its candles are stored.

    Attributes:
        number: Which day, counted from the first one that was asked for.
        absent: JSON text: counts by kind.
        refused: Likewise, by rule.
        flagged: Likewise, by rule.
        revisions: Values that were replaced.
    """

    series_id: int
    number: int
    absent: str
    refused: str
    flagged: str
    revisions: int


def read_day_counts(connection: Connection, ids: Sequence[int], days: TimeRange) -> dict[int, DayCounts]:
    """Return the counts of whole days, by the numbers of the series."""
    answer = driver_of(connection).cursor(binary=True).execute(_COUNTS, _bounds(ids, days))
    return {
        int.from_bytes(raw(answer, 0, row) or b"", "big"): DayCounts(
            *(to_array(raw(answer, place, row), ColumnKind.INT) for place in (1, 2, 3))
        )
        for row in range(answer.rowcount)
    }


def read_day_remarks(connection: Connection, ids: Sequence[int], days: TimeRange) -> Iterator[DayRemark]:
    """Yield what there is to say of whole days, series by series, ascending."""
    answer = driver_of(connection).cursor().execute(_REMARKS, _bounds(ids, days))
    return (DayRemark(*row) for row in answer)


def _bounds(ids: Sequence[int], days: TimeRange) -> Mapping[str, Any]:
    return {"ids": list(ids), "start": days.start.date(), "end": days.end.date()}
