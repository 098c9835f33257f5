"""The archive's files: where they lie, how they are written whole, and how they are trusted when read.

Layout: `candles/exchange=binance/symbol=BTC-USDT/timeframe=1m/2026-11.parquet`. The keys stand in the path, the
columns are CANDLE_COLUMNS, sorted by open_time. Readable by whatever reads Parquet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from etl.errors import ConfigError, SchemaMismatchError, StoreError
from etl.files import write_whole
from etl.schema import CANDLE_COLUMNS, CANDLE_SCHEMA, SCHEMA_VERSION, ColumnKind, content_hash, to_columns
from etl.schema import empty_candles as _empty
from etl.series import Series, TimeRange, symbol_from_path
from etl.timeframe import Timeframe, to_ms

_ROW_GROUP = 65_536
_FILE_NAME = re.compile(r"\d{4}(-\d{2})?\.parquet")
_FLOATS = [column.name for column in CANDLE_COLUMNS if column.kind is ColumnKind.FLOAT]
_VERSION, _SERIES, _HASH = (b"chandler.schema_version", b"chandler.series", b"chandler.content_hash")


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file.

    Attributes:
        path: Below the archive's root.
        span: The month or year that it may hold.
        size_bytes: On disk.
    """

    path: str
    span: TimeRange
    size_bytes: int


class Archive:
    """The Parquet files below one root.

    Args:
        url: A folder, or a URI that pyarrow has a filesystem for (`s3://bucket/prefix`).

    Raises:
        ConfigError: `url` names no filesystem that pyarrow knows.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            # A plain path need not be absolute, nor free of characters that a URI would have to escape.
            located = fs.FileSystem.from_uri(url) if "://" in url else (fs.LocalFileSystem(), str(Path(url).absolute()))
        except (pa.ArrowInvalid, OSError) as error:
            raise ConfigError(f"archive_url {url!r} names no place to keep files: {error}") from error
        self._files: fs.FileSystem = located[0]
        self._root: str = f"{located[1].rstrip('/')}/candles"

    def write(self, series: Series, time_range: TimeRange, candles: pa.Table) -> list[str]:
        """Make the archive hold exactly `candles` in `time_range`; what lies outside it stays.

        Args:
            candles: CANDLE_SCHEMA, ascending by open_time, each in the range.

        Returns:
            The files that hold the range, below the root. Those that held it already are not written again.

        Raises:
            StoreError: A file cannot be read, trusted or written; the old one is still whole.
        """
        holding = []
        for span in file_spans(series.timeframe, time_range):
            path = _path(series, span)
            held = self._read_file(path, series)
            merged = pa.concat_tables(
                [
                    _between(held, span.start, time_range.start),
                    _between(candles, span.start, span.end),
                    _between(held, time_range.end, span.end),
                ]
            ).combine_chunks()
            if merged.num_rows == 0 and held.num_rows == 0:
                continue
            if merged.num_rows == 0:
                self._remove(path)
            elif not merged.equals(held):
                self._replace(path, _to_bytes(merged, series))
            holding.append(path)
        return holding

    def read(self, series: Series, time_range: TimeRange) -> pa.Table:
        """Return the candles that open in `time_range`: CANDLE_SCHEMA, ascending by open_time.

        Raises:
            StoreError: A file cannot be read or does not match its hash.
            SchemaMismatchError: A file was written in another shape.
        """
        tables = [self._read_file(_path(series, span), series) for span in file_spans(series.timeframe, time_range)]
        merged = pa.concat_tables([_empty(), *tables])
        return _between(merged, time_range.start, time_range.end).combine_chunks()

    def files(self, series: Series) -> list[ArchiveFile]:
        """Return the files of `series`, ascending."""
        folder = f"{self._root}/{series.path}"
        found = self._files.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return sorted(
            (
                ArchiveFile(f"{series.path}/{info.base_name}", _span_of(info.base_name), info.size)
                for info in found
                if info.is_file and _FILE_NAME.fullmatch(info.base_name)
            ),
            key=lambda file: file.path,
        )

    def series(self) -> list[Series]:
        """Return the series that the archive has a folder of, in the order of their names."""
        found = []
        for folder in self._folders(self._root, depth=3):
            exchange, symbol, timeframe = (part.partition("=")[2] for part in folder.rsplit("/", 3)[1:])
            try:
                series = Series(exchange, symbol_from_path(symbol), Timeframe(timeframe))
            except (ConfigError, ValueError):
                continue
            if folder == f"{self._root}/{series.path}":
                found.append(series)
        return sorted(found)

    def set_aside(self, file: ArchiveFile) -> str:
        """Take a file out of the archive and keep it beside its place, under a name that nobody reads.

        Returns:
            Where it is now, below the root.

        Raises:
            StoreError: It cannot be moved.
        """
        number = 1
        while self._files.get_file_info(f"{self._root}/{file.path}.aside{number}").type is not fs.FileType.NotFound:
            number += 1
        aside = f"{file.path}.aside{number}"
        try:
            self._files.move(f"{self._root}/{file.path}", f"{self._root}/{aside}")
        except OSError as error:
            raise StoreError(f"{self._root}/{file.path} cannot be moved aside ({error}); mend its rights") from error
        return aside

    def _folders(self, root: str, depth: int) -> Iterator[str]:
        for info in self._files.get_file_info(fs.FileSelector(root, allow_not_found=True)):
            if info.type is fs.FileType.Directory:
                yield from [info.path] if depth == 1 else self._folders(info.path, depth - 1)

    def _read_file(self, path: str, series: Series) -> pa.Table:
        full = f"{self._root}/{path}"
        if self._files.get_file_info(full).type is fs.FileType.NotFound:
            return _empty()
        try:
            with self._files.open_input_file(full) as source:
                table = pq.read_table(source, page_checksum_verification=True)
            _check_origin(full, table.schema.metadata or {}, series)
            candles = table.select(CANDLE_SCHEMA.names).cast(CANDLE_SCHEMA).replace_schema_metadata(None)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise StoreError(_distrust(full, str(error).splitlines()[0]), series=series) from error
        if table.schema.metadata.get(_HASH) != content_hash(candles).encode():
            raise StoreError(_distrust(full, "its content does not match its hash"), series=series)
        return candles

    def _replace(self, path: str, content: pa.Buffer) -> None:
        full = f"{self._root}/{path}"
        if isinstance(self._files, fs.LocalFileSystem):
            write_whole(Path(full), content)
            return
        try:
            # An object store shows an object once it is there wholly.
            with self._files.open_output_stream(full) as sink:
                sink.write(content)
        except OSError as error:
            raise StoreError(f"{full} cannot be written ({error}); make room or mend its rights") from error

    def _remove(self, path: str) -> None:
        try:
            self._files.delete_file(f"{self._root}/{path}")
        except OSError as error:
            raise StoreError(f"{self._root}/{path} cannot be removed ({error}); mend its rights") from error


def _check_origin(path: str, said: Mapping[bytes, bytes], series: Series) -> None:
    if said.get(_VERSION) != str(SCHEMA_VERSION).encode():
        raise SchemaMismatchError(
            f"{path} has schema version {said.get(_VERSION)!r}, this version of Chandler reads {SCHEMA_VERSION}",
            series=series,
        )
    if said.get(_SERIES) != str(series).encode():
        raise StoreError(_distrust(path, f"it says that it holds {said.get(_SERIES)!r}"), series=series)


def _to_bytes(candles: pa.Table, series: Series) -> pa.Buffer:
    """Encode: plain floats under zstd and differences for open_time, the smallest of what was measured."""
    described = candles.replace_schema_metadata(
        {_VERSION: str(SCHEMA_VERSION), _SERIES: str(series), _HASH: content_hash(candles)}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(
        described,
        sink,
        row_group_size=_ROW_GROUP,
        compression="zstd",
        compression_level=3,
        use_dictionary=False,
        column_encoding={"open_time": "DELTA_BINARY_PACKED", "trades": "DELTA_BINARY_PACKED"}
        | dict.fromkeys(_FLOATS, "PLAIN"),
        write_statistics=True,
        write_page_checksum=True,
    )
    return sink.getvalue()


def file_spans(timeframe: Timeframe, time_range: TimeRange) -> Iterator[TimeRange]:
    """Yield the files' spans that `time_range` touches: months below `1h`, years from there up."""
    moment = _span_start(timeframe, time_range.start)
    while moment < time_range.end:
        following = _next(timeframe, moment)
        yield TimeRange(moment, following)
        moment = following


