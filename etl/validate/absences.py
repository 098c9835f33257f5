"""Which candles of a range are not there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etl.schema import TimeRange
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
