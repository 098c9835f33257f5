"""One fallback file: JSON Lines that stand in for a Parquet file which could not be written. No I/O.

The first line says what the file is, and a candle is on each of the others. It holds all that the Parquet file was to
hold, and says which Parquet file it succeeds, so that it is known when a later one has taken it in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from etl.archive.contents import FileFacts, distrust, from_json, to_json
from etl.archive.layout import Spot
from etl.errors import ConfigError, SchemaMismatchError
from etl.schema import (
    CANDLE_COLUMNS,
    SCHEMA_VERSION,
    Column,
    ColumnKind,
    content_hash,
    from_columns,
    to_columns,
)
from etl.timeframe import to_ms


@dataclass(frozen=True, slots=True)
class FallbackFile:
    """A fallback whose header was read.

    Attributes:
        path: Where it is, for errors.
        number: The higher of two at the same place is the later one.
        replaces: The seal of the Parquet file that it succeeds; None if there was none.
    """

    path: str
    spot: Spot
    facts: FileFacts
    number: int
    replaces: str | None
    _lines: Sequence[bytes]

    def read(self, columns: Sequence[Column] = CANDLE_COLUMNS) -> pa.Table:
        """Return its candles; a column that is younger than the file is null.

        Raises:
            StoreError: They are not what the header says.
        """
        try:
            candles = _to_candles([orjson.loads(line) for line in self._lines], columns, self.facts.schema_version)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise distrust(self.path, f"a line cannot be read: {error}", self.spot.series) from error
        if candles.num_rows != self.facts.rows or content_hash(candles, columns) != self.facts.content_hash:
            raise distrust(self.path, "its content does not match its hash", self.spot.series)
        return candles


def to_fallback(candles: pa.Table, facts: FileFacts, spot: Spot, number: int, replaces: str | None) -> bytes:
    """Encode; see `FallbackFile` for the arguments."""
    header = {
        "series": str(spot.series),
        "span": spot.span.to_dict(),
        "schema_version": facts.schema_version,
        "rows": facts.rows,
        "content_hash": facts.content_hash,
        "covered": to_json(facts.covered),
        "number": number,
        "replaces": replaces,
    }
    columns = to_columns(candles)
    moments = np.datetime_as_string(columns["open_time"].astype("datetime64[ms]"), timezone="UTC")
    values = [moments.tolist(), *(_nullable(column, columns[column.name]) for column in CANDLE_COLUMNS[1:])]
    names = [column.name for column in CANDLE_COLUMNS]
    rows = (orjson.dumps(dict(zip(names, row, strict=True))) for row in zip(*values, strict=True))
    return b"\n".join([orjson.dumps({**header, "seal": _seal(header)}), *rows, b""])


def open_fallback(path: str, content: bytes | pa.Buffer, spot: Spot, version: int = SCHEMA_VERSION) -> FallbackFile:
    """Read the header of a fallback.

    Args:
        path: Where it is, for errors.
        version: The newest that can be read.

    Raises:
        StoreError: The header cannot be read, or is of another file.
        SchemaMismatchError: It was written by a newer version.
    """
    first, *lines = bytes(content).removesuffix(b"\n").split(b"\n")
    try:
        header: dict[str, Any] = orjson.loads(first)
        seal = header.pop("seal")
        facts = FileFacts(
            header["rows"], from_json(header["covered"]), header["schema_version"], header["content_hash"]
        )
        number, replaces = int(header["number"]), header["replaces"]
        is_of_here = (header["series"], header["span"]) == (str(spot.series), spot.span.to_dict())
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise distrust(path, f"its header cannot be read: {error}", spot.series) from error
    if seal != _seal(header):
        raise distrust(path, "its header does not match its seal", spot.series)
    if facts.schema_version > version:
        which = f"schema version {facts.schema_version}"
        what = f"{path} has {which}, this version of Chandler reads {version} and older ones; update Chandler"
        raise SchemaMismatchError(what, series=spot.series)
    if not is_of_here:
        raise distrust(path, f"it says that it holds {header['series']} {header['span']}", spot.series)
    return FallbackFile(path, spot, facts, number, replaces, lines)


def _seal(header: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(header, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _nullable(column: Column, values: NDArray[Any]) -> list[Any]:
    """Return values as JSON has them; orjson writes NaN as null by itself."""
    listed: list[Any] = values.tolist()
    if column.is_nullable and column.kind is ColumnKind.INT:
        return [None if value < 0 else value for value in listed]
    return listed


def _to_candles(rows: Sequence[dict[str, Any]], columns: Sequence[Column], version: int) -> pa.Table:
    return from_columns({column.name: _to_values(column, rows, version) for column in columns}, columns)


def _to_values(column: Column, rows: Sequence[dict[str, Any]], version: int) -> NDArray[Any]:
    if column.kind is ColumnKind.TIME:
        return np.array([to_ms(datetime.fromisoformat(row[column.name])) for row in rows], dtype=np.int64)
    given = [None] * len(rows) if column.since > version else [row[column.name] for row in rows]
    if column.kind is ColumnKind.FLOAT:
        return np.array([np.nan if value is None else value for value in given], dtype=np.float64)
    return np.array([-1 if value is None else value for value in given], dtype=np.int64)
