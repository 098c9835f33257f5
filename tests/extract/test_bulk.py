"""The bulk archives' client: which files it asks for, how it reads them, and what it refuses."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import logging
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import tenacity
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from etl.extract.bulk import BulkFile, bulk_files, fetch_bulk
from etl.extract.kline_csv import csv_rows
from etl.extract.source import Page, Route
from etl.series import TimeRange
from etl.timeframe import Timeframe, to_ms
from tests.conftest import BTC

NOW_MS = 1_750_000_000_000
NAME = "BTCUSDT-1m-2024-01-05"
PATH = f"spot/daily/klines/BTCUSDT/1m/{NAME}.zip"
DAY = TimeRange(datetime(2024, 1, 5, tzinfo=UTC), datetime(2024, 1, 6, tzinfo=UTC))
LINE = "1704412800000,59803.62,59811.63,59586.12,59592.26,60.6,1704412859999,3622341.9,7496,1.2,72446.3,0"
CUT = b"PK"  # announced as more than is sent
ROW = [1704412800000, *LINE.split(",")[1:6], 1704412859999, "3622341.9", 7496, "1.2", "72446.3", "0"]


def moment(text: str) -> datetime:
    """Return an ISO 8601 text as an aware time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def names(start: str, end: str, now: str, symbol_id: str = "BTCUSDT") -> list[str]:
    """Return the month or day of each file of `[start, end)`, asked for at `now`."""
    files = bulk_files(BTC, symbol_id, TimeRange(moment(start), moment(end)), to_ms(moment(now)))
    return [file.path.removesuffix(".zip").partition("-1m-")[2] for file in files]


def test_whole_months_come_as_one_file_and_the_days_around_them_each() -> None:
    """The ends that are no whole days are left to the API."""
    assert names("2024-01-30T12:00", "2024-03-02T23:59", "2025-01-01") == ["2024-01-31", "2024-02", "2024-03-01"]
    (file,) = bulk_files(BTC, "BTCUSDT", TimeRange(moment("2024-12-01"), moment("2025-01-01")), NOW_MS)
    assert file.path == "spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-12.zip"
    assert file.window == TimeRange(moment("2024-12-01"), moment("2025-01-01"))


def test_a_file_is_asked_for_once_it_must_be_out() -> None:
    """A month two days after the first Monday of the next, until then its days; a day a day and a half after its end.

    The first Monday of March 2024 is the 4th, that of April the 1st.
    """
    february = ("2024-02-01", "2024-03-01")
    assert names(*february, "2024-03-06T00:00") == ["2024-02"]
    assert names(*february, "2024-03-05T23:59") == [f"2024-02-{day:02}" for day in range(1, 30)]
    assert names("2024-03-01", "2024-04-01", "2024-04-03") == ["2024-03"]
    assert names("2024-03-01", "2024-03-05", "2024-03-05T12:00") == ["2024-03-01", "2024-03-02", "2024-03-03"]
    assert names("2024-03-01", "2024-03-05", "2024-03-05T11:59") == ["2024-03-01", "2024-03-02"]
    assert names("2024-03-01", "9999-12-31", "2024-02-01") == []


def test_short_ranges_and_odd_symbols_have_no_files() -> None:
    """The API is as quick for fewer than two whole days; what is no plain name never gets into an URL."""
    assert names("2024-03-01", "2024-03-02", "2025-01-01") == []
    assert names("2024-03-01T00:01", "2024-03-03T23:59", "2025-01-01") == []
    for symbol_id in ("", "../BTC", "btcusdt", "BTC/USDT", "BTC_USDT", "BTCUSDT\n", "ＢＴＣ"):
        assert names("2024-03-01", "2024-03-09", "2025-01-01", symbol_id) == []


@given(st.integers(0, 10**7), st.integers(1, 10**6), st.integers(0, 10**6))
def test_files_are_ascending_disjoint_inside_and_closed(start: int, minutes: int, age: int) -> None:
    """Whatever is asked for and whenever, and no whole day that must be out is left out."""
    begin = moment("2017-08-17") + timedelta(minutes=start % (10**6 * 4))
    wanted = TimeRange(begin, begin + timedelta(minutes=minutes))
    now = begin + timedelta(minutes=age)
    files = bulk_files(BTC, "BTCUSDT", wanted, to_ms(now))
    bounds = [bound for file in files for bound in (file.window.start, file.window.end)]
    assert bounds == sorted(bounds)
    assert all(wanted.start <= bound <= min(wanted.end, now) for bound in bounds)
    days = range(to_ms(Timeframe.D1.ceil(wanted.start)), wanted.end_ms - 86_400_000 + 1, 86_400_000)
    out = [day for day in days if day + 2.5 * 86_400_000 <= to_ms(now)] if len(days) > 1 else []
    held = [day for day in days if any(f.window.start_ms <= day < f.window.end_ms for f in files)]
    assert held == out


