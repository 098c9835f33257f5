"""Law 6, closed only: a candle is stored once it has closed by the exchange's clock, never while it forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.audit import audit
from etl.errors import SourceUnavailableError
from etl.exchanges import EXCHANGES
from etl.feeds_file import load_settings
from etl.ingest import clean_pages, fetch, ingest, load
from etl.plan import closed_until
from etl.replay import FaultPlan, MadeUpMarket, ReplayServer
from etl.schema import to_columns
from etl.series import TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe, from_ms, to_ms
from etl.validate import ReceivedRows, clean
from etl.warehouse import known_series, read_checkpoints
from tests.conftest import BTC
from tests.markets import START, kline, put_pages
from tests.snapshots import tables_of

ORIGIN_MS = to_ms(START)
HOUR = TimeRange.from_ms(ORIGIN_MS, ORIGIN_MS + Timeframe.H1.ms)


@given(clock_ms=st.integers(ORIGIN_MS - 60_000, ORIGIN_MS + 2 * Timeframe.H1.ms))
def test_what_had_not_closed_is_refused(clock_ms: int) -> None:
    """Of an hour that was asked for at some moment, just the minutes that had closed by then are accepted."""
    rows = [kline(at) for at in range(HOUR.start_ms, HOUR.end_ms, 60_000)]
    cleaned = clean([ReceivedRows(rows, clock_ms, EXCHANGES["binance"].layout)], BTC, HOUR)
    accepted = to_columns(cleaned.candles)["open_time"]
    assert set(accepted.tolist()) == {row[0] for row in rows if row[0] + 60_000 <= clock_ms}
    assert {row.rule for row in cleaned.refused} <= {"forming"}


def test_the_live_edge_is_stored_only_as_far_as_it_has_closed(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange that adds its forming candle to every page gets none of it into the stores."""
    clock_ms = to_ms(HOUR.end) + 30_500
    faults = FaultPlan.parse(["forming:*"])
    with ReplayServer(MadeUpMarket(), faults=faults, clock=lambda: clock_ms) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        stores = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
        end = closed_until(stores.settings, BTC)
        assert end <= from_ms(clock_ms) < end + Timeframe.M1.delta
        ingest(stores, Partition(BTC, TimeRange(START, end)), "test")
        assert faults.given["forming"] >= 1
        assert max(row[1] for row in tables_of(stores)["candles"]) < from_ms(clock_ms) - Timeframe.M1.delta
        with pytest.raises(SourceUnavailableError, match="closes in"):
            fetch(stores, Partition(BTC, TimeRange(START, end + Timeframe.M1.delta * 5)))
        assert all(row[2] <= end for row in tables_of(stores)["absences"]), "what still forms is not missing"


@pytest.mark.parametrize("lead", [timedelta(seconds=3), timedelta(hours=3), timedelta(hours=-3)])
def test_the_exchange_alone_says_what_had_closed(
    lead: timedelta, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock may be ahead of ours or behind: what it calls closed is stored, and the audit agrees."""
    now_ms = to_ms(datetime.now(UTC) + lead) // 60_000 * 60_000  # a minute closes as it is asked for
    with ReplayServer(MadeUpMarket(), clock=lambda: now_ms) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        stores = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
        span = TimeRange.from_ms(now_ms - 10 * 60_000, now_ms)
        assert ingest(stores, Partition(BTC, span), "test").rows == 10
    (account,) = audit(stores)
    assert account.problems == []


def test_each_part_of_an_account_knows_when_it_was_asked_for(stores: Stores) -> None:
    """A part that a later load does not reach keeps its time; one that is loaded again has the later of the two."""

    def load_minutes(first: int, end: int, asked_hour: int) -> None:
        span = TimeRange.from_ms(ORIGIN_MS + first * 60_000, ORIGIN_MS + end * 60_000)
        rows = [kline(at) for at in range(span.start_ms, span.end_ms, 60_000)]
        put_pages(stores.raw, BTC, span, rows, asked_at_ms=ORIGIN_MS + asked_hour * Timeframe.H1.ms)
        clean_pages(stores, Partition(BTC, span))
        load(stores, Partition(BTC, span), "test")

    def asked_hours() -> list[tuple[int, int, int]]:
        with stores.warehouse.begin() as connection:
            known = read_checkpoints(connection, known_series(connection)[BTC])
        times = [(*(to_ms(at) for at in (one.time_range.start, one.time_range.end)), one.asked_at) for one in known]
        return [
            ((start - ORIGIN_MS) // 60_000, (end - ORIGIN_MS) // 60_000, (to_ms(at) - ORIGIN_MS) // Timeframe.H1.ms)
            for start, end, at in times
            if at is not None
        ]

    load_minutes(0, 60, 2)
    load_minutes(30, 90, 3)
    assert asked_hours() == [(0, 30, 2), (30, 90, 3)]
    load_minutes(40, 50, 5)
    assert asked_hours() == [(0, 30, 2), (30, 90, 5)]
    load_minutes(30, 90, 4)
    assert asked_hours() == [(0, 30, 2), (30, 90, 5)]
