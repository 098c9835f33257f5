"""Real recorded candles through the whole path: the stores equal the recording, value for value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from etl.audit import audit, is_sound
from etl.feeds_file import load_settings
from etl.importing import plan_import, run_import
from etl.ingest import ingest
from etl.judging import judge_loads
from etl.plan import plan
from etl.replay import RecordedMarket, ReplayServer
from etl.schema import AbsenceKind, to_columns
from etl.series import Series, TimeRange, symbol_to_path
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.validate.runs import find_runs
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
    """The 120 minutes that Binance did not trade on 2019-11-25 are one outage, loaded by day as by month."""
    series = Series.parse("binance:BTC/USDT:1m")
    ready = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
    week = TimeRange(datetime(2019, 11, 23, tzinfo=UTC), datetime(2019, 11, 28, tzinfo=UTC))
    for day in week.windows(24 * 3_600_000):
        ingest(ready, Partition(series, day), "test")
    judge_loads(ready, "binance", "test")
    with stores.warehouse.begin() as connection:
        (absence,) = read_absences(connection, known_series(connection)[series], week)
    assert absence.span == TimeRange(datetime(2019, 11, 25, 2, tzinfo=UTC), datetime(2019, 11, 25, 4, tzinfo=UTC))
    assert absence.span.count(series.timeframe) == 120
    assert absence.kind is AbsenceKind.OUTAGE, "Binance prints a candle for every minute"
    assert "nothing else of the exchange is loaded" in absence.evidence, "and it says so"


def test_minutes_of_bitfinex_side_by_side(stores: Stores, real_data: Path) -> None:
    """A month of four symbols out of files: what all four lack is an outage, what a thin one lacks is no trades."""
    folder = real_data / "bitfinex"
    if not folder.is_dir():
        pytest.skip("no recordings of bitfinex")
    june = TimeRange(datetime(2018, 6, 1, tzinfo=UTC), datetime(2018, 7, 1, tzinfo=UTC))
    held, kinds = [], []
    symbols = [Series.parse(f"bitfinex:{base}/USD:1m") for base in ("BTC", "ETH", "LTC", "XRP")]
    for series in symbols:
        planned = plan_import(stores, folder / symbol_to_path(series.symbol) / "1m.parquet", series)
        of_june = tuple(n for n in planned.left if planned.partitions[n].time_range == june)
        assert len(list(run_import(stores, replace(planned, left=of_june)))) == 1
    judge_loads(stores, "bitfinex", "test")
    with stores.warehouse.begin() as connection:
        for series, series_id in known_series(connection).items():
            of_slot = np.full(june.count(series.timeframe), "", dtype=object)
            for absence in read_absences(connection, series_id, june):
                first = (absence.span.start_ms - june.start_ms) // 60_000
                of_slot[first : first + absence.span.count(series.timeframe)] = absence.kind.value
                assert absence.evidence
            times = to_columns(read_candles(connection, series_id, june))["open_time"]
            held.append(np.isin(np.arange(june.start_ms, june.end_ms, 60_000), times))
            kinds.append(of_slot)
    silent = np.sum([~row for row in held], axis=0)
    told = np.array(kinds)
    assert ((told == "") == np.array(held)).all(), "each missing minute has a kind, and no other has"
    starts, ends = find_runs(silent == 4)
    assert (ends - starts >= 10).sum() == 5
    for start, end in zip(starts, ends, strict=True):
        if end - start >= 10:  # four are silent in a lone minute by chance
            assert (told[:, start:end] == "outage").all(), (start, end)
    lone = told[:, silent == 1]
    assert set(lone.ravel()) <= {"", "no_trades", "outage"}
    assert np.argwhere((told == "outage") & (silent == 1)).tolist() == [[2, 6487]], "the slow end of an outage"
    assert is_sound(audit(stores))