def test_rows_are_those_of_the_api() -> None:
    """Times and trades are integers, the rest decimal strings; a header and empty lines are no rows."""
    assert csv_rows(f"{LINE}\n") == csv_rows(LINE) == csv_rows(f"\n{LINE}\r\n\n") == [ROW]
    assert csv_rows(f"open_time,open,high,low,close,volume\n{LINE}\n{LINE}\n") == [ROW, ROW]
    assert csv_rows("") == csv_rows("\n") == csv_rows("open_time,open\n") == []


@pytest.mark.parametrize(
    "line",
    ["1704412800000,59803.62,5", f"{LINE},7", "x", "<html>", LINE.rpartition(",")[0], "\ufeffé" + LINE + ",", "1.5"],
)
def test_a_row_of_another_width_is_kept_as_it_came(line: str) -> None:
    """Quarantine shows it whole, and its neighbours are read as ever."""
    assert csv_rows(f"{LINE}\n{line}\n{LINE}\n") == [ROW, line.split(","), ROW]


@pytest.mark.parametrize(
    ("place", "cell", "read"),
    [
        (0, "", None),
        (8, "", None),
        (11, "", None),
        (1, "", None),
        (0, "1_0", "1_0"),
        (6, " 7", " 7"),
        (6, "7\x1f", "7\x1f"),
        (8, "-7", "-7"),
        (8, "1.5", "1.5"),
        (0, "٣", "٣"),
        (0, "²", "²"),
        (0, "1704412800000000", 1704412800000000),
        (8, "9" * 5000, "9" * 5000),
        (4, "NaN", "NaN"),
        (4, "1e5", "1e5"),
    ],
)
def test_what_is_no_number_stays_text_and_what_is_empty_is_null(place: int, cell: str, read: object) -> None:
    """As the API prints null for it; nothing is guessed, and nothing that Python takes for a number besides digits."""
    cells, row = LINE.split(","), list(ROW)
    cells[place], row[place] = cell, read
    assert csv_rows("\n".join([LINE, ",".join(cells), LINE])) == [ROW, row, ROW]


