"""The quality of many days of many series at once, as arrays: what a picture of all of them is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.schema import ColumnKind
from etl.series import TimeRange
from etl.warehouse.copying import raw, to_array
from etl.warehouse.reading import driver_of

_COUNTS = b"""
SELECT CAST(series_id AS bigint), array_agg(CAST(day - %(start)s AS bigint)), array_agg(expected), array_agg(revisions)
FROM quality WHERE series_id = ANY(%(ids)s) AND day >= %(start)s AND day < %(end)s GROUP BY series_id
"""
# Many days have the same to say, and need not say it one by one.
_REMARKS = b"""
SELECT series_id, what, CAST(counts AS text), array_agg(day - %(start)s)
FROM quality, LATERAL (VALUES (0, absent), (1, refused), (2, flagged)) remark (what, counts)
WHERE series_id = ANY(%(ids)s) AND day >= %(start)s AND day < %(end)s AND counts <> '{}'
GROUP BY series_id, what, counts
"""


class About(IntEnum):
    """Subject of a remark: absent candles by kind, refused rows by rule, flagged candles by rule."""

    ABSENT = 0
    REFUSED = 1
    FLAGGED = 2


@dataclass(frozen=True, slots=True)
class DayCounts:
    """Some days of a series, those of which anything is known, in any order.

    Attributes:
        number: (n,) which day, counted from the first one that was asked for.
        expected: (n,) candles that are accounted for.
        revisions: (n,) values that were replaced.
    """

    number: NDArray[np.int64]
    expected: NDArray[np.int64]
    revisions: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DayRemark:
    """Remark that some days of a series have in common.

    Attributes:
        counts: JSON text: counts by name.
        numbers: Which days, counted from the first one that was asked for; in any order.
    """

    series_id: int
    about: About
    counts: str
    numbers: Sequence[int]


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
    """Yield what there is to say of whole days."""
    answer = driver_of(connection).cursor(binary=True).execute(_REMARKS, _bounds(ids, days))
    return (DayRemark(series_id, About(what), counts, numbers) for series_id, what, counts, numbers in answer)


def _bounds(ids: Sequence[int], days: TimeRange) -> Mapping[str, Any]:
    return {"ids": list(ids), "start": days.start.date(), "end": days.end.date()}
