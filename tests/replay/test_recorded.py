"""Recordings are served as they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.errors import ConfigError
from etl.replay import RecordedMarket, ReplayServer
from etl.timeframe import Timeframe

MINUTE_MS = Timeframe.M1.ms
FAR_MS = 1 << 50
AWKWARD = [0.1 + 0.2, 1e-7, 123_456_789.123_456_7, 5e-324, 69_000.0, 1e22]


def _record(folder: Path, columns: dict[str, Any], name: str = "binance/BTC-USDT/1m.parquet") -> Path:
    columns = dict(columns)
    if "open_time" in columns:
        columns["open_time"] = pa.array(columns["open_time"], pa.timestamp("ms", tz="UTC"))
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def _columns(minutes: list[int], values: list[float], **more: list[Any]) -> dict[str, Any]:
    prices = {name: values for name in ("open", "high", "low", "close", "volume")}
    return {"open_time": [minute * MINUTE_MS for minute in minutes], **prices, **more}


@pytest.mark.enable_socket
def test_values_arrive_float_for_float(tmp_path: Path, ask: Any) -> None:
    """A value from the wire is the float that was recorded, and what was not recorded is null."""
    _record(tmp_path, _columns(list(range(6)), AWKWARD, trades=[1, None, 3, 4, 5, 6]))
    with ReplayServer(RecordedMarket(tmp_path)) as server:
        rows = ask(server, "klines", symbol="BTCUSDT", interval="1m", startTime=0).json
        assert ask(server, "klines", symbol="BTCUSDT", interval="1m", startTime=10**19).json == []
    assert [float(row[4]) for row in rows] == AWKWARD
    assert not any("e" in row[4] for row in rows)
    assert [row[8] for row in rows] == [1, None, 3, 4, 5, 6]
    assert {row[7] for row in rows} == {None}
    assert [row[6] for row in rows] == [(minute + 1) * MINUTE_MS - 1 for minute in range(6)]


def test_duplicates_are_kept_in_recorded_order(tmp_path: Path) -> None:
    """Stretches may follow in any order; rows of one open_time stay as they were recorded, in pages of any size."""
    _record(tmp_path, _columns([5, 6, 7, 2, 3, 6, 3], [50.0, 60.0, 70.0, 20.0, 30.0, 61.0, 31.0]))
    market = RecordedMarket(tmp_path)
    args = ("BTC/USDT", Timeframe.M1)
    expected = ["20.0", "30.0", "31.0", "50.0", "60.0", "61.0", "70.0"]
    assert [row.close for row in market.rows(*args, 0, FAR_MS, 1_000)] == expected
    assert [row.close for row in market.rows(*args, 3 * MINUTE_MS, 6 * MINUTE_MS, 2)] == expected[1:3]
    assert [row.close for row in market.last_rows(*args, 7 * MINUTE_MS, 3)] == expected[3:6]
    assert list(market.rows(*args, 8 * MINUTE_MS, FAR_MS, 5)) == []


def test_a_value_that_is_no_number_is_null(tmp_path: Path) -> None:
    """A recording's NaN or null is not made into a number."""
    _record(tmp_path, _columns([0, 1], [float("nan"), 2.0]))
    rows = RecordedMarket(tmp_path).rows("BTC/USDT", Timeframe.M1, 0, FAR_MS, 9)
    assert [row.close for row in rows] == [None, "2.0"]


def test_symbols_and_timeframes_are_what_lies_there(tmp_path: Path) -> None:
    """Folders name symbols, files name timeframes, and the exchange is chosen."""
    _record(tmp_path, _columns([0], [1.0]))
    _record(tmp_path, _columns([0], [1.0]), "kraken/ETH-USD/5m.parquet")
    market = RecordedMarket(tmp_path, "kraken")
    assert market.symbols == ("ETH/USD",)
    assert market.timeframes("ETH/USD") == {Timeframe.M5}


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("kraken/BTC-USDT/1m.parquet", _columns([0], [1.0]), "no recordings of 'binance'.*kraken"),
        ("binance/BTC-USDT/1min.parquet", _columns([0], [1.0]), "1min.parquet is named after no timeframe"),
        ("binance/BTCUSDT/1m.parquet", _columns([0], [1.0]), "'BTCUSDT' is no symbol's path name"),
        ("binance/BTC-USDT/1m.parquet", {"open_time": [0], "open": [1.0]}, "lacks the column high"),
        ("binance/BTC-USDT/1m.parquet", _columns([0], [1.0]) | {"open": ["much"]}, "is no recording"),
        ("binance/BTC-USDT/1m.parquet", {"time": [0]}, "lacks the column open_time"),
    ],
)
def test_a_bad_recording_is_named(tmp_path: Path, name: str, columns: dict[str, Any], message: str) -> None:
    """A fault of a folder or a file is said, and where."""
    _record(tmp_path, columns, name)
    with pytest.raises(ConfigError, match=message):
        RecordedMarket(tmp_path).rows("BTC/USDT", Timeframe.M1, 0, FAR_MS, 1)


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    """A broken file does not wait for its first request."""
    path = _record(tmp_path, _columns([0], [1.0]))
    path.write_bytes(b"open_time,open\n")
    with pytest.raises(ConfigError, match=r"1m.parquet cannot be read as Parquet"):
        RecordedMarket(tmp_path)


def test_real_candles_are_served_value_for_value() -> None:
    """A walk in pages over a real recording gives every recorded row, duplicates in place, float for float."""
    folder = Path(os.environ.get("CHANDLER_DATA") or Path(__file__).parents[3] / "shared/data") / "candles"
    if not (folder / "binance/BTC-USDT/1m.parquet").exists():
        pytest.skip("no recorded candles: set CHANDLER_DATA to a folder that has candles/binance/BTC-USDT/1m.parquet")
    table = pq.read_table(folder / "binance/BTC-USDT/1m.parquet", partitioning=None).to_pandas()
    table = table.sort_values("open_time", kind="stable")
    assert table["open_time"].duplicated().any()
    market, start_ms, served = RecordedMarket(folder), 0, []
    while rows := market.rows("BTC/USDT", Timeframe.M1, start_ms, FAR_MS, 10_000):
        served += rows
        start_ms = rows[-1].open_time_ms + 1
    for number, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
        assert [float(row[number]) for row in served] == table[name].tolist()
