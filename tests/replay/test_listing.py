"""Symbols come, go, and are forgotten, in every protocol."""

from __future__ import annotations

from typing import Any

import pytest

from etl.errors import ConfigError
from etl.replay import MadeUpMarket, ReplayServer
from etl.timeframe import Timeframe
from tests.replay.real_ccxt import pointed

pytestmark = pytest.mark.enable_socket

DAY_MS = Timeframe.D1.ms
MINUTE_MS = Timeframe.M1.ms
FROM_MS = 19_800 * DAY_MS + 90 * MINUTE_MS  # 2024-03-18 01:30
UNTIL_MS = FROM_MS + 10 * DAY_MS
NAMES = ("binance", "coinbaseexchange", "kraken")
MARKET = MadeUpMarket(symbols=("BTC/USD", "SOL/USD"), listed={"SOL/USD": (FROM_MS, UNTIL_MS)})


def _active(server: ReplayServer) -> dict[str, bool | None]:
    """Return, by exchange, whether ccxt finds the symbol active; None where it does not find it."""
    active = {}
    for name in NAMES:
        exchange = pointed(name, server)
        exchange.has["fetchCurrencies"] = False
        exchange.options["fetchMarkets"] = {"types": ["spot"]}
        active[name] = exchange.load_markets().get("SOL/USD", {}).get("active")
    return active


def test_a_symbol_comes_and_goes() -> None:
    """Unknown before its listing; after it, Binance and Coinbase say it is over, and Kraken does not know it."""
    now_ms = [FROM_MS - 1]
    with ReplayServer(MARKET, clock=lambda: now_ms[0], limits=False) as server:
        assert _active(server) == dict.fromkeys(NAMES)
        now_ms[0] = FROM_MS
        assert _active(server) == dict.fromkeys(NAMES, True)
        now_ms[0] = UNTIL_MS
        assert _active(server) == {"binance": False, "coinbaseexchange": False, "kraken": None}


def test_statuses_are_the_exchanges_own(ask: Any) -> None:
    """BREAK here, delisted there."""
    with ReplayServer(MARKET, clock=lambda: UNTIL_MS) as server:
        [listing] = ask(server, "exchangeInfo", symbol="SOLUSD").json["symbols"]
        product = ask(server, "/products/SOL-USD").json
        refused = ask(server, "/0/public/OHLC", pair="SOLUSD").json
    assert listing["status"] == "BREAK"
    assert (product["status"], product["trading_disabled"]) == ("delisted", True)
    assert refused == {"error": ["EQuery:Unknown asset pair"]}


@pytest.mark.parametrize("timeframe", [Timeframe.M1, Timeframe.H1, Timeframe.D1])
def test_there_are_no_candles_outside(timeframe: Timeframe) -> None:
    """The first is the first of the listing, the last its last, and a coarser one is made of the minutes within."""
    rows = MARKET.rows("SOL/USD", timeframe, 0, 1 << 50, 1 << 20)
    assert rows[0].open_time_ms == FROM_MS // timeframe.ms * timeframe.ms
    assert rows[-1].open_time_ms == (UNTIL_MS - 1) // timeframe.ms * timeframe.ms
    assert MARKET.last_rows("SOL/USD", timeframe, 1 << 50, 3) == list(rows[-3:])
    minutes = MARKET.rows("SOL/USD", Timeframe.M1, FROM_MS, FROM_MS // timeframe.ms * timeframe.ms + timeframe.ms, 2000)
    assert rows[0].trades == sum(row.trades or 0 for row in minutes)


def test_the_first_candle_ever_is_found(ask: Any) -> None:
    """Binance's way to ask when a symbol began walks over no empty years."""
    with ReplayServer(MARKET, clock=lambda: UNTIL_MS + 900 * DAY_MS) as server:
        ask(server, "time")
        first = ask(server, "klines", symbol="SOLUSD", interval="1m", startTime=0, limit=1).json
        later = ask(server, "klines", symbol="SOLUSD", interval="1m", startTime=UNTIL_MS, limit=1).json
    assert [row[0] for row in first] == [FROM_MS]
    assert later == []


def test_kraken_prints_nothing_before_the_first_candle(ask: Any) -> None:
    """Silence is printed between trades, not before any."""
    now_ms = FROM_MS + 5 * MINUTE_MS
    with ReplayServer(MARKET, clock=lambda: now_ms) as server:
        rows = ask(server, "/0/public/OHLC", pair="SOLUSD").json["result"]["SOLUSD"]
        trades = ask(server, "/0/public/Trades", pair="SOLUSD", since=0).json["result"]["SOLUSD"]
    assert [row[0] * 1_000 for row in rows] == list(range(FROM_MS, now_ms + 1, MINUTE_MS))
    assert trades[0][2] * 1_000 >= FROM_MS


def test_a_symbol_can_be_forgotten(ask: Any) -> None:
    """While the server runs, and be remembered again."""
    with ReplayServer(MARKET, clock=lambda: FROM_MS + DAY_MS, limits=False) as server:

        def answers() -> list[Any]:
            listed = [listing["symbol"] for listing in ask(server, "exchangeInfo").json["symbols"]]
            klines = ask(server, "klines", symbol="SOLUSD", interval="1m", limit=1)
            candles = ask(server, "/products/SOL-USD/candles")
            ohlc = ask(server, "/0/public/OHLC", pair="SOLUSD")
            return [listed, klines.status, candles.status, ohlc.json["error"]]

        known = [["BTCUSD", "SOLUSD"], 200, 200, []]
        assert answers() == known
        server.unlisted.add("SOL/USD")
        assert answers() == [["BTCUSD"], 400, 404, ["EQuery:Unknown asset pair"]]
        assert ask(server, "klines", symbol="SOLUSD", interval="1m").json["code"] == -1121
        server.unlisted.clear()
        assert answers() == known


def test_a_listing_of_nobody_is_refused() -> None:
    """The message names the symbol and what to do."""
    with pytest.raises(ConfigError, match="'SOL/USD' is listed but not among"):
        MadeUpMarket(symbols=("BTC/USD",), listed={"SOL/USD": (None, 0)})