def spans(timeframe: Timeframe, time_range: TimeRange) -> list[TimeRange]:
    """Cut `time_range` where one file ends and the next begins, so that each is rewritten once."""
    return [
        TimeRange(max(span.start, time_range.start), min(span.end, time_range.end))
        for span in file_spans(timeframe, time_range)
    ]


def _is_yearly(timeframe: Timeframe) -> bool:
    return timeframe.ms >= Timeframe.H1.ms


def _span_start(timeframe: Timeframe, moment: datetime) -> datetime:
    return datetime(moment.year, 1 if _is_yearly(timeframe) else moment.month, 1, tzinfo=UTC)


def _next(timeframe: Timeframe, start: datetime) -> datetime:
    if _is_yearly(timeframe) or start.month == 12:
        return datetime(start.year + 1, 1, 1, tzinfo=UTC)
    return start.replace(month=start.month + 1)


def _path(series: Series, span: TimeRange) -> str:
    name = f"{span.start:%Y}" if _is_yearly(series.timeframe) else f"{span.start:%Y-%m}"
    return f"{series.path}/{name}.parquet"


def _span_of(name: str) -> TimeRange:
    year, _, month = name.removesuffix(".parquet").partition("-")
    start = datetime(int(year), int(month or 1), 1, tzinfo=UTC)
    return TimeRange(start, _next(Timeframe.M1 if month else Timeframe.H1, start))


def _between(candles: pa.Table, start: datetime, end: datetime) -> pa.Table:
    """Return the candles that open in `[start, end)`, which may be empty."""
    if candles.num_rows == 0 or start >= end:
        return candles.slice(0, 0)
    times = to_columns(candles)["open_time"]
    first, last = np.searchsorted(times, [to_ms(start), to_ms(end)])
    return candles.slice(first, last - first)


def _distrust(path: str, reason: str) -> str:
    return f"{path} cannot be trusted ({reason}); chandler audit --fix writes it again from the warehouse"
