"""The candle of a day: what the candles that are stored of it make together. Pure."""

from __future__ import annotations

import itertools
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


def day_slices(days: TimeRange, times: NDArray[np.int64]) -> dict[date, slice]:
    """Return where each day lies among open times, of the days that have any, ascending.

    Args:
        days: Whole ones, UTC.
        times: (n,) milliseconds since the epoch, ascending; those of other days are passed over.
    """
    midnights = np.arange(days.start_ms, days.end_ms + 1, Timeframe.D1.ms)
    bounds = np.searchsorted(times, midnights).tolist()
    first = days.start.date()
    return {
        first + timedelta(days=number): slice(start, end)
        for number, (start, end) in enumerate(itertools.pairwise(bounds))
        if start < end
    }


def make_day_candles(days: TimeRange, columns: Mapping[str, NDArray[Any]]) -> dict[date, DayCandle]:
    """Return the candle of each day that has any, ascending.

    Args:
        days: Whole ones, UTC.
        columns: (n,) each, ascending by `open_time`: it, and those that a DayCandle has, as `etl.schema.to_columns`.
    """
    return {
        day: DayCandle(
            open=float(columns["open"][own.start]),
            high=float(columns["high"][own].max()),
            low=float(columns["low"][own].min()),
            close=float(columns["close"][own.stop - 1]),
            # A sum that is rounded once, so that a recount gives the same bits whatever it adds in which order.
            volume=math.fsum(columns["volume"][own].tolist()),
        )
        for day, own in day_slices(days, columns["open_time"]).items()
    }
