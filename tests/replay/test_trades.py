"""A candle and the trades made up for it agree, digit for digit."""

from __future__ import annotations

from decimal import Decimal, localcontext
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.replay import MadeUpMarket, RecordedMarket
from etl.replay.market import Market, Row
from etl.replay.trades import Trade, finest, tally, tally_candles, trades_between, trades_of
from etl.timeframe import Timeframe

MINUTE_MS = Timeframe.M1.ms
DAY_MS = Timeframe.D1.ms
START_MS = 19_800 * DAY_MS  # 2024-03-18

MARKET = MadeUpMarket(seed=7)


def _aggregate(trades: list[Trade]) -> tuple[Decimal, ...]:
    prices = [Decimal(trade.price) for trade in trades]
    with localcontext(prec=1_000):
        volume = sum((Decimal(trade.volume) for trade in trades), Decimal(0))
    return prices[0], max(prices), min(prices), prices[-1], volume


def _values(row: Row) -> tuple[Decimal, ...]:
    return tuple(Decimal(value or 0) for value in row[1:6])


def _check_day(market: Market, symbol: str, start_ms: int) -> None:
    timeframe = finest(market, symbol)
    rows = {row.open_time_ms: row for row in market.rows(symbol, timeframe, start_ms, start_ms + DAY_MS, 1 << 20)}
    for row in rows.values():
        trades = trades_of(row, timeframe)
        assert 1 <= len(trades) <= 4
        assert _aggregate(trades) == _values(row)
        assert all(Decimal(trade.volume) > 0 for trade in trades)
        assert all(row.open_time_ms <= trade.time_ns / 1e6 < row.open_time_ms + timeframe.ms for trade in trades)
    trades = list(trades_between(market, symbol, start_ms, start_ms + DAY_MS))
    assert all(before.time_ns < after.time_ns and before.id < after.id for before, after in pairwise(trades))
    assert len(trades) > len(rows)


@pytest.mark.parametrize("symbol", ["BTC/USDT", "DOGE/USDT", "XRP/USDT"])
def test_a_made_up_candle_is_the_aggregate_of_its_trades(symbol: str) -> None:
    """Open first, high highest, low lowest, close last, volumes to the last digit, times and ids ascending."""
    _check_day(MARKET, symbol, START_MS)


@pytest.mark.parametrize("place", ["binance/BTC/USDT", "coinbase/LTC/USD", "bitfinex/XRP/USD"])
def test_so_is_a_recorded_candle(real_data: Path, place: str) -> None:
    """Recorded floats are not rounded away."""
    exchange, _, symbol = place.partition("/")
    market = RecordedMarket(real_data, exchange)
    first_ms = market.rows(symbol, Timeframe.M1, 0, 1 << 50, 1)[0].open_time_ms
    _check_day(market, symbol, first_ms // DAY_MS * DAY_MS + DAY_MS)


@settings(max_examples=200)
@given(
    prices=st.lists(st.floats(1e-8, 1e9), min_size=4, max_size=4),
    volume=st.floats(5e-324, 1e15) | st.sampled_from([1e-8, 2e-8, 0.1 + 0.2]),
    minute=st.integers(0, 40_000_000),
)
def test_any_candle_can_be_traded(prices: list[float], volume: float, minute: int) -> None:
    """However small the volume and however many its places."""
    low, opened, closed, high = sorted(prices)
    texts = [format(Decimal(repr(value)), "f") for value in (opened, high, low, closed, volume)]
    row = Row(minute * MINUTE_MS, *texts, None, None, None, None)
    assert _aggregate(trades_of(row, Timeframe.M1)) == _values(row)


def test_no_volume_no_trades() -> None:
    """Nor where a price was not recorded."""
    assert trades_of(Row(0, "1.0", "1.0", "1.0", "1.0", "0.0", None, 0, None, None), Timeframe.M1) == []
    assert trades_of(Row(0, "1.0", "1.0", None, "1.0", "1.0", None, 0, None, None), Timeframe.M1) == []


@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.H1, Timeframe.D1])
def test_tallies_are_those_of_the_trades(timeframe: Timeframe) -> None:
    """Counted the short way and the long one."""
    tallies = tally_candles(MARKET, "ETH/USDT", timeframe, START_MS, START_MS + DAY_MS)
    for open_time_ms, counted in list(tallies.items())[::7]:
        made = tally(trades_between(MARKET, "ETH/USDT", open_time_ms, open_time_ms + timeframe.ms))
        assert counted.trades == made.trades
        assert counted.vwap == pytest.approx(made.vwap, rel=1e-9)
