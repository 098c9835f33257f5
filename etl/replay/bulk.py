"""Binance's bulk archives, made from a market: a month or a day of candles as zipped CSV, and its checksum.

Knows no network. A file is the same bytes whenever it is asked for, and its rows are those of the REST protocol: what
a recording lacks is an empty value here and null there.

Source: https://github.com/binance/binance-public-data
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from etl.replay.market import Market, Row
from etl.timeframe import Timeframe, to_ms

_PATH = re.compile(
    r"spot/(?P<kind>monthly|daily)/klines/(?P<id>[A-Z0-9]{1,20})/(?P<timeframe>[0-9]{1,2}[mhd])/"
    r"(?P<name>(?P=id)-(?P=timeframe)-(?P<month>[0-9]{4}-[0-9]{2})(?P<day>-[0-9]{2})?\.zip)(?P<checksum>\.CHECKSUM)?"
)
_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
# From here on spot files have microseconds, and here a header line too. The real ones got theirs by market and date;
# a client has to read both.
_NEW_FORM_FROM = date(2025, 1, 1)
_FILES_KEPT = 8  # a month of minutes takes 2 MB
_NO_LIMIT = 1 << 31


_CHECKSUM = ".CHECKSUM"


def answer(market: Market, path: str, now_ms: int) -> bytes | None:
    """Return what is at `path`, a file or the checksum of one, or None; see `find_file`."""
    file = find_file(market, path, now_ms)
    return checksum(file) if file is not None and path.endswith(_CHECKSUM) else file


def find_file(market: Market, path: str, now_ms: int) -> bytes | None:
    """Return the file at `path`, or None where the archives have none; of a checksum, the file that it is of.

    A day's file is out when the day is over, a month's on the first Monday after it. A month of minutes that was not
    asked for lately takes half a second.

    Args:
        path: `spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01.zip`, or with `daily` and a day, or `.CHECKSUM` behind.
        now_ms: The exchange's clock, milliseconds since the epoch.
    """
    parts = _PATH.fullmatch(path)
    if parts is None or (parts["kind"] == "daily") != (parts["day"] is not None):
        return None
    symbol = {text.replace("/", ""): text for text in market.symbols}.get(parts["id"])
    if symbol is None or parts["timeframe"] not in market.timeframes(symbol):
        return None
    try:
        start = date.fromisoformat(parts["month"] + (parts["day"] or "-01"))
        end = start + timedelta(days=1) if parts["day"] else (start + timedelta(days=31)).replace(day=1)
        published = end if parts["day"] else end + timedelta(days=-end.weekday() % 7)
    except (ValueError, OverflowError):  # no such day, or the calendar's last
        return None
    if _midnight_ms(published) > now_ms:
        return None
    timeframe = Timeframe(parts["timeframe"])
    return _make_file(market, symbol, timeframe, start, end, parts["name"])  # type: ignore[arg-type]  # by identity


def checksum(content: bytes) -> bytes:
    """Return the checksum of a file, as it lies beside it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = archive.namelist()[0].removesuffix(".csv") + ".zip"
    return f"{hashlib.sha256(content).hexdigest()}  {name}".encode()


def with_lines(content: bytes, change: Callable[[list[str]], Sequence[str]]) -> bytes:
    """Return a file with other lines, the one of names left alone."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = archive.namelist()[0]
        lines = archive.read(name).decode().splitlines()
    names = lines[:1] if lines[0] == _HEADER else []
    return _pack(name, [*names, *change(lines[len(names) :])])


@lru_cache(maxsize=_FILES_KEPT)
def _make_file(market: Market, symbol: str, timeframe: Timeframe, start: date, end: date, name: str) -> bytes | None:
    rows = market.rows(symbol, timeframe, _midnight_ms(start), _midnight_ms(end), _NO_LIMIT)
    if not rows:
        return None
    lines = _to_lines(rows, timeframe, 1_000 if start >= _NEW_FORM_FROM else 1)
    if start >= _NEW_FORM_FROM:
        lines.insert(0, _HEADER)
    return _pack(name.removesuffix(".zip") + ".csv", lines)


def _pack(name: str, lines: Sequence[str]) -> bytes:
    packed = io.BytesIO()
    # ZipInfo's own fixed date: with the machine's clock in it a file would not keep its checksum.
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(member, "\n".join([*lines, ""]))
    return packed.getvalue()


def _to_lines(rows: Iterable[Row], timeframe: Timeframe, units: int) -> list[str]:
    """Return the rows as CSV, times in `units` of a millisecond."""
    last = timeframe.ms * units - 1
    lines = []
    for open_time_ms, *prices, quote_volume, trades, taker_volume, taker_quote_volume in rows:
        at = open_time_ms * units
        cells = (at, *prices, at + last, quote_volume, trades, taker_volume, taker_quote_volume, 0)
        lines.append(",".join(["" if cell is None else str(cell) for cell in cells]))
    return lines


def _midnight_ms(day: date) -> int:
    return to_ms(datetime(day.year, day.month, day.day, tzinfo=UTC))
