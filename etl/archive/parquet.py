"""One Parquet file: how candles are encoded, what its footer says, and how it is trusted when read. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from etl.archive.contents import FileFacts, distrust, from_json, to_json
from etl.errors import ConfigError, SchemaMismatchError
from etl.schema import CANDLE_COLUMNS, SCHEMA_VERSION, Column, ColumnKind, arrow_schema, content_hash
from etl.series import Series, TimeRange, united

_ROW_GROUP = 65_536
_VERSION, _SERIES, _HASH = (b"chandler.schema_version", b"chandler.series", b"chandler.content_hash")
_COVERED, _SEAL = (b"chandler.covered", b"chandler.seal")


def to_parquet(
    candles: pa.Table, facts: FileFacts, series: Series, columns: Sequence[Column] = CANDLE_COLUMNS
) -> pa.Buffer:
    """Encode: plain floats under zstd, differences for counts and times, repetitions for what hardly changes."""
    said = {
        _VERSION: str(facts.schema_version),
        _SERIES: str(series),
        _HASH: facts.content_hash,
        _COVERED: orjson.dumps(to_json(facts.covered)),
        _SEAL: facts.seal(series),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(
        candles.replace_schema_metadata(said),
        sink,
        row_group_size=_ROW_GROUP,
        compression="zstd",
        compression_level=3,
        use_dictionary=[column.name for column in columns if column.kind is ColumnKind.SMALL],
        column_encoding={
            column.name: "PLAIN" if column.kind is ColumnKind.FLOAT else "DELTA_BINARY_PACKED"
            for column in columns
            if column.kind is not ColumnKind.SMALL
        },
        write_statistics=True,
        write_page_checksum=True,
    )
    return sink.getvalue()


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A Parquet file whose footer was read.

    Attributes:
        path: Where it is, for errors.
    """

    path: str
    series: Series
    facts: FileFacts
    _file: pq.ParquetFile

    def read(self, columns: Sequence[Column] = CANDLE_COLUMNS) -> pa.Table:
        """Return its candles; a column that is younger than the file is null.

        Raises:
            StoreError: They are not what the footer says.
        """
        schema = arrow_schema(columns)
        try:
            table = self._file.read(use_threads=False)
            candles = pa.table([self._column(table, column, schema) for column in columns], schema=schema)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise distrust(self.path, str(error).splitlines()[0], self.series) from error
        if candles.num_rows != self.facts.rows or content_hash(candles, columns) != self.facts.content_hash:
            raise distrust(self.path, "its content does not match its hash", self.series)
        return candles

    def _column(self, table: pa.Table, column: Column, schema: pa.Schema) -> pa.ChunkedArray:
        kind = schema.field(column.name).type
        if column.since > self.facts.schema_version:
            return pa.chunked_array([pa.nulls(table.num_rows, kind)])
        found = table.column(column.name)
        return found if found.type == kind else found.cast(kind)


def open_parquet(path: str, source: Any, series: Series, version: int = SCHEMA_VERSION) -> ParquetFile:
    """Read the footer of a file.

    Args:
        path: Where it is, for errors.
        source: What pyarrow can read from.
        version: The newest that can be read.

    Raises:
        StoreError: The footer cannot be read or does not say what it must.
        SchemaMismatchError: The file was written by a newer version, or by another program.
    """
    try:
        file = pq.ParquetFile(source, page_checksum_verification=True)
        said: Mapping[bytes, bytes] = file.metadata.metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise distrust(path, str(error).splitlines()[0], series) from error
    written_in = said.get(_VERSION, b"").decode(errors="replace")
    if not written_in.isdecimal() or int(written_in) > version:
        which = f"schema version {written_in}" if written_in else "no schema version"
        what = f"{path} has {which}, this version of Chandler reads {version} and older ones; update Chandler"
        raise SchemaMismatchError(what, series=series)
    if said.get(_SERIES) != str(series).encode():
        raise distrust(path, f"it says that it holds {said.get(_SERIES)!r}", series)
    try:
        facts = _facts(file.metadata, said, series, int(written_in))
    except (KeyError, ValueError, TypeError, ConfigError, pa.ArrowException) as error:
        raise distrust(path, f"its footer cannot be read: {error}", series) from error
    # A file of before there were seals says neither; one that says either must prove it.
    if {_SEAL, _COVERED} & said.keys() and said.get(_SEAL) != facts.seal(series).encode():
        raise distrust(path, "its footer does not match its seal", series)
    return ParquetFile(path, series, facts, file)


def _facts(metadata: pq.FileMetaData, said: Mapping[bytes, bytes], series: Series, version: int) -> FileFacts:
    covered = from_json(orjson.loads(said[_COVERED])) if _SEAL in said else _first_to_last(metadata, series)
    return FileFacts(metadata.num_rows, covered, version, said[_HASH].decode())


def _first_to_last(metadata: pq.FileMetaData, series: Series) -> list[TimeRange]:
    """Return what a file covers that was written before files said so: from its first candle to its last."""
    times = [metadata.row_group(number).column(0).statistics for number in range(metadata.num_row_groups)]
    bounds: list[tuple[datetime, datetime]] = [(found.min, found.max) for found in times if found and found.has_min_max]
    if not bounds:
        return []
    last = max(last for _, last in bounds)
    return united([TimeRange(min(first for first, _ in bounds), last + series.timeframe.delta)])
