"""Absent candles of a range, and what is known of the reason."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etl.schema import AbsenceKind, Origin
from etl.series import TimeRange
from etl.timeframe import Timeframe, from_ms, to_ms
from etl.validate.rules import FORMING

Explained = tuple[TimeRange, AbsenceKind, str]
"""A stretch that is absent, of what kind, and the evidence of it."""

RefusedSlots = Mapping[int, tuple[str, str, int]]
"""By the open time of a slot, the rule that refused a row of the slot, what the rule saw, and the row's origin."""

_SENT = {
    Origin.API: "the exchange sent",
    Origin.TRADES: "the exchange's trades make",
    Origin.BULK: "the exchange's archive has",
    Origin.FILE: "the imported file has",
}


class RefusedRow(Protocol):
    """A refused row, as an absence in its place is told by it."""

    @property
    def times_ms(self) -> tuple[int, ...]:
        """The moments at which it may open, milliseconds since the epoch: two where it does not tell which."""

    @property
    def rule(self) -> str:
        """The rule that refused it."""

    @property
    def evidence(self) -> str:
        """The evidence of the rule."""

    @property
    def origin(self) -> int:
        """The route by which it reached us."""


def refused_slots(rows: Iterable[RefusedRow], timeframe: Timeframe) -> RefusedSlots:
    """Return the slots that refused rows are of, or may be: a row off the grid is of the slot in which it opens.

    Args:
        rows: Of two rows of a slot the later counts. A row without an open time has no slot; the closed candle of one
            that was forming still comes.
    """
    return {
        at_ms // timeframe.ms * timeframe.ms: (row.rule, row.evidence, row.origin)
        for row in rows
        for at_ms in row.times_ms
        if row.rule != FORMING
    }


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
    absent: Iterable[TimeRange],
    timeframe: Timeframe,
    *,
    first_ms: int | None,
    end_ms: int | None,
    served_from_ms: int | None,
    refused: RefusedSlots,
    unlisted_ms: int | None = None,
) -> list[Explained]:
    """Return the stretches with what a fetch knows of each, cut where a reason begins or ends.

    What it knows nothing of is pending: to be judged by what else is loaded, once it has settled.

    Args:
        absent: Ascending and disjoint.
        first_ms: When the first candle of the series opens, if that is known.
        end_ms: When its last one closed, if it is traded no more.
        served_from_ms: From when on the exchange still serves it, if not from the first.
        refused: From `refused_slots`. Neighbouring slots whose rows one rule refused, of one origin, are one stretch.
        unlisted_ms: When the exchange's list lacked the series first, if that says that it is traded no more.
    """
    bounds = {cut for cut in (first_ms, end_ms, served_from_ms) if cut is not None}
    cuts = sorted({*bounds, *_bounds_of_runs(refused, timeframe)})
    explained = []
    for span in absent:
        for piece in _cut(span, cuts[bisect_right(cuts, span.start_ms) : bisect_left(cuts, span.end_ms)]):
            kind, evidence = _reason(piece, first_ms, end_ms, served_from_ms, refused, timeframe)
            if kind is AbsenceKind.DELISTED and unlisted_ms is not None:
                evidence = f"{evidence}: the exchange's list lacked it on {_moment(unlisted_ms)}, and on a later day"
            explained.append((piece, kind, evidence))
    return explained


def _bounds_of_runs(refused: RefusedSlots, timeframe: Timeframe) -> Iterator[int]:
    """Yield where stretches of slots whose rows are of one origin, and one rule refused, begin and end."""
    kinds = {at: (rule, origin) for at, (rule, _, origin) in refused.items()}
    for at, kind in kinds.items():
        if kinds.get(at - timeframe.ms) != kind:
            yield at
        if kinds.get(at + timeframe.ms) != kind:
            yield at + timeframe.ms


def _reason(
    span: TimeRange,
    first_ms: int | None,
    end_ms: int | None,
    served_from_ms: int | None,
    refused: RefusedSlots,
    timeframe: Timeframe,
) -> tuple[AbsenceKind, str]:
    # A row came, whatever else is known of the time.
    if span.start_ms in refused:
        rule, evidence, origin = refused[span.start_ms]
        sent = _SENT[Origin(origin)]
        if span.count(timeframe) == 1:
            return AbsenceKind.REFUSED, f"{sent} a row that {rule} refused ({evidence}); see quarantine"
        return AbsenceKind.REFUSED, f"{sent} rows that {rule} refused, the first: {evidence}; see quarantine"
    if first_ms is not None and span.end_ms <= first_ms:
        return AbsenceKind.NOT_LISTED, f"its first candle opens at {_moment(first_ms)}"
    if end_ms is not None and span.start_ms >= end_ms:
        return AbsenceKind.DELISTED, f"it is traded no more, and its last candle closed at {_moment(end_ms)}"
    if served_from_ms is not None and span.end_ms <= served_from_ms:
        return AbsenceKind.BEYOND_RETENTION, f"the exchange serves nothing that opens before {_moment(served_from_ms)}"
    return AbsenceKind.PENDING, "nothing came when it was asked for; not judged yet"


def _moment(at_ms: int) -> str:
    return f"{from_ms(at_ms):%Y-%m-%d %H:%M}"


def _cut(span: TimeRange, cuts: Sequence[int]) -> Iterator[TimeRange]:
    if not cuts:
        yield span
        return
    start_ms = span.start_ms
    for cut in cuts:
        yield TimeRange.from_ms(start_ms, cut)
        start_ms = cut
    yield TimeRange.from_ms(start_ms, span.end_ms)
