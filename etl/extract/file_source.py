"""Candles that lie in a file which somebody has, CSV or Parquet, into raw pages.

A file is read in a stream and more than once, so memory holds the pages that are asked for and no more, however large
the file turns out to be when it is unpacked. Its bytes are never trusted: no name in it names a place.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from etl.errors import ConfigError
from etl.extract.file_columns import FileColumns, find_columns
from etl.extract.source import Page, Route
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe, from_ms

_LONGEST_LINE = 1 << 16
_MOST_LINES = 20_000_000  # every minute since 2009 is nine million
_MOST_TEXT_BYTES = 4 << 30
_FIRST_LINES = 10
_BATCH_ROWS = 1 << 16
_DAY_MS = 86_400_000
_SILENCE_DAYS = 7
_ENOUGH_ROWS = 20  # on a coarser grid by chance: never


@dataclass(slots=True)
class _Day:
    """What a file holds of one UTC day; open times on the grid, milliseconds since the epoch."""

    first_ms: int
    last_ms: int
    text_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CandleFile:
    """A file that was looked through.

    Attributes:
        columns: How its lines look.
        skipped: How many lines stand before the first row.
        modified_ms: When it was written; a candle that had not closed by then was still forming.
        digest: SHA-256 of its bytes.
        rows: How many lines follow the header, empty ones not among them.
        stretches: What it says something of: ascending, disjoint. Where it is silent for a week it says nothing.
    """

    path: Path
    series: Series
    columns: FileColumns
    skipped: int
    modified_ms: int
    digest: str
    rows: int
    stretches: tuple[TimeRange, ...]
    _days: dict[int, _Day]

    def text_bytes(self, time_range: TimeRange) -> int:
        """Return about how long the lines of a range are, which begins and ends at midnight or with the file."""
        days = range(time_range.start_ms // _DAY_MS, -(-time_range.end_ms // _DAY_MS))
        return sum(self._days[day].text_bytes for day in days if day in self._days)

    def pages(self, time_ranges: Sequence[TimeRange], wanted: Sequence[int]) -> Iterator[Page]:
        """Read the file and yield a page for some of `time_ranges`; all of them are in memory at once.

        Every line belongs to one of the ranges: to the one that its candle opens in, or if there is none to the one
        before; and a line that states no time to that of the line before it. So no line is lost.

        Args:
            time_ranges: All that the file is cut into, ascending and disjoint.
            wanted: The numbers of those to yield.
        """
        starts = [time_range.start_ms for time_range in time_ranges]
        texts: dict[int, list[str]] = {number: [self.columns.header] for number in wanted}
        number = 0
        for line in islice(_lines(self.path), self.skipped, None):
            at_ms = self.columns.open_time_ms(line, self.modified_ms)
            if at_ms is not None:
                number = max(bisect_right(starts, at_ms) - 1, 0)
            if number in texts and line.strip():
                texts[number].append(line)
        if _modified_ms(self.path) != self.modified_ms:
            raise ConfigError(f"{self.path} was written to while it was read; import it again", series=self.series)
        for number in wanted:
            body = "\n".join(texts.pop(number))
            yield Page(self.series, time_ranges[number], self.modified_ms, body, Route.FILE)


def look_through(path: Path, series: Series) -> CandleFile:
    """Read a file once, to find out what it holds.

    Args:
        series: Whose candles they are; the file has no say in that.

    Raises:
        ConfigError: It cannot be read, or is no file of candles of this timeframe.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"{path} is no file")
        modified_ms = _modified_ms(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    lines = _lines(path)
    try:
        first = list(islice(lines, _FIRST_LINES))
        columns, skipped = find_columns(first, series)
        rows, days = _days(chain(first[skipped:], lines), columns, series.timeframe, modified_ms)
        stretches = _stretches(days, series.timeframe, modified_ms)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", series=series) from error
    return CandleFile(path, series, columns, skipped, modified_ms, digest, rows, stretches, days)


def _modified_ms(path: Path) -> int:
    return path.stat().st_mtime_ns // 1_000_000


def _days(
    lines: Iterator[str], columns: FileColumns, timeframe: Timeframe, modified_ms: int
) -> tuple[int, dict[int, _Day]]:
    days: dict[int, _Day] = {}
    rows = dated = off_grid = step_ms = text_bytes = 0
    width_ms, day = timeframe.ms, None
    for line in lines:
        if not line.strip():
            continue
        rows += 1
        text_bytes += len(line) + 1
        at_ms = columns.open_time_ms(line, modified_ms)
        if at_ms is not None:
            dated += 1
            step_ms = math.gcd(step_ms, at_ms)
            if at_ms % width_ms:
                off_grid += 1
            else:
                day = days.setdefault(at_ms // _DAY_MS, _Day(at_ms, at_ms))
                day.first_ms, day.last_ms = min(day.first_ms, at_ms), max(day.last_ms, at_ms)
        if day is not None:
            day.text_bytes, text_bytes = day.text_bytes + text_bytes, 0
    _check_times(rows, dated, off_grid, step_ms, timeframe, modified_ms)
    return rows, days


def _check_times(rows: int, dated: int, off_grid: int, step_ms: int, timeframe: Timeframe, modified_ms: int) -> None:
    if rows == 0:
        raise ConfigError("it holds no row below its header")
    if 2 * dated <= rows:
        raise ConfigError(
            f"of {rows} rows only {dated} open at a time that can be: after 2008, and before the file was written, at "
            f"{from_ms(modified_ms):%Y-%m-%d %H:%M} UTC. If it is older than its candles, touch it"
        )
    if 2 * off_grid > dated:
        raise ConfigError(f"{off_grid} of {dated} rows do not open on the {timeframe} grid; is the timeframe another?")
    coarser = [other for other in Timeframe if other.ms > timeframe.ms and step_ms % other.ms == 0]
    if dated >= _ENOUGH_ROWS and coarser:
        raise ConfigError(f"all rows open on the {coarser[-1]} grid: they are no candles of {timeframe}")


def _stretches(days: dict[int, _Day], timeframe: Timeframe, modified_ms: int) -> tuple[TimeRange, ...]:
    closed_ms = modified_ms // timeframe.ms * timeframe.ms
    stretches: list[TimeRange] = []
    last_day = None
    for day in sorted(days):
        first_ms, end_ms = days[day].first_ms, min(days[day].last_ms + timeframe.ms, closed_ms)
        if first_ms >= end_ms:
            continue
        if last_day is not None and day - last_day <= _SILENCE_DAYS:
            first_ms = stretches.pop().start_ms
        stretches.append(TimeRange.from_ms(first_ms, end_ms))
        last_day = day
    if not stretches:
        raise ConfigError(f"no candle in it had closed when it was written, at {from_ms(modified_ms):%Y-%m-%d %H:%M}")
    return tuple(stretches)


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, without their ends; those of a Parquet file are its rows as CSV.

    Raises:
        ConfigError: It is none of the kinds that are read, or is broken, or no text, or too large.
    """
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            yield from _parquet_lines(path)
        elif name.endswith((".csv", ".csv.gz")):
            with path.open("rb") as file:
                yield from _text_lines(gzip.GzipFile(fileobj=file) if name.endswith(".gz") else file)
        else:
            raise ConfigError("what is read is .csv, .csv.gz and .parquet")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"cannot be unpacked ({error}); get it once more") from error
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"cannot be read: {error}") from error


def _text_lines(file: BinaryIO | gzip.GzipFile) -> Iterator[str]:
    total = 0
    for number in count():
        if not (line := file.readline(_LONGEST_LINE + 1)):
            return
        if len(line) > _LONGEST_LINE:
            raise ConfigError(f"a line of it is over {_LONGEST_LINE} bytes long: this is no file of candles")
        if number == 0 and b"\0" in line:
            raise ConfigError("it is no text")
        total += len(line)
        if number >= _MOST_LINES or total > _MOST_TEXT_BYTES:
            raise ConfigError(_too_much())
        # A byte that is no text stays to be seen; PostgreSQL takes no NUL.
        text = line.decode("utf-8-sig" if number == 0 else "utf-8", errors="backslashreplace")
        yield text.rstrip("\r\n").replace("\0", "\\x00")


def _too_much() -> str:
    return f"it unpacks to over {_MOST_LINES:,} lines or {_MOST_TEXT_BYTES >> 20:,} MB; cut it into several files"


def _parquet_lines(path: Path) -> Iterator[str]:
    with pq.ParquetFile(path) as file:
        names = [field.name for field in file.schema_arrow if _is_plain(field.type)]
        yield ",".join('"' + re.sub(r'["\r\n]', " ", name) + '"' for name in names)
        total = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=names):
            text = _to_csv(batch)
            total += len(text)
            if file.metadata.num_rows > _MOST_LINES or total > _MOST_TEXT_BYTES:
                raise ConfigError(_too_much())
            yield from text.decode().split("\n")[:-1]


def _is_plain(kind: pa.DataType) -> bool:
    return pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or kind in (pa.string(), pa.large_string())


def _to_csv(batch: pa.RecordBatch) -> bytes:
    """Return rows as CSV. Numbers keep every digit that tells them apart; moments become integers of their unit."""
    columns = []
    for column in batch.columns:
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("ms"))  # noqa: PLW2901
        columns.append(column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column)
    sink = io.BytesIO()
    rows = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    pyarrow.csv.write_csv(rows, sink, pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed"))
    return sink.getvalue()
