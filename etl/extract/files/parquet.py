"""Parquet. What it unpacks to is read from its metadata before it is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from etl.errors import ConfigError
from etl.extract.files.columnar import BATCH_ROWS, batch_lines, header_line, readable_names, text_names
from etl.extract.files.limits import MAX_BATCH_BYTES, MAX_LINES, MAX_READ_BYTES

_TAIL = 8  # the footer's length, and PAR1


def read_lines(file: BinaryIO) -> Iterator[str]:
    """Yield a line of names, then the rows.

    Raises:
        ConfigError: It is no Parquet, or too large.
    """
    try:
        _check_footer(file)
        schema = pq.read_schema(file)
        # As a dictionary a long text that is repeated stands in memory once.
        with pq.ParquetFile(file, read_dictionary=text_names(schema)) as parquet:
            names = readable_names(parquet.schema_arrow)
            _check_sizes(parquet.metadata, names)
            yield header_line(names)
            for batch in parquet.iter_batches(BATCH_ROWS, columns=names):
                yield from batch_lines(batch)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ConfigError(f"cannot be read as Parquet: {error}") from error


def _check_footer(file: BinaryIO) -> None:
    size = file.seek(0, 2)
    if size < _TAIL:
        raise ConfigError("cannot be read as Parquet: it is too short")
    file.seek(size - _TAIL)
    tail = file.read(_TAIL)
    if tail.endswith(b"PAR1") and int.from_bytes(tail[:4], "little") > MAX_READ_BYTES:
        raise ConfigError(f"its footer is over {MAX_READ_BYTES >> 20} MB; this is no file of candles")
    file.seek(0)


def _check_sizes(metadata: pq.FileMetaData, names: list[str]) -> None:
    if metadata.num_rows > MAX_LINES:
        raise ConfigError(f"it unpacks to over {MAX_LINES:,} lines; cut it into several files")
    wanted = set(names)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(place) for place in range(group.num_columns)]
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in wanted)
        if size > MAX_BATCH_BYTES * 4:
            raise ConfigError(
                f"a row group of it unpacks to {size >> 20:,} MB; write smaller ones, for example of 1,000,000 rows"
            )
