"""Real recorded candles through the whole path: the stores equal the recording, value for value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from etl.audit import audit, is_sound
from etl.ingest import ingest
from etl.plan import plan
from etl.replay import RecordedMarket, ReplayServer
from etl.schema import Series, TimeRange, symbol_to_path
from etl.settings import load_settings
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.warehouse import known_series, read_absences, read_candles
from tests.markets import recorded_values

BASE = ("open", "high", "low", "close", "volume")


@pytest.fixture
def exchange(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayServer]:
    """The recordings behind Binance's protocol, where the settings will find them."""
    with ReplayServer(RecordedMarket(real_data)) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        yield server


@pytest.mark.parametrize(
    ("symbol", "start", "end"),
    [
        ("BTC/USDT", datetime(2021, 11, 12, tzinfo=UTC), datetime(2021, 12, 12, tzinfo=UTC)),
        ("ETH/USDT", datetime(2021, 11, 12, tzinfo=UTC), datetime(2021, 12, 12, tzinfo=UTC)),
        ("XRP/USDT", datetime(2021, 11, 12, tzinfo=UTC), datetime(2021, 12, 12, tzinfo=UTC)),
        ("BTC/USDT", datetime(2019, 11, 16, tzinfo=UTC), datetime(2019, 12, 16, tzinfo=UTC)),
    ],
)
def test_the_stores_equal_the_recording(
    symbol: str, start: datetime, end: datetime, exchange: ReplayServer, stores: Stores, real_data: Path
) -> None:
    """Both stores hold every recorded candle, float for float, and nothing else; what is missing is absent."""
    series, span = Series.parse(f"binance:{symbol}:1m"), TimeRange(start, end)
    ready = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
    for partition in plan(ready, series, span, None):
        ingest(ready, partition, "test")
    recorded = recorded_values(real_data / "binance" / symbol_to_path(symbol) / "1m.parquet", span)
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[series]
        stored = read_candles(connection, series_id, span)
        absences = [absence.span for absence in read_absences(connection, series_id, span)]
    for candles in (stored, stores.archive.read(series, span)):
        rows = {to_ms(row["open_time"]): tuple(row[name] for name in BASE) for row in candles.to_pylist()}
        assert rows == recorded
        assert candles.column("trades").null_count == candles.num_rows, "what was not recorded is null, not 0"
    slots = set(range(span.start_ms, span.end_ms, 60_000))
    assert {at for one in absences for at in range(one.start_ms, one.end_ms, 60_000)} == slots - set(recorded)
    assert is_sound(audit(ready))


def test_the_outage_of_2019_is_one_absence(exchange: ReplayServer, stores: Stores) -> None:
    """The 120 minutes that Binance did not trade on 2019-11-25 are one absence, loaded by day as by month."""
    series = Series.parse("binance:BTC/USDT:1m")
    ready = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
    week = TimeRange(datetime(2019, 11, 23, tzinfo=UTC), datetime(2019, 11, 28, tzinfo=UTC))
    for day in week.windows(24 * 3_600_000):
        ingest(ready, Partition(series, day), "test")
    with stores.warehouse.begin() as connection:
        (absence,) = read_absences(connection, known_series(connection)[series], week)
    assert absence.span == TimeRange(datetime(2019, 11, 25, 2, tzinfo=UTC), datetime(2019, 11, 25, 4, tzinfo=UTC))
    assert absence.span.count(series.timeframe) == 120
