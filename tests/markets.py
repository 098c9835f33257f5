"""Small markets for tests: recorded ones on disk, and pages as Binance would send them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etl.exchanges import EXCHANGES
from etl.extract import Bounds, Fetched, Page, PageKey, RawStore, Route
from etl.series import Series, TimeRange
from etl.validate import ReceivedRows, clean

START = datetime(2024, 2, 29, 12, tzinfo=UTC)  # two days that cross a leap day, a month and so two archive files
DAYS = TimeRange(START, datetime(2024, 3, 2, 12, tzinfo=UTC))
HOLE = TimeRange(datetime(2024, 2, 29, 23, 30, tzinfo=UTC), datetime(2024, 3, 1, 0, 45, tzinfo=UTC))
_MINUTE_MS = 60_000


def write_recording(folder: Path) -> None:
    """Record BTC/USDT and ETH/USDT at 1m over DAYS: with a hole, repeated rows, and a row that cannot be true."""
    for seed, symbol in enumerate(("BTC-USDT", "ETH-USDT")):
        columns = _walk(seed, DAYS)
        times = columns["open_time"]
        is_kept = (times < HOLE.start_ms) | (times >= HOLE.end_ms)
        columns = {name: values[is_kept] for name, values in columns.items()}
        columns["low"][100] = -1.0
        again = np.concatenate([np.arange(1500), np.arange(1400, len(columns["open_time"]))])
        path = folder / "binance" / symbol / "1m.parquet"
        path.parent.mkdir(parents=True)
        table = pa.table({name: values[again] for name, values in columns.items()})
        times_column = table.column("open_time").cast(pa.timestamp("ms", tz="UTC"))
        pq.write_table(table.set_column(0, "open_time", times_column), path)


def _walk(seed: int, span: TimeRange) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    times = np.arange(span.start_ms, span.end_ms, _MINUTE_MS)
    close = 100 * np.exp(np.cumsum(random.standard_t(4, len(times)) * 1e-3))
    opened = np.roll(close, 1)
    return {
        "open_time": times,
        "open": opened,
        "high": np.maximum(opened, close) * 1.001,
        "low": np.minimum(opened, close) * 0.999,
        "close": close,
        "volume": random.lognormal(size=len(times)),
    }


def candles_over(span: TimeRange) -> pa.Table:
    """Return a sound candle for every minute of `span`: CANDLE_SCHEMA."""
    rows = [kline(at, 100.0 + at // _MINUTE_MS % 7) for at in range(span.start_ms, span.end_ms, _MINUTE_MS)]
    series = Series.parse("binance:BTC/USDT:1m")
    return clean([ReceivedRows(rows, span.end_ms + 10**9, EXCHANGES["binance"].layout)], series, span).candles


def kline(open_time_ms: int, price: float = 100.0, **changes: Any) -> list[Any]:
    """Return one row as Binance sends it; `changes` by our column names."""
    columns = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "quote_volume": 7, "trades": 8}
    columns |= {"taker_buy_volume": 9, "taker_buy_quote_volume": 10}
    row = [
        open_time_ms,
        f"{price}",
        f"{price * 1.01}",
        f"{price * 0.99}",
        f"{price * 1.001}",
        "5.5",
        open_time_ms + _MINUTE_MS - 1,
        "550.25",
        12,
        "2.5",
        "250.125",
        "0",
    ]
    for name, value in changes.items():
        row[columns[name]] = value
    return row


def put_pages(
    raw: RawStore,
    series: Series,
    time_range: TimeRange,
    rows: Iterable[list[Any]],
    limit: int = 1000,
    asked_at_ms: int | None = None,
) -> None:
    """Lay raw pages as a finished fetch of `time_range` would; by itself, long after everything in it has closed."""
    asked_at_ms = asked_at_ms or time_range.end_ms + 10**9
    by_time: dict[int, list[list[Any]]] = {}
    for row in rows:
        by_time.setdefault(series.timeframe.ms * int(float(row[0]) // series.timeframe.ms), []).append(row)
    partition = raw.partition(series, time_range)
    keys: list[PageKey] = []
    for window in time_range.windows(limit * series.timeframe.ms):
        inside = [row for t in range(window.start_ms, window.end_ms, series.timeframe.ms) for row in by_time.get(t, [])]
        partition.write_page(Page(series, window, asked_at_ms, json.dumps(inside)))
        keys.append(PageKey(window, Route.CANDLES))
    partition.write_list(Fetched(tuple(keys), Bounds(), asked_at_ms))


def recorded_values(path: Path, span: TimeRange) -> Mapping[int, tuple[float, ...]]:
    """Return what a recording holds in `span`: open_time_ms to (open, high, low, close, volume)."""
    table = pq.read_table(path)
    times = table.column("open_time").cast(pa.int64()).to_numpy()
    values = np.column_stack([table.column(name).to_numpy() for name in ("open", "high", "low", "close", "volume")])
    is_inside = (times >= span.start_ms) & (times < span.end_ms)
    return dict(zip(times[is_inside].tolist(), map(tuple, values[is_inside].tolist()), strict=True))
