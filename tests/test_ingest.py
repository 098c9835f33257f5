"""Planning and settling: what a run asks for, and what it finds when it looks again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.audit import audit, is_sound
from etl.feeds_file import load_settings
from etl.ingest import clean_pages, ingest, load
from etl.plan import plan, settling
from etl.replay import FaultPlan, MadeUpMarket, ReplayServer
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe
from tests.conftest import BTC
from tests.markets import kline, put_pages
from tests.snapshots import tables_of

DAY = timedelta(days=1)


def day(number: int, count: int = 1) -> TimeRange:
    """Return days of March 2024."""
    start = datetime(2024, 3, number, tzinfo=UTC)
    return TimeRange(start, start + count * DAY)


def fill(stores: Stores, span: TimeRange, series: Series = BTC) -> None:
    """Load a sound candle for every slot of `span`."""
    put_pages(stores.raw, series, span, [kline(at) for at in range(span.start_ms, span.end_ms, series.timeframe.ms)])
    clean_pages(stores, Partition(series, span))
    load(stores, Partition(series, span), "test")


def test_a_plan_asks_only_for_what_is_not_accounted_for(stores: Stores) -> None:
    """Loaded days are left out, the rest is asked for a little earlier, and every part lies in one archive file."""
    fill(stores, day(3))
    wanted = TimeRange(datetime(2024, 2, 28, tzinfo=UTC), datetime(2024, 3, 6, tzinfo=UTC))
    asked = [partition.time_range for partition in plan(stores, BTC, wanted, timedelta(hours=6))]
    march = datetime(2024, 3, 1, tzinfo=UTC)
    assert asked == [
        TimeRange(wanted.start, march),
        TimeRange(march, day(3).start),
        TimeRange(day(3).end - timedelta(hours=6), wanted.end),
    ]
    assert plan(stores, BTC, day(3), timedelta(hours=6)) == []
    noon = TimeRange(day(7).start, day(9).start + DAY / 2)
    assert [partition.time_range for partition in plan(stores, BTC, noon, timedelta(0))] == [
        day(7, 2),
        TimeRange(day(9).start, noon.end),
    ], "what ends today is kept apart, since its end moves"
    assert [partition.time_range for partition in plan(stores, BTC, day(3), None)] == [day(3)]


def test_settling_looks_again_at_what_was_loaded(stores: Stores) -> None:
    """A run begins earlier only as far as the settling time and the loaded range before it reach."""
    fill(stores, day(2))
    assert settling(stores, Partition(BTC, day(3)), 3 * DAY).time_range == day(2, 2)
    assert settling(stores, Partition(BTC, day(3)), DAY / 2).time_range.start == day(2).start + DAY / 2
    assert settling(stores, Partition(BTC, day(4)), DAY).time_range == day(4), "the day between was never loaded"


def test_settling_takes_whole_candles(stores: Stores) -> None:
    """Of any timeframe it begins where the first candle opens that closed within the settling time, if it is held."""
    for timeframe in Timeframe:
        series = replace(BTC, timeframe=timeframe)
        fill(stores, day(2), series)
        for hours in (1, 5, 24, 100):
            start = settling(stores, Partition(series, day(3)), timedelta(hours=hours)).time_range.start
            assert start == max(timeframe.floor(day(3).start - timedelta(hours=hours)), day(2).start)
        assert settling(stores, Partition(series, day(3)), timedelta(0)).time_range == day(3)


def test_a_late_correction_is_found_and_leaves_a_revision(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the exchange after the load is there after the next day's run, and the old value beside it."""
    faults = FaultPlan()
    with ReplayServer(MadeUpMarket(), faults=faults) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        stores = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
        faults.add("changed", times=1)  # the exchange has it wrong at first
        ingest(stores, Partition(BTC, day(2)), "monday")
        report = ingest(stores, settling(stores, Partition(BTC, day(3)), DAY), "tuesday")
        assert (report.revised, faults.given["changed"]) == (1, 1)
        tables = tables_of(stores)
        (revision,) = tables["revisions"]
        (candle,) = [row for row in tables["candles"] if row[1] == revision[1]]
        assert candle[5] != revision[6], "the close changed"
        assert is_sound(audit(stores))


def test_a_symbol_that_is_not_ascii_goes_the_whole_way(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the exchange's list over real HTTP into both stores, and found again by what lies in the archive."""
    series = Series.parse("binance:币安人生/USDT:1h")
    with ReplayServer(MadeUpMarket(symbols=[series.symbol, "BTC/USDT"])) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        stores = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
        report = ingest(stores, Partition(series, day(2)), "run")
    assert report.rows == 24
    assert stores.archive.series() == [series]
    assert is_sound(audit(stores))