def zipped(text: str | bytes = f"{LINE}\n", member: str = f"{NAME}.csv", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip with one member."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr(member, text)
    return packed.getvalue()


def checksum(content: bytes, name: str = f"{NAME}.zip") -> bytes:
    """Return what stands beside a zip."""
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()


def fetch(answers: Mapping[str, Any], file: BulkFile | None = None, asked: list[str] | None = None) -> Page | None:
    """Fetch from a server that answers by the end of the path: bytes as they are, numbers as a status."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if asked is not None:
            asked.append(request.path)
        found = answers.get(request.path.removeprefix("/data/"), 404)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(found, int):
            return web.Response(status=found, headers={"Location": "/elsewhere"} if found < 400 else None)
        if found is not CUT:
            return web.Response(body=found)
        response = web.StreamResponse(headers={"Content-Length": "999"})
        await response.prepare(request)
        await response.write(found)
        assert request.transport is not None
        request.transport.close()
        return response

    async def run() -> Page | None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/data/"
            async with aiohttp.ClientSession() as session:
                return await fetch_bulk(session, url, BTC, file or BulkFile(DAY, PATH), NOW_MS)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def beside(content: bytes, stated: bytes | None = None) -> dict[str, Any]:
    """Return a zip and its checksum, as the archives have them."""
    return {PATH: content, f"{PATH}.CHECKSUM": checksum(content) if stated is None else stated}


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tries follow at once."""
    monkeypatch.setattr("etl.extract.bulk._wait", tenacity.wait_none())


@pytest.mark.enable_socket
def test_a_sound_file_becomes_a_page() -> None:
    """Its body is the text inside, its window the file's."""
    page = fetch(beside(zipped()))
    assert page == Page(BTC, DAY, NOW_MS, f"{LINE}\n", Route.BULK)
    assert page is not None
    assert page.rows() == [ROW]
    binary = f"{hashlib.sha256(zipped()).hexdigest().upper()} *{NAME}.zip".encode()
    assert fetch(beside(zipped(), binary)) == page


def _many() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(40):
            archive.writestr(f"{number}", b"")
    return packed.getvalue()


def _bomb_that_lies() -> bytes:
    """Return 65 MB of zeros that call themselves ten bytes."""
    size = 65 << 20
    return zipped(bytes(size)).replace(size.to_bytes(4, "little"), (10).to_bytes(4, "little"))


_REFUSED = {
    "another checksum": (zipped(), checksum(b"another"), "not what its checksum says"),
    "the checksum of another file": (zipped(), checksum(zipped(), "ETHUSDT-1m-2024-01-05.zip"), "names no checksum"),
    "a checksum without a name": (zipped(), checksum(zipped(), ""), "names no checksum"),
    "no checksum": (zipped(), b"<html>maintenance</html>", "names no checksum"),
    "a checksum without an end": (zipped(), checksum(zipped()) * 20, "sends over 1024 bytes"),
    "half a zip": (zipped()[:100], None, "cannot be unpacked"),
    "a zip that is none": (b"<html>maintenance</html>", None, "cannot be unpacked"),
    "damage inside": (zipped(method=zipfile.ZIP_STORED).replace(b"59803", b"59804"), None, "cannot be unpacked"),
    "another member": (zipped(member="ETHUSDT-1m-2024-01-05.csv"), None, "the zip holds"),
    "a member with a path": (zipped(member=f"../{NAME}.csv"), None, "the zip holds"),
    "a folder": (zipped("", member=f"{NAME}.csv/"), None, "the zip holds"),
    "many members": (_many(), None, "many files"),
    "a bomb": (zipped(bytes(65 << 20)), None, "unpacks to 68157440 bytes"),
    "a bomb that lies": (_bomb_that_lies(), None, "cannot be unpacked"),
    "another method": (zipped(method=zipfile.ZIP_LZMA), None, "packed by method 14"),
    "no text": (zipped(b"\xff\xfe" + LINE.encode()), None, "cannot be unpacked"),
    "no rows": (zipped("open_time,open\n\n"), None, "holds no row"),
    "more rows than candles": (zipped("1\n" * 34_753), None, "holds over 34752 cells"),
    "a row without an end": (zipped("1," * 34_753), None, "holds over 34752 cells"),
    "too much": (bytes(17 << 20), None, "sends over 16777216 bytes"),
}


@pytest.mark.enable_socket
@pytest.mark.parametrize(("content", "stated", "reason"), _REFUSED.values(), ids=_REFUSED)
def test_a_file_that_is_not_as_it_should_be_is_passed_over(
    caplog: pytest.LogCaptureFixture, content: bytes, stated: bytes | None, reason: str
) -> None:
    """With a warning that says why, and without a second try."""
    asked: list[str] = []
    assert fetch(beside(content, stated), asked=asked) is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert reason in caplog.text
    assert "binance:BTC/USDT:1m" in caplog.text
    assert len(asked) == len(set(asked))


@pytest.mark.enable_socket
def test_a_file_that_is_not_there_is_no_cause_for_concern(caplog: pytest.LogCaptureFixture) -> None:
    """Neither with its checksum nor without: a line for those who look."""
    caplog.set_level(logging.INFO, "etl")
    assert fetch({}) is None
    assert fetch({f"{PATH}.CHECKSUM": checksum(zipped())}) is None
    assert fetch({PATH: zipped()}) is None
    assert [record.levelno for record in caplog.records] == [logging.INFO] * 3


@pytest.mark.enable_socket
@pytest.mark.usefixtures("no_pauses")
def test_a_server_that_fails_is_asked_a_few_times(caplog: pytest.LogCaptureFixture) -> None:
    """A failure that passes costs nothing; one that stays is a warning."""
    sound = beside(zipped())
    assert fetch({**sound, PATH: [503, 429, zipped()]}) is not None
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    for fault in (500, CUT):
        asked: list[str] = []
        assert fetch({**sound, PATH: fault}, asked=asked) is None
        assert asked.count(f"/data/{PATH}") == 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


@pytest.mark.enable_socket
def test_what_helps_no_more_is_not_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    """A refusal, or a way elsewhere, which nobody follows."""
    for status in (301, 403, 418):
        asked: list[str] = []
        assert fetch({**beside(zipped()), f"{PATH}.CHECKSUM": status}, asked=asked) is None
        assert asked == [f"/data/{PATH}.CHECKSUM"]
        assert f"answers {status}" in caplog.text


@pytest.mark.enable_socket
def test_a_path_that_is_none_is_never_asked_for() -> None:
    """A path that could escape from the archives is not put into an URL."""
    asked: list[str] = []
    for path in ("", "../../etc/passwd", PATH + "?x", PATH.replace("BTCUSDT/", "BTC/../USDT/")):
        assert fetch({}, BulkFile(DAY, path), asked) is None
    assert asked == []


@pytest.mark.enable_socket
@pytest.mark.parametrize(("month", "days"), [("2025-09", 30), ("2025-11", 30)])
def test_a_real_month_is_read_to_the_last_row(real_data: Path, month: str, days: int) -> None:
    """With its header line, every minute of it, each value of it."""
    path = real_data.parent / "raw" / "binance_vision_csv" / f"NEARUSDT-1m-{month}.csv.gz"
    if not path.exists():
        pytest.skip("no recorded bulk file")
    text = gzip.decompress(path.read_bytes()).decode()
    (start, name) = (moment(f"{month}-01"), f"NEARUSDT-1m-{month}")
    file = BulkFile(TimeRange(start, start + timedelta(days=days)), f"spot/monthly/klines/NEARUSDT/1m/{name}.zip")
    content = zipped(text, f"{name}.csv")
    page = fetch({file.path: content, f"{file.path}.CHECKSUM": checksum(content, f"{name}.zip")}, file)
    assert page is not None
    rows = csv_rows(page.body)
    assert [row[0] for row in rows] == list(range(file.window.start_ms, file.window.end_ms, 60_000))
    assert text.splitlines()[1:] == [",".join(map(str, row)) for row in rows]
    assert {tuple(map(type, row)) for row in rows} == {(int, *[str] * 5, int, str, int, *[str] * 3)}
