"""Law 6, closed only: a candle is stored once it has closed by the exchange's clock, never while it forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.errors import SourceUnavailableError
from etl.exchanges import EXCHANGES
from etl.ingest import fetch, ingest
from etl.plan import closed_until
from etl.replay import FaultPlan, MadeUpMarket, ReplayServer
from etl.schema import to_columns
from etl.series import TimeRange
from etl.settings import load_settings
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe, from_ms, to_ms
from etl.validate import ReceivedRows, clean
from tests.conftest import BTC
from tests.markets import START, kline
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
