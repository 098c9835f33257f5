"""Answers that real exchanges gave, byte for byte, through real ccxt and our adapters: every candle is read."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from etl.extract import Page, Route
from etl.feeds_file import load_settings
from etl.fetching import open_exchange
from etl.replay import MadeUpMarket, ReplayServer
from etl.series import Series, TimeRange
from etl.validate import ReceivedRows, clean


@pytest.fixture(scope="session")
def raw_data(real_data: Path) -> Path:
    """The folder of recorded answers."""
    return real_data.parent / "raw"


def through_the_adapter(series: Series, window: TimeRange, candles_path: str, body: str) -> Page:
    """Return the page that the adapter makes of `body`, served by an exchange that the replay otherwise plays."""
    server = ReplayServer(MadeUpMarket(symbols=[series.symbol]), clock=lambda: window.end_ms + 1)

    async def answer(request: web.Request) -> web.Response:
        if candles_path in request.path:
            return web.Response(text=body, content_type="application/json")
        async with aiohttp.ClientSession() as session, session.get(server.url + request.path_qs) as passed:
            return web.Response(body=await passed.read(), content_type="application/json")

    async def run() -> Page:
        await server.start()
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        with pytest.MonkeyPatch.context() as patch:
            address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            patch.setenv(f"CHANDLER_EXCHANGES__{series.exchange.upper()}__BASE_URL", address)
            async with open_exchange(series.exchange, load_settings(), None) as exchange:
                page = await exchange.source.fetch_page(series, window, Route.CANDLES)
        await runner.cleanup()
        await server.stop()
        return page

    return asyncio.run(run())


def candles_of(page: Page) -> list[tuple[Any, ...]]:
    """Return what cleaning accepts of a page: open_time_ms, open, high, low, close, volume, trades."""
    layout = load_settings().traits(page.series.exchange).layout
    cleaned = clean([ReceivedRows(page.rows(), page.fetched_at_ms, layout)], page.series, page.window)
    assert not cleaned.refused
    rows = cleaned.candles.to_pylist()
    names = ("open", "high", "low", "close", "volume", "trades")
    return [(int(row["open_time"].timestamp() * 1000), *(row[name] for name in names)) for row in rows]


def span_of(times_s: list[int]) -> TimeRange:
    """Return the range that candles of a minute at these times cover."""
    return TimeRange.from_ms(min(times_s) * 1000, max(times_s) * 1000 + 60_000)


def test_kraken(raw_data: Path) -> None:
    """Its OHLC: an envelope, decimal strings, the mean price between close and volume."""
    body = (raw_data / "xchange_rest" / "kraken__example-ohlc-data.json").read_text()
    (rows,) = (value for value in json.loads(body)["result"].values() if isinstance(value, list))
    page = through_the_adapter(Series.parse("kraken:BTC/USD:1m"), span_of([row[0] for row in rows]), "OHLC", body)
    expected = [(t * 1000, *map(float, (o, h, lo, c, v)), n) for t, o, h, lo, c, _, v, n in rows]
    assert candles_of(page) == expected
    assert len(expected) == len(rows) > 700


def test_coinbase(raw_data: Path) -> None:
    """Its candles: newest first, low before high, numbers."""
    body = (raw_data / "xchange_rest" / "coinbase_pro__example-historical-candles.json").read_text()
    rows = json.loads(body)
    page = through_the_adapter(Series.parse("coinbase:BTC/USD:1m"), span_of([row[0] for row in rows]), "candles", body)
    expected = [(t * 1000, o, h, lo, c, v, None) for t, lo, h, o, c, v in reversed(rows)]
    assert candles_of(page) == expected


def test_binance(raw_data: Path) -> None:
    """A thousand of its klines, as recorded, in the twelve columns of the API."""
    with gzip.open(raw_data / "binance_vision_csv" / "NEARUSDT-1m-2025-09.csv.gz", "rt") as file:
        lines = list(csv.reader(file))[1:1001]
    rows = [[int(row[0]), *row[1:6], int(row[6]), row[7], int(row[8]), *row[9:]] for row in lines]
    window = span_of([row[0] // 1000 for row in rows])
    page = through_the_adapter(Series.parse("binance:NEAR/USDT:1m"), window, "klines", json.dumps(rows))
    assert candles_of(page) == [(row[0], *map(float, row[1:6]), row[8]) for row in rows]
