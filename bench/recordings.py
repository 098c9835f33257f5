"""Recorded candles that models are compared on: which stretches there are, and how each is cut into weeks.

They are looked for in `candles` of the folder that CHANDLER_DATA names, or of `../shared/data`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from etl.rules import Rules
from etl.schema import CANDLE_COLUMNS, Origin, from_columns, to_columns
from etl.series import Series, TimeRange, clip, symbol_to_path
from etl.timeframe import Timeframe
from etl.validate import flag_candles
from models.features import Track, to_track

DATA = Path(os.environ.get("CHANDLER_DATA", Path(__file__).parent.parent.parent / "shared" / "data")) / "candles"

_WEEK_DAYS = 7
_LEAST_DAYS = 5  # of a week at the end of a recording
_VALUES = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Step:
    """Cuts from one range, used in the weeks that follow it."""

    calm: TimeRange
    weeks: tuple[TimeRange, ...]


@dataclass(frozen=True, slots=True)
class Training:
    """Candles that are learned from at once, and the steps that the model is judged by."""

    learned: TimeRange
    steps: tuple[Step, ...]
    symbols: tuple[str, ...]

    @property
    def span(self) -> TimeRange:
        """All that it learns from and is judged by."""
        return TimeRange(self.learned.start, self.steps[-1].weeks[-1].end)


@dataclass(frozen=True, slots=True)
class Group:
    """Recordings of one exchange at one timeframe, and the trainings on them, the oldest first."""

    name: str
    exchange: str
    timeframe: Timeframe
    trainings: tuple[Training, ...]


def cut(
    first: str, last: str, symbols: str, learn: int, calm: int, weeks: int = 2, trained_for: int = 8
) -> list[Training]:
    """Cut a stretch into trainings, each on the days before its first step.

    Args:
        first, last: Days, the last one excluded.
        symbols: Whose candles there are, separated by spaces.
        learn, calm: Days to learn from, and to take cuts from.
        weeks: For how many weeks a cut is used.
        trained_for: For how many weeks what was learned is used.
    """
    start, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (first, last))
    trainings = []
    while (tested := start + timedelta(learn + calm)) + timedelta(_LEAST_DAYS) <= end:
        stop = min(tested + timedelta(_WEEK_DAYS * trained_for), end)
        steps = []
        while tested + timedelta(_LEAST_DAYS) <= stop:
            until = min(tested + timedelta(_WEEK_DAYS * weeks), stop)
            own = [w for w in TimeRange(tested, until).windows(_WEEK_DAYS * 86_400_000) if _is_long(w)]
            steps.append(Step(TimeRange(tested - timedelta(calm), tested), tuple(own)))
            tested = until
        trainings.append(Training(TimeRange(start, start + timedelta(learn)), tuple(steps), tuple(symbols.split())))
        start += timedelta(_WEEK_DAYS * trained_for)
    return trainings


def _is_long(week: TimeRange) -> bool:
    return week.end - week.start >= timedelta(_LEAST_DAYS)


_THREE, _FOUR = "BTC/USDT ETH/USDT XRP/USDT", "BTC/USD ETH/USD LTC/USD XRP/USD"
# A month each is all that was recorded of Binance at 1m: eight days to learn from, two weeks for cuts, one to judge.
_MONTHS = (
    *cut("2020-05-22", "2020-06-20", _THREE, 8, 14),
    *cut("2021-11-12", "2021-12-11", _THREE, 8, 14),
)
GROUPS = (
    Group(
        "binance-1m",
        "binance",
        Timeframe.M1,
        (
            *cut("2019-11-16", "2019-12-15", "BTC/USDT", 8, 14),
            *_MONTHS,
            *cut("2024-07-27", "2024-08-25", "BTC/USDT ETH/USDT", 8, 14),
            *cut("2025-06-02", "2025-07-01", "BTC/USDT", 8, 14),
        ),
    ),
    Group(
        "binance-5m",
        "binance",
        Timeframe.M5,
        (*_MONTHS, *cut("2021-12-11", "2022-05-28", "BTC/USDT", 56, 21, trained_for=14)),
    ),
    Group(
        "bitfinex-1m", "bitfinex", Timeframe.M1, tuple(cut("2018-01-01", "2018-07-01", _FOUR, 42, 21, trained_for=9))
    ),
    Group(
        "ftx-5m",
        "ftx",
        Timeframe.M5,
        tuple(cut("2021-11-10", "2022-05-28", "BTC/USDT ETH/USDT", 56, 21, trained_for=20)),
    ),
)


def read(series: Series, span: TimeRange) -> pa.Table:
    """Return what was recorded of a series in a range, flagged by the rules; made from 1m where there is no other.

    Returns:
        CANDLE_SCHEMA, of two rows of one time the later one; what was not recorded is null.
    """
    given = _given(series, series.timeframe, span) or _widened(_given(series, Timeframe.M1, span), series.timeframe)
    candles = _to_candles(given)
    flags = flag_candles(candles, series.timeframe, Rules())
    return from_columns(to_columns(candles) | {"flags": flags})


def _given(series: Series, timeframe: Timeframe, span: TimeRange) -> dict[str, NDArray[Any]]:
    """Return the columns that were recorded, by name; none if nothing was."""
    path = DATA / series.exchange / symbol_to_path(series.symbol) / f"{timeframe}.parquet"
    if not path.is_file():
        return {}
    table = pq.read_table(path)
    times = np.asarray(table.column("open_time").cast(pa.int64()))
    _, latest = np.unique(times[::-1], return_index=True)
    order = len(times) - 1 - latest
    order = order[(times[order] >= span.start_ms) & (times[order] < span.end_ms)]
    if not len(order):
        return {}
    return {"open_time": times[order]} | {name: np.asarray(table.column(name))[order] for name in _VALUES}


def read_all(group: Group, training: Training) -> tuple[dict[Series, pa.Table], dict[Series, Track]]:
    """Return the candles of a training and of all that it is judged by, and the same on their grid."""
    every = [Series(group.exchange, symbol, group.timeframe) for symbol in training.symbols]
    candles = {series: read(series, training.span) for series in every}
    return candles, {series: to_track(table, group.timeframe, training.span) for series, table in candles.items()}


def volatility(track: Track, week: TimeRange) -> float:
    """Return the realised volatility of a week, in percent: the root of the sum of squared returns."""
    inside = clip(week, TimeRange.from_ms(track.start_ms, track.start_ms + len(track) * track.timeframe.ms))
    close = track.cut(inside or week).close
    returns = np.diff(np.log(close[~np.isnan(close)]))
    return 100 * float(np.sqrt((returns**2).sum()))


def _widened(given: Mapping[str, NDArray[Any]], timeframe: Timeframe) -> dict[str, NDArray[Any]]:
    """Join candles to wider ones, by as many as are held of each."""
    times, first = np.unique(given["open_time"] // timeframe.ms * timeframe.ms, return_index=True)
    last = np.append(first[1:], len(given["open_time"])) - 1
    return {
        "open_time": times,
        "open": given["open"][first],
        "high": np.maximum.reduceat(given["high"], first),
        "low": np.minimum.reduceat(given["low"], first),
        "close": given["close"][last],
        "volume": np.add.reduceat(given["volume"], first),
    }


def _to_candles(given: Mapping[str, NDArray[Any]]) -> pa.Table:
    count = len(given["open_time"])
    absent = {column.name: np.full(count, -1 if column.kind == "int" else np.nan) for column in CANDLE_COLUMNS}
    ours = {"flags": np.zeros(count), "source": np.full(count, int(Origin.API))}
    return from_columns({**absent, **ours, **given})
