"""Which candles of a range are not there, and what is known of the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from etl.schema import AbsenceKind, TimeRange
from etl.timeframe import Timeframe, to_ms


def find_absences(open_times_ms: NDArray[np.int64], time_range: TimeRange, timeframe: Timeframe) -> list[TimeRange]:
    """Return the stretches of the grid in `time_range` that hold no candle.

    Args:
        open_times_ms: (n,) ascending, on the grid, without duplicates; what lies outside the range does not count.
        time_range: Half-open; the grid's points in it are expected.

    Returns:
        Ascending, disjoint ranges that do not touch, each a whole number of candles.
    """
    width_ms = timeframe.ms
    first_ms, end_ms = to_ms(timeframe.ceil(time_range.start)), to_ms(timeframe.ceil(time_range.end))
    inside = open_times_ms[(open_times_ms >= first_ms) & (open_times_ms < end_ms)]
    fence = np.concatenate(([first_ms - width_ms], inside, [end_ms]))
    before = np.flatnonzero(np.diff(fence) > width_ms)
    return [TimeRange.from_ms(int(fence[i]) + width_ms, int(fence[i + 1])) for i in before]


def explain(
    absent: Iterable[TimeRange], *, first_ms: int | None, end_ms: int | None, served_from_ms: int | None
) -> list[tuple[TimeRange, AbsenceKind]]:
    """Return the stretches with a kind each, cut where a reason begins or ends.

    Args:
        absent: Ascending and disjoint.
        first_ms: When the first candle of the series opens, if that is known.
        end_ms: When its last one closed, if it is traded no more.
        served_from_ms: From when on the exchange still serves it, if not from the first.
    """
    return [
        (piece, _kind(piece, first_ms, end_ms, served_from_ms))
        for span in absent
        for piece in _cut(span, sorted({cut for cut in (first_ms, end_ms, served_from_ms) if cut is not None}))
    ]


def _kind(span: TimeRange, first_ms: int | None, end_ms: int | None, served_from_ms: int | None) -> AbsenceKind:
    if first_ms is not None and span.end_ms <= first_ms:
        return AbsenceKind.NOT_LISTED
    if end_ms is not None and span.start_ms >= end_ms:
        return AbsenceKind.DELISTED
    if served_from_ms is not None and span.end_ms <= served_from_ms:
        return AbsenceKind.BEYOND_RETENTION
    return AbsenceKind.UNEXPLAINED


def _cut(span: TimeRange, cuts: Iterable[int]) -> Iterator[TimeRange]:
    start_ms = span.start_ms
    for cut in cuts:
        if start_ms < cut < span.end_ms:
            yield TimeRange.from_ms(start_ms, cut)
            start_ms = cut
    yield TimeRange.from_ms(start_ms, span.end_ms)
