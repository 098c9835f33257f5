"""The made-up market as its users see it: rows."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.errors import ConfigError
from etl.replay import MadeUpMarket
from etl.replay.market import Row
from etl.timeframe import Timeframe

DAY_MS = Timeframe.D1.ms
MINUTE_MS = Timeframe.M1.ms
START_MS = 19_800 * DAY_MS  # 2024-03-18
FAR_MS = 1 << 50

OLD_MARKET = MadeUpMarket(seed=7)


@settings(max_examples=15, deadline=None)
@given(
    symbol=st.sampled_from(OLD_MARKET.symbols),
    timeframe=st.sampled_from([Timeframe.M1, Timeframe.M15, Timeframe.H4]),
    first_minute=st.integers(16_436 * 1_440, 24_106 * 1_440),  # 2015 to 2035
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=3),
)
def test_a_candle_is_the_same_whenever_and_however_it_is_asked_for(
    symbol: str, timeframe: Timeframe, first_minute: int, sizes: list[int]
) -> None:
    """Pages of any size, from a market that was asked other things before, equal one long page of a new market."""
    start_ms = first_minute * MINUTE_MS
    whole = list(MadeUpMarket(seed=7).rows(symbol, timeframe, start_ms, FAR_MS, sum(sizes)))
    assert len(whole) == sum(sizes)
    bounds = np.cumsum([0, *sizes]).tolist()
    for first, last in reversed(list(pairwise(bounds))):
        page = OLD_MARKET.rows(symbol, timeframe, whole[first].open_time_ms, FAR_MS, last - first)
        assert list(page) == whole[first:last]
    assert list(OLD_MARKET.last_rows(symbol, timeframe, whole[-1].open_time_ms + 1, len(whole))) == whole


def test_seeds_and_symbols_name_different_markets() -> None:
    """Another seed gives other candles, and so does another symbol."""

    def closes(seed: int, symbol: str) -> list[str | None]:
        market = MadeUpMarket(seed, ("BTC/USDT", "AAA/USDT", "BBB/USDT"))
        return [row.close for row in market.rows(symbol, Timeframe.M1, START_MS, FAR_MS, 5)]

    assert closes(1, "BTC/USDT") != closes(2, "BTC/USDT")
    assert closes(1, "AAA/USDT") != closes(1, "BBB/USDT")


def test_no_symbol_is_refused() -> None:
    """A market of nothing, or of something that is no symbol, says what to write instead."""
    with pytest.raises(ConfigError, match="BTC/USDT"):
        MadeUpMarket(symbols=())
    with pytest.raises(ConfigError, match="BTCUSDT"):
        MadeUpMarket(symbols=("BTCUSDT",))


def test_coarser_candles_are_exact_aggregates_of_the_minutes() -> None:
    """Every timeframe, over days with an outage in them, string for string."""
    market = MadeUpMarket(seed=7)
    start_ms, end_ms = START_MS, START_MS + 14 * DAY_MS
    minutes = market.rows("DOGE/USDT", Timeframe.M1, start_ms, end_ms, 1 << 20)
    assert 0 < 14 * 1_440 - len(minutes) < 1_000
    for timeframe in set(Timeframe) - {Timeframe.M1}:
        expected = _aggregate(minutes, timeframe)
        assert list(market.rows("DOGE/USDT", timeframe, start_ms, end_ms, 1 << 20)) == expected, timeframe


def _aggregate(minutes: list[Row], timeframe: Timeframe) -> list[Row]:
    groups: dict[int, list[Row]] = {}
    for row in minutes:
        groups.setdefault(row.open_time_ms // timeframe.ms * timeframe.ms, []).append(row)
    return [
        Row(
            open_time_ms,
            rows[0].open,
            max((row.high for row in rows), key=Decimal),
            min((row.low for row in rows), key=Decimal),
            rows[-1].close,
            *(str(sum(Decimal(row[number]) for row in rows)) for number in (5, 6)),
            sum(row.trades for row in rows),
            *(str(sum(Decimal(row[number]) for row in rows)) for number in (8, 9)),
        )
        for open_time_ms, rows in groups.items()
    ]


@pytest.mark.parametrize("symbol", ["BTC/USDT", "DOGE/USDT", "SOMETHING/USDC"])
def test_candles_are_sound(symbol: str) -> None:
    """Prices stand in order, amounts fit them, and a candle opens where the one before it closed, midnight included."""
    rows = MadeUpMarket(seed=7, symbols=[symbol]).rows(symbol, Timeframe.M1, START_MS, FAR_MS, 4_000)
    for row in rows:
        opened, high, low, close, volume, quote = map(Decimal, row[1:7])
        assert 0 < low <= min(opened, close) <= max(opened, close) <= high
        assert low * volume <= quote <= high * volume
        assert 0 <= Decimal(row.taker_buy_volume) <= volume
        assert 0 <= Decimal(row.taker_buy_quote_volume) <= quote
        assert row.trades > 0
    neighbours = [(a, b) for a, b in pairwise(rows) if b.open_time_ms - a.open_time_ms == MINUTE_MS]
    assert len(neighbours) > 3_500
    assert all(before.close == after.open for before, after in neighbours)


def test_it_moves_as_markets_do() -> None:
    """Fat tails, volatility that clusters, trading that follows the hours and the moves."""
    rows = MadeUpMarket(seed=7).rows("BTC/USDT", Timeframe.M1, START_MS, START_MS + 30 * DAY_MS, 1 << 20)
    closes, volumes = (np.array([float(row[number]) for row in rows]) for number in (4, 5))
    returns = np.diff(np.log(closes))
    size = np.abs(returns)
    assert 0.01 < returns.std() * np.sqrt(1_440) < 0.10
    assert np.mean((returns - returns.mean()) ** 4) / returns.var() ** 2 > 5
    calmed = returns / np.convolve(size, np.ones(31) / 31, "same")
    assert np.mean(calmed**4) / np.mean(calmed**2) ** 2 > 4.5  # tails are fat beyond what volatility explains
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.15
    assert np.corrcoef(size[60:], size[:-60])[0, 1] > 0.05
    assert abs(np.corrcoef(returns[1:], returns[:-1])[0, 1]) < 0.05
    assert np.corrcoef(size, volumes[1:])[0, 1] > 0.2
    hours = np.array([row.open_time_ms // Timeframe.H1.ms % 24 for row in rows])
    by_hour = [np.median(volumes[hours == hour]) for hour in range(24)]
    assert max(by_hour) > 2 * min(by_hour)
    assert 12 <= int(np.argmax(by_hour)) <= 17


def test_symbols_move_together_but_not_alike() -> None:
    """One symbol's minutes tell something of another's, not all, and over weeks prices go somewhere."""
    market = MadeUpMarket(seed=7)
    pages = [market.rows(name, Timeframe.M5, START_MS, FAR_MS, 1_000) for name in ("BTC/USDT", "ETH/USDT")]
    prices = [{row.open_time_ms: float(row.close) for row in page} for page in pages]
    common = sorted(prices[0].keys() & prices[1].keys())
    moves = [np.diff(np.log([closes[moment] for moment in common])) for closes in prices]
    assert 0.25 < np.corrcoef(*moves)[0, 1] < 0.8
    days = np.log([float(row.close) for row in market.rows("BTC/USDT", Timeframe.D1, START_MS, FAR_MS, 200)])
    assert 0.05 < (days[30:] - days[:-30]).std() < 0.5


@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.M5, Timeframe.D1])
def test_a_forming_candle_knows_nothing_of_what_is_to_come(timeframe: Timeframe) -> None:
    """The last row is the candle that forms, made of what has happened; once closed it is another."""
    now_ms = START_MS + 754 * MINUTE_MS + 30_000
    rows = OLD_MARKET.rows("ETH/USDT", timeframe, START_MS - 9 * DAY_MS, FAR_MS, 1 << 20, now_ms)
    later = {
        row.open_time_ms: row for row in OLD_MARKET.rows("ETH/USDT", timeframe, START_MS - 9 * DAY_MS, now_ms, 1 << 20)
    }
    forming = rows[-1]
    assert forming.open_time_ms == now_ms // timeframe.ms * timeframe.ms
    assert [later[row.open_time_ms] for row in rows[:-1]] == list(rows[:-1])
    closed = later[forming.open_time_ms]
    assert forming.open == closed.open
    assert 0 < Decimal(forming.volume) < Decimal(closed.volume)
    if timeframe is not Timeframe.M1:
        minutes = OLD_MARKET.rows("ETH/USDT", Timeframe.M1, forming.open_time_ms, FAR_MS, 1 << 20, now_ms)
        assert _aggregate(list(minutes), timeframe) == [forming]
