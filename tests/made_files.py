"""One day of candles as people's files have it: the same values in each format, layout and form of time."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

START = datetime(2024, 3, 14, tzinfo=UTC)
HOURS = 24
CANDLES = [
    (START + timedelta(hours=n), 100 + n / 4, 100.5 + n / 4, 99.25 + n / 4, 100.125 + n / 4, 1.5 + n)
    for n in range(HOURS)
]
"""open_time, open, high, low, close, volume; the hours of a day after the 12th."""

Stamp = Callable[[datetime], str]


def epoch_s(moment: datetime) -> str:
    """Return seconds since the epoch."""
    return str(int(moment.timestamp()))


def epoch_ms(moment: datetime) -> str:
    """Return milliseconds since the epoch."""
    return epoch_s(moment) + "000"


def form(pattern: str) -> Stamp:
    """Return what writes moments by a pattern of strftime."""
    return lambda moment: moment.strftime(pattern)


def lines(stamp: Stamp, separator: str = ",", decimal: str = ".", more: str = "") -> list[str]:
    """Return the candles as lines, each with `more` at its end."""
    rows = []
    for opened, *values in CANDLES:
        cells = [stamp(opened), *(f"{value}".replace(".", decimal) for value in values)]
        rows.append(separator.join(cells) + more)
    return rows


def text(header: str | None, rows: list[str], end: str = "\n") -> bytes:
    """Return a file of lines."""
    return (end.join([*([] if header is None else [header]), *rows]) + end).encode()


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Return a zip archive."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return sink.getvalue()


def table(**columns: list[object]) -> pa.Table:
    """Return the candles as freqtrade's columns, and others."""
    names = ("date", "open", "high", "low", "close", "volume")
    return pa.table({**dict(zip(names, map(list, zip(*CANDLES, strict=True)), strict=True)), **columns})


def feather(compression: str) -> bytes:
    """Return a Feather file."""
    sink = io.BytesIO()
    pyarrow.feather.write_feather(table(), sink, compression=compression)
    return sink.getvalue()


def parquet(candles: pa.Table) -> bytes:
    """Return a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(candles, sink)
    return sink.getvalue()


HEADER = "time,open,high,low,close,volume"
_ARRAYS = [[int(epoch_ms(opened)), *values] for opened, *values in CANDLES]
_OBJECTS = [dict(zip(HEADER.split(","), row, strict=True)) for row in _ARRAYS]
_KRAKEN = text(None, lines(epoch_s, more=",35"))
_YAHOO = "Price,Open,High,Low,Close,Volume\nTicker,BTC-USD,BTC-USD,BTC-USD,BTC-USD,BTC-USD\nDate,,,,,"

READ: Mapping[str, bytes] = {
    "kraken-without-header.csv": _KRAKEN,
    "ccxt-without-header.csv": text(None, lines(epoch_ms)),
    "spaces.csv": text(None, [row.replace(",", ", ") for row in lines(epoch_ms)]),
    "decimals.csv": text(None, [row + "0000000000000" for row in lines(epoch_ms)]),
    "metatrader.csv": text("Date,Time,Open,High,Low,Close,Volume", lines(form("%Y.%m.%d,%H:%M"))),
    "metatrader-without-header.csv": text(None, lines(form("%Y.%m.%d,%H:%M"))),
    "stooq.txt": text(
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        lines(form("BTC.V,60,%Y%m%d,%H%M%S"), more=",0"),
    ),
    "semicolons.csv": text(HEADER.replace(",", ";"), lines(form("%Y-%m-%d %H:%M:%S"), ";", ",")),
    "semicolons-without-header.csv": text(None, lines(epoch_s, ";", ",")),
    "tabs.tsv": text(HEADER.replace(",", "\t"), lines(form("%Y/%m/%d %H:%M"), "\t")),
    "groups.csv": text(
        HEADER, [f'{epoch_s(at)},"{o:,}","{h:,}","{lo:,}","{c:,}","{v:,}"' for at, o, h, lo, c, v in CANDLES]
    ),
    "utc-behind.csv": text(HEADER, lines(form("%Y-%m-%d %H:%M:%S UTC"))),
    "offset.csv": text(HEADER, lines(lambda at: (at + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M+02:00"))),
    "day-first.csv": text(HEADER, lines(form("%d/%m/%Y %H:%M"))),
    "day-first-with-points.csv": text("Gmt time,open,high,low,close,volume", lines(form("%d.%m.%Y %H:%M:%S.000"))),
    "month-first.csv": text(HEADER, lines(form("%m/%d/%Y %I:%M:%S %p"))),
    "months-by-name.csv": text(HEADER, lines(form("%d-%b-%Y %H:%M"))),
    "months-in-front.csv": text(HEADER, lines(form('"%b %d, %Y %I:%M %p"'))),
    "compact.csv": text(HEADER, lines(form("%Y%m%d%H%M%S"))),
    "windows.csv": b"\xef\xbb\xbf" + text(HEADER + "\r\n", lines(epoch_s), "\r\n"),
    "yahoo.csv": text(_YAHOO, lines(form("%Y-%m-%d %H:%M:%S+00:00"))),
    "freqtrade.json": json.dumps(_ARRAYS).encode(),
    "objects.json": json.dumps(_OBJECTS, indent=2).encode(),
    "strings.json": json.dumps([[row[0], *map(str, row[1:])] for row in _ARRAYS], separators=(",", ":")).encode(),
    "freqtrade.json.gz": gzip.compress(json.dumps(_ARRAYS).encode()),
    "arrays.jsonl": "\n".join(map(json.dumps, _ARRAYS)).encode(),
    "objects.ndjson": "\n".join(map(json.dumps, _OBJECTS)).encode(),
    "kraken.zip": zipped({"XBTUSD_60.csv": _KRAKEN}),
    "all-of-kraken.zip": zipped(
        {"a/ETHUSD_60.csv": b"1,1,1,1,1,1,1", "a/XBTUSD_1.csv": b"", "a/XBTUSD_60.csv": _KRAKEN}
    ),
    "objects.json.zip": zipped({"../../etc/objects.json": json.dumps(_OBJECTS).encode()}),
    "freqtrade.feather": feather("lz4"),
    "zstd.feather": feather("zstd"),
    "plain.arrow": feather("uncompressed"),
    "symbol.parquet": parquet(table(symbol=["BTCUSD"] * HOURS)),
}
"""Files that hold CANDLES and nothing else."""
