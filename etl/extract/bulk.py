"""Binance's bulk archives: whole months and days of candles as zipped CSV, each with its checksum beside it.

They spare the API hundreds of pages. Nothing in them is taken on trust: a file that is not there, or is not what it
should be, is passed over with a line in the log, and the caller asks the API. The archives have missing candles of
their own, so a candle that a file lacks is not proven absent.

Source: https://github.com/binance/binance-public-data
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import re
import zipfile
import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import aiohttp
import tenacity

from etl.answers import OnAnswer, Outcome, Outcomes, counted, ignore
from etl.extract.kline_csv import WIDTH, without_header
from etl.extract.source import Page, Route
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe, from_ms

log = logging.getLogger(__name__)

# A month of minutes, the largest file there is, takes about 2 MB zipped and 6 MB as text. Some are under way at once.
_MOST_ZIPPED_BYTES = 16 << 20
_MOST_TEXT_BYTES = 64 << 20
_MOST_CHECKSUM_BYTES = 1 << 10
_MOST_NAMES = 16
_LINES_BESIDES = 16  # a header, and what is blank

_TRIES = 3
_wait = tenacity.wait_exponential_jitter(multiplier=0.5, max=4.0, jitter=0.5)
_TIMEOUT = aiohttp.ClientTimeout(total=60.0, sock_connect=10.0, sock_read=15.0)
_MONTH_SETTLES = timedelta(days=2)
_DAY_SETTLES = timedelta(hours=36)

_SYMBOL_ID = re.compile(r"[A-Z0-9]+", re.ASCII)
_PATH = re.compile(r"spot/(monthly|daily)/klines/[A-Z0-9]+/\w+/[A-Z0-9]+-\w+-\d{4}-\d\d(-\d\d)?\.zip", re.ASCII)
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64}) [ *](\S+)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class BulkFile:
    """One file of the archives.

    Attributes:
        window: The whole month or day, UTC, that it holds.
        path: Where it is: `spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01.zip`.
    """

    window: TimeRange
    path: str


class _NotThereError(Exception):
    """The archives have no such file."""


class _UnusableError(Exception):
    """The file is not what the archives promise."""


class _BusyError(_UnusableError):
    """The server does not answer just now."""


class _TooOftenError(_BusyError):
    """The server wants fewer requests."""


_OUTCOMES: Outcomes = (
    (_NotThereError, Outcome.OK),  # which is what was asked
    (_TooOftenError, Outcome.RATE_LIMIT),
    (_BusyError, Outcome.UNAVAILABLE),
    (_UnusableError, Outcome.MALFORMED),
    (aiohttp.ClientError, Outcome.UNAVAILABLE),
    (OSError, Outcome.UNAVAILABLE),
)


def bulk_files(series: Series, symbol_id: str, time_range: TimeRange, now_ms: int) -> list[BulkFile]:
    """Return the files that hold the whole days of a range, as few as may be.

    Whole months come as one file once that must be out: it is published on the first Monday of the next month, and
    gets two days more. Other whole days come as one file each, published the next day, a day and a half after their
    end. What is left over at both ends, and what is too young, is for the API; and all of a range with fewer than two
    whole days, where the API is as quick.

    Args:
        symbol_id: Binance's name of the symbol, `BTCUSDT`; another than of letters and digits has no files.
        now_ms: The exchange's clock, milliseconds since the epoch.

    Returns:
        Ascending and disjoint, all of them inside the range.
    """
    first, last = Timeframe.D1.ceil(time_range.start).date(), time_range.end.date()
    if not _SYMBOL_ID.fullmatch(symbol_id) or (last - first).days < 2:
        return []
    now = from_ms(now_ms)
    last = min(last, now.date())
    files = []
    day = first
    while day < last:
        month_end = _next_month(day)
        next_day = day + timedelta(days=1)
        if day.day == 1 and month_end <= last and now >= _midnight(_first_monday(month_end)) + _MONTH_SETTLES:
            files.append(_file(series, symbol_id, "monthly", day, month_end))
            day = month_end
        else:
            if now >= _midnight(next_day) + _DAY_SETTLES:
                files.append(_file(series, symbol_id, "daily", day, next_day))
            day = next_day
    return files


async def fetch_bulk(
    session: aiohttp.ClientSession,
    base_url: str,
    series: Series,
    file: BulkFile,
    fetched_at_ms: int,
    on_answer: OnAnswer = ignore,
) -> Page | None:
    """Download a file, hold it against its checksum, and unpack it.

    Args:
        base_url: What stands before the file's path: `https://data.binance.vision/data`.
        fetched_at_ms: The exchange's clock, read before.
        on_answer: Told of each request.

    Returns:
        A page of the file's whole window, its body the CSV text; None if the file is not there or not as it should be,
        or the server fails a few times on end. The log says which; nothing that the server does raises.
    """
    if not _PATH.fullmatch(file.path):
        return None
    url = f"{base_url.rstrip('/')}/{file.path}"
    name = file.path.rpartition("/")[2]
    try:
        checksum = await _download_patiently(session, f"{url}.CHECKSUM", _MOST_CHECKSUM_BYTES, on_answer)
        content = await _download_patiently(session, url, _MOST_ZIPPED_BYTES, on_answer)
        most_cells = WIDTH * (_LINES_BESIDES + 2 * file.window.count(series.timeframe))
        body = await asyncio.to_thread(_unpack, content, checksum, name, most_cells)
    except _NotThereError as error:
        log.info("%s %s: no bulk file (%s); asking the API", series, file.window, error)
    except (_UnusableError, aiohttp.ClientError, OSError) as error:
        log.warning("%s %s: the bulk file is passed over (%s); asking the API", series, file.window, _reason(error))
    else:
        return Page(series, file.window, fetched_at_ms, body, Route.BULK)
    return None


def _unpack(content: bytes, checksum: bytes, name: str, most_cells: int) -> str:
    """Return the text inside the zip file `name`.

    Raises:
        _UnusableError: The checksum is not this content's, or the content not one CSV file of the right name and size.
    """
    stated = _CHECKSUM.fullmatch(checksum.decode("ascii", errors="replace"))
    if stated is None or stated[2] != name:
        raise _UnusableError(f"{name}.CHECKSUM names no checksum of it")
    if hashlib.sha256(content).hexdigest() != stated[1].lower():
        raise _UnusableError(f"{name} is not what its checksum says")
    try:
        member = _read_member(content, f"{name.removesuffix('.zip')}.csv")
        if member.count(b"\n") + member.count(b",") > most_cells:
            raise _UnusableError(f"{name} holds over {most_cells} cells, far more than its window's candles")
        text = member.decode()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError) as error:
        raise _UnusableError(f"{name} cannot be unpacked: {_reason(error)}") from error
    if not without_header(text).strip():
        raise _UnusableError(f"{name} holds no row")
    return text


def _read_member(content: bytes, name: str) -> bytes:
    # A list of a million names would take a gigabyte before the first was looked at.
    if content.count(b"PK\x01\x02") > _MOST_NAMES:
        raise _UnusableError("the zip holds many files")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if [member.filename for member in members] != [name]:
            raise _UnusableError(f"the zip holds {[member.filename[:80] for member in members]}, not {name}")
        if members[0].file_size > _MOST_TEXT_BYTES:
            raise _UnusableError(f"the zip unpacks to {members[0].file_size} bytes")
        if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _UnusableError(f"the zip is packed by method {members[0].compress_type}")
        with archive.open(members[0]) as file:
            text = file.read(_MOST_TEXT_BYTES + 1)
    if len(text) > _MOST_TEXT_BYTES:
        raise _UnusableError(f"the zip unpacks to over {_MOST_TEXT_BYTES} bytes")
    return text


async def _download_patiently(session: aiohttp.ClientSession, url: str, most_bytes: int, on_answer: OnAnswer) -> bytes:
    async def download() -> bytes:
        with counted(on_answer, _OUTCOMES):
            return await _download(session, url, most_bytes)

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type((_BusyError, aiohttp.ClientError, OSError)),
        stop=tenacity.stop_after_attempt(_TRIES),
        wait=_wait,
        reraise=True,
    )
    return await retrying(download)


async def _download(session: aiohttp.ClientSession, url: str, most_bytes: int) -> bytes:
    """Return what is at `url`, asked once.

    Raises:
        _NotThereError: HTTP 404.
        _BusyError: The server may have it in a moment.
        _UnusableError: The server says something else, or more than `most_bytes`.
    """
    # Unpacked by us or not at all: an encoding would be a second zip around the zip. No redirects: what leads
    # elsewhere is no archive's answer.
    headers = {"Accept-Encoding": "identity"}
    name = url.rpartition("/")[2]
    async with session.get(url, headers=headers, timeout=_TIMEOUT, allow_redirects=False) as response:
        if response.status == 404:
            raise _NotThereError(f"{name} answers 404")
        if response.status == 429:
            raise _TooOftenError(f"{name} answers 429")
        if response.status >= 500:
            raise _BusyError(f"{name} answers {response.status}")
        if response.status != 200:
            raise _UnusableError(f"{name} answers {response.status}")
        content = bytearray()
        async for piece in response.content.iter_chunked(1 << 16):
            content += piece
            if len(content) > most_bytes:
                raise _UnusableError(f"{name} sends over {most_bytes} bytes")
        return bytes(content)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _file(series: Series, symbol_id: str, kind: str, start: date, end: date) -> BulkFile:
    name = f"{symbol_id}-{series.timeframe}-{start.isoformat()[: 7 if kind == 'monthly' else 10]}.zip"
    window = TimeRange(_midnight(start), _midnight(end))
    return BulkFile(window, f"spot/{kind}/klines/{symbol_id}/{series.timeframe}/{name}")


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def _first_monday(month: date) -> date:
    return month + timedelta(days=-month.weekday() % 7)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
