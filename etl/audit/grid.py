"""The grid of a range as masks, a slot for each candle that may open in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.series import TimeRange
from etl.timeframe import Timeframe, to_ms

Mask = NDArray[np.bool_]
Times = NDArray[np.int64]
"""(n,) open times in milliseconds since the epoch, ascending."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of a range.

    Attributes:
        first_ms: Where the first one opens.
        count: How many there are.
    """

    timeframe: Timeframe
    first_ms: int
    count: int

    @classmethod
    def of(cls, timeframe: Timeframe, span: TimeRange) -> Slots:
        """Return the slots that open in `span`."""
        return cls(timeframe, to_ms(timeframe.ceil(span.start)), span.count(timeframe))

    def mask(self, spans: Iterable[TimeRange]) -> Mask:
        """Return which slots open in one of `spans`."""
        mask = np.zeros(self.count, dtype=np.bool_)
        for span in spans:
            first, end = (-(-(bound - self.first_ms) // self.timeframe.ms) for bound in (span.start_ms, span.end_ms))
            mask[max(first, 0) : max(end, 0)] = True
        return mask

    def at(self, times: Times) -> Mask:
        """Return which slots open at one of `times`; what is off the grid or outside opens none."""
        mask = np.zeros(self.count, dtype=np.bool_)
        places, rests = np.divmod(times - self.first_ms, self.timeframe.ms)
        mask[places[(rests == 0) & (places >= 0) & (places < self.count)]] = True
        return mask

    def times(self, mask: Mask) -> Times:
        """Return when the slots open that are set."""
        times: Times = self.first_ms + np.flatnonzero(mask) * self.timeframe.ms
        return times

    def runs(self, mask: Mask) -> list[TimeRange]:
        """Return the stretches of slots that are set, ascending."""
        return runs(self.times(mask), self.timeframe)


def runs(times: Times, timeframe: Timeframe) -> list[TimeRange]:
    """Return the stretches that candles which follow one another make up."""
    if not len(times):
        return []
    ends = np.flatnonzero(np.diff(times) != timeframe.ms)
    firsts, lasts = times[np.r_[0, ends + 1]].tolist(), times[np.r_[ends, len(times) - 1]].tolist()
    return [TimeRange.from_ms(first, last + timeframe.ms) for first, last in zip(firsts, lasts, strict=True)]


def times_of(candles: pa.Table) -> Times:
    """Return when candles open."""
    array = candles.column("open_time").combine_chunks()
    _, data = array.buffers()
    return np.frombuffer(data or b"", dtype=np.int64)[array.offset : array.offset + len(array)]


def lie_in(times: Times, spans: Sequence[TimeRange]) -> Mask:
    """Return which of `times` lie in one of `spans`, which are ascending and disjoint."""
    bounds = np.array([bound for span in spans for bound in (span.start_ms, span.end_ms)], dtype=np.int64)
    inside: Mask = np.searchsorted(bounds, times, side="right") % 2 == 1
    return inside


def cut(candles: pa.Table, span: TimeRange) -> pa.Table:
    """Return the candles that open in `span`."""
    first, end = np.searchsorted(times_of(candles), [span.start_ms, span.end_ms])
    return candles.slice(first, end - first)
