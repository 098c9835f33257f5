"""The bulk archives of the replay exchange, read by our own client and by plain tools."""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from etl.extract.bulk import BulkFile, bulk_files, fetch_bulk
from etl.extract.source import Page
from etl.replay import MadeUpMarket, Market, RecordedMarket
from etl.replay.bulk import answer
from etl.series import Series, TimeRange
from etl.timeframe import to_ms

MARKET = MadeUpMarket(seed=7)
FAR_MS = 1 << 45
MONTH = "spot/monthly/klines/ETHUSDT/5m/ETHUSDT-5m-2024-02.zip"
DAY = "spot/daily/klines/ETHUSDT/5m/ETHUSDT-5m-2024-02-29.zip"


def at(text: str) -> int:
    """Return an ISO 8601 text, UTC, in milliseconds since the epoch."""
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def fetched(market: Market, series: Series, files: Sequence[BulkFile]) -> list[Page]:
    """Return the pages of the files, had over HTTP by our own client."""

    async def serve(request: web.Request) -> web.Response:
        body = answer(market, request.match_info["path"], FAR_MS)
        return web.Response(status=404) if body is None else web.Response(body=body)

    async def run() -> list[Page]:
        app = web.Application()
        app.router.add_get("/data/{path:.*}", serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/data"
            async with aiohttp.ClientSession() as session:
                pages = [await fetch_bulk(session, url, series, file, FAR_MS) for file in files]
        finally:
            await runner.cleanup()
        assert [file.window for file in files] == [page.window for page in pages if page is not None]
        return [page for page in pages if page is not None]

    return asyncio.run(run())


def as_rest(market: Market, series: Series, window: TimeRange, units: int = 1) -> list[list[Any]]:
    """Return what the REST protocol prints of a window, times in `units` of a millisecond."""
    rows = market.rows(series.symbol, series.timeframe, window.start_ms, window.end_ms, 10**6)
    last = series.timeframe.ms * units - 1
    return [
        [t * units, *prices, t * units + last, *more, "0"] for t, *prices, q, n, a, b in rows for more in [(q, n, a, b)]
    ]


@pytest.mark.enable_socket
def test_files_and_rest_print_the_same_rows() -> None:
    """Days and months, in milliseconds until the end of 2024 and in microseconds from then on."""
    series = Series.parse("binance:ETH/USDT:1m")
    time_range = TimeRange.from_ms(at("2024-11-29"), at("2025-01-03"))
    pages = fetched(MARKET, series, bulk_files(series, "ETHUSDT", time_range, FAR_MS))
    assert [page.window.count(series.timeframe) // 1440 for page in pages] == [1, 1, 31, 1, 1]
    for page in pages:
        is_new = page.window.start_ms >= at("2025-01-01")
        assert page.rows() == as_rest(MARKET, series, page.window, 1_000 if is_new else 1)
        assert page.body.startswith("open_time,") == is_new
    first, last = pages[0].rows()[0], pages[-1].rows()[-1]
    assert (first[0], first[6]) == (at("2024-11-29"), at("2024-11-29T00:01") - 1)
    assert (last[0], last[6]) == (at("2025-01-02T23:59") * 1_000, at("2025-01-03") * 1_000 - 1)


@pytest.mark.enable_socket
def test_what_a_recording_lacks_is_null_from_files_too(tmp_path: Path) -> None:
    """Dirt stays where it is: repeated rows, missing minutes, values that are none."""
    minutes = [0, 1, 1, 5, 2880]
    times = pa.array([at("2024-02-28") + minute * 60_000 for minute in minutes], pa.timestamp("ms", tz="UTC"))
    values = [1.5, 2e-7, 2.5, float("nan"), 4.0]
    columns = {name: values for name in ("open", "high", "low", "close", "volume")}
    path = tmp_path / "binance" / "BTC-USDT" / "1m.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"open_time": times, **columns, "trades": [1, None, 3, 4, 5]}), path)
    market, series = RecordedMarket(tmp_path), Series.parse("binance:BTC/USDT:1m")
    time_range = TimeRange.from_ms(at("2024-02-28"), at("2024-03-01"))
    (page,) = fetched(market, series, bulk_files(series, "BTCUSDT", time_range, FAR_MS)[:1])
    assert page.rows() == as_rest(market, series, page.window)
    assert [row[8] for row in page.rows()] == [1, None, 3, 4]
    assert page.rows()[3][1] is None
    assert answer(market, "spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-02-29.zip", FAR_MS) is None
    assert answer(market, "spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-03-01.zip", FAR_MS) is not None


@pytest.mark.parametrize(
    ("path", "published"),
    [(MONTH, "2024-03-04"), (MONTH.replace("24-02", "24-03"), "2024-04-01"), (DAY, "2024-03-01")],
)
def test_a_file_is_out_when_the_archives_publish_it(path: str, published: str) -> None:
    """A month on the first Monday after it, a day on the next, and its checksum no sooner."""
    for end in ("", ".CHECKSUM"):
        assert answer(MARKET, path + end, at(published) - 1) is None
        assert answer(MARKET, path + end, at(published)) is not None


@pytest.mark.parametrize(
    "path",
    [
        "",
        MONTH.replace("ETHUSDT", "NOPEUSDT"),
        MONTH.replace("ETHUSDT-", "BTCUSDT-"),
        MONTH.replace("5m", "7m"),
        MONTH.replace("5m/", "1m/"),
        MONTH.replace("monthly", "daily"),
        MONTH.replace("monthly", "weekly"),
        MONTH.replace("spot", "futures/um"),
        MONTH.replace("2024-02", "2024-13"),
        MONTH.replace("2024-02", "0000-02"),
        MONTH.replace("2024-02", "9999-12"),
        MONTH.replace("2024-02", "2014-02"),
        MONTH.replace("2024-02", "٢٠٢٤-02"),
        DAY.replace("02-29", "02-30"),
        DAY.replace("daily", "monthly"),
        MONTH + "x",
        MONTH + "\n",
        MONTH + ".CHECKSUM.CHECKSUM",
        "/" + MONTH,
        "data/" + MONTH,
    ],
)
def test_there_is_nothing_else(path: str) -> None:
    """Other paths, symbols, timeframes and months than there are have no file."""
    assert answer(MARKET, path, FAR_MS) is None


def test_a_file_keeps_its_checksum() -> None:
    """Another market of the same seed packs the same bytes, and sha256sum agrees with what stands beside."""
    content, stated = answer(MARKET, DAY, FAR_MS), answer(MARKET, DAY + ".CHECKSUM", FAR_MS)
    assert content is not None
    assert answer(MadeUpMarket(seed=7), DAY, FAR_MS) == content
    assert answer(MadeUpMarket(seed=8), DAY, FAR_MS) != content
    assert answer(MadeUpMarket(seed=7), DAY + ".CHECKSUM", FAR_MS) == stated
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["ETHUSDT-5m-2024-02-29.csv"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_takes_the_checksum(tmp_path: Path) -> None:
    """The file beside a zip is what Binance tells its users to give to sha256sum."""
    for end in ("", ".CHECKSUM"):
        content = answer(MARKET, DAY + end, FAR_MS)
        assert content is not None
        (tmp_path / (DAY.rpartition("/")[2] + end)).write_bytes(content)
    names = [path.name for path in tmp_path.glob("*.CHECKSUM")]
    subprocess.run(["sha256sum", "--check", "--strict", *names], cwd=tmp_path, check=True, capture_output=True)
