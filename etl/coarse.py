"""Candles for a chart: of any range, as wide as it takes for there to be few enough, in a blink.

Wider ones are made here of the stored candles; those of a day stand with the day's quality, so that years need no more
than a row a day. Nothing is written, and nothing is made up: what is drawn is of what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import date, datetime
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.errors import ConfigError
from etl.schema import Flag
from etl.series import Series, TimeRange, united, utc_day
from etl.spelling import counted
from etl.timeframe import Timeframe
from etl.warehouse import (
    DayCandle,
    Quality,
    days_of,
    find_series,
    make_day_candles,
    read_counted,
    read_quality,
    retired_ranges,
)

WIDTHS = (Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H4, Timeframe.D1)
"""What candles are made of others for, the narrower first."""

MOST_READ = 65_000
"""Stored candles that are read for one answer at most, whole candles at its ends aside: 45 days of `1m`."""

_DAY_MS = Timeframe.D1.ms


@dataclass(frozen=True, slots=True)
class CoarseCandles:
    """Candles of one width, ascending; arrays are (n,) each, prices in quote and volume in base currency.

    Attributes:
        series: Its text.
        start: What was asked for, in whole candles: none is cut off.
        end: Its exclusive end.
        as_of: The moment as of which they stood; None for now.
        is_made: Whether they are made of narrower ones.
        is_retired: Whether the archive alone keeps some candles of its days, so that there is no more than one a day.
        time_s: int64, when each opens, seconds since the epoch.
        counts: int64, of how many stored candles each is.
        flags: int64, bits of `Flag` that any of them has, UNJUDGED left out. Of a day, COUNTED_FLAGS, and whether any
            was revised.
    """

    series: str
    width: Timeframe
    start: datetime
    end: datetime
    as_of: datetime | None
    is_made: bool
    is_retired: bool
    time_s: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    counts: NDArray[np.int64]
    flags: NDArray[np.int64]


def read_coarse(
    connection: Connection, series: Series, time_range: TimeRange, most: int = 1500, as_of: datetime | None = None
) -> CoarseCandles:
    """Return the candles of a range, of the finest width of which no more than `most` are needed, or else days.

    Days, too, of a range of more than MOST_READ candles, and where the archive alone keeps some. Those that an earlier
    version has counted are made of no more than MOST_READ candles: the newest of them, until `chandler maintain` has
    made the others.

    Args:
        time_range: It may end anywhere; candles are whole.
        most: If days are too many still, they are returned nonetheless.
        as_of: As they stood at that moment, by the warehouse's clock; for ranges of MOST_READ candles at most.

    Raises:
        ConfigError: The series was never loaded, or nobody can tell how so much stood then.
    """
    series_id = find_series(connection, series)
    is_retired = bool(retired_ranges(connection, series_id, days_of(time_range)))
    width = _choose_width(series.timeframe, time_range, most)
    if as_of is not None:
        _check_as_of(series, time_range, is_retired)
    elif is_retired:
        width = Timeframe.D1
    span = TimeRange(width.floor(time_range.start), width.ceil(time_range.end))
    if as_of is not None:
        columns = coarsen(read_counted(connection, series_id, span, as_of), width)
    elif width is Timeframe.D1:
        columns = _of_days(connection, series_id, span)
    else:
        columns = coarsen(read_counted(connection, series_id, span), width)
    is_made = width is not series.timeframe
    return CoarseCandles(str(series), width, span.start, span.end, as_of, is_made, is_retired, **columns)


def coarsen(columns: Mapping[str, NDArray[Any]], width: Timeframe) -> dict[str, NDArray[Any]]:
    """Return the columns of wider candles that stored ones make: of each slot of `width` that has any.

    Args:
        columns: (n,) each, ascending by `open_time`; COUNTED_COLUMNS, as `etl.schema.to_columns`.
    """
    place = columns["open_time"] // width.ms
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    ends = np.append(starts[1:], len(place)) if len(place) else starts

    def reduced(ufunc: np.ufunc, name: str) -> NDArray[Any]:
        values = columns[name]
        return ufunc.reduceat(values, starts) if len(values) else values

    return {
        "time_s": place[starts] * (width.ms // 1000),
        "open": columns["open"][starts],
        "high": reduced(np.maximum, "high"),
        "low": reduced(np.minimum, "low"),
        "close": columns["close"][ends - 1],
        "volume": reduced(np.add, "volume"),
        "counts": ends - starts,
        "flags": reduced(np.bitwise_or, "flags").astype(np.int64) & ~int(Flag.UNJUDGED),
    }


def _choose_width(own: Timeframe, time_range: TimeRange, most: int) -> Timeframe:
    wider = [width for width in WIDTHS if width.ms > own.ms and width.ms % own.ms == 0]
    for width in (own, *wider):
        touched = TimeRange(width.floor(time_range.start), width.ceil(time_range.end))
        if touched.count(width) <= most and time_range.count(own) <= MOST_READ:
            return width
    return Timeframe.D1


def _check_as_of(series: Series, time_range: TimeRange, is_retired: bool) -> None:
    if time_range.count(series.timeframe) > MOST_READ:
        n_days = MOST_READ * series.timeframe.ms // _DAY_MS
        message = f"how more than {counted(n_days, 'day')} stood at a moment takes too long to find out; zoom in"
        raise ConfigError(message, series=series, time_range=time_range)
    if is_retired:
        message = "the archive alone keeps candles of this range, and knows no earlier moment; look at it as it is now"
        raise ConfigError(message, series=series, time_range=time_range)


def _of_days(connection: Connection, series_id: int, days: TimeRange) -> dict[str, NDArray[Any]]:
    known = {day: one for day, one in read_quality(connection, series_id, days).items() if one.stored}
    candles = {day: one.candle for day, one in known.items() if one.candle is not None}
    candles |= _uncounted(connection, series_id, {day: one.stored for day, one in known.items() if day not in candles})
    shown = sorted(candles)
    values = np.array([astuple(candles[day]) for day in shown], dtype=np.float64).reshape(-1, 5).T.copy()
    return {
        "time_s": np.array([utc_day(day).start_ms // 1000 for day in shown], dtype=np.int64),
        "open": values[0],
        "high": values[1],
        "low": values[2],
        "close": values[3],
        "volume": values[4],
        "counts": np.array([known[day].stored for day in shown], dtype=np.int64),
        "flags": np.array([_flags(known[day]) for day in shown], dtype=np.int64),
    }


def _uncounted(connection: Connection, series_id: int, stored: Mapping[date, int]) -> dict[date, DayCandle]:
    """Return the candles of days that an earlier version has counted, made of what the warehouse holds of them.

    Args:
        stored: How many candles each day has; of the newest days so many are read as MOST_READ allows.
    """
    newest = sorted(stored, reverse=True)
    in_all = accumulate(stored[day] for day in newest)
    made: dict[date, DayCandle] = {}
    for span in united(utc_day(day) for day, count in zip(newest, in_all, strict=True) if count <= MOST_READ):
        made |= make_day_candles(span, read_counted(connection, series_id, span))
    return made


def _flags(quality: Quality) -> int:
    bits = sum(int(Flag[name.upper()]) for name in quality.flagged)
    return bits | (int(Flag.REVISED) if quality.revisions else 0)
