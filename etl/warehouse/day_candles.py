"""The candle of a day: what the candles that are stored of it make together. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl.series import TimeRange
from etl.timeframe import Timeframe


@dataclass(frozen=True, slots=True)
class DayCandle:
    """The candle of a day: prices in quote currency, volume in base currency."""

    open: float
    high: float
    low: float
    close: float
    volume: float


def make_day_candles(days: TimeRange, columns: Mapping[str, NDArray[Any]]) -> dict[date, DayCandle]:
    """Return the candle of each day that has any, ascending.

    Args:
        days: Whole ones, UTC.
        columns: (n,) each, ascending by `open_time`; those of `etl.schema.to_columns` that a DayCandle has, and it.
            What opens outside the days does not count.
    """
    first, end = np.searchsorted(columns["open_time"], [days.start_ms, days.end_ms])
    if first == end:
        return {}
    own = {name: values[first:end] for name, values in columns.items()}
    place = (own["open_time"] - days.start_ms) // Timeframe.D1.ms
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    ends = np.append(starts[1:], len(place))
    high, low = np.maximum.reduceat(own["high"], starts), np.minimum.reduceat(own["low"], starts)
    opened, closed, volume = own["open"][starts], own["close"][ends - 1], own["volume"].tolist()
    prices = zip(opened.tolist(), high.tolist(), low.tolist(), closed.tolist(), strict=True)
    # A sum that is rounded once, so that a recount gives the same bits whatever it adds in which order.
    sums = (math.fsum(volume[one:other]) for one, other in zip(starts, ends, strict=True))
    of = (days.start.date() + timedelta(days=int(number)) for number in place[starts])
    return {day: DayCandle(*its, traded) for day, its, traded in zip(of, prices, sums, strict=True)}
