"""A market that was recorded: candles from a folder of Parquet, served as they stand there.

Dirt is kept: duplicates, missing minutes, values out of relation. What was not recorded is not invented.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from etl.errors import ConfigError
from etl.replay.columns import to_columns
from etl.replay.market import Columns, Lifetime, Row, Steps
from etl.schema import CANDLE_SCHEMA, VALUE_COLUMNS
from etl.series import symbol_from_path
from etl.spelling import nearest
from etl.timeframe import Timeframe

_FILES_KEPT = 16
_MOST = 1 << 40
_NEEDED = ("open_time", "open", "high", "low", "close", "volume")

_Recording = tuple[npt.NDArray[np.int64], pa.Table]


class RecordedMarket:
    """Candles from `<folder>/<exchange>/<SYMBOL>/<timeframe>.parquet`, where a symbol is written `BTC-USDT`.

    A file has the columns open_time (UTC), open, high, low, close and volume, and may have more of a candle's columns.
    Rows come in the order of their open times; those with the same open time in the order in which they were recorded.
    A recording knows no half-made candles: one that forms by the server's clock is served as it closed.

    Args:
        folder: Where the recordings are.
        exchange: The exchange among them.

    Raises:
        ConfigError: There are none, or a file is no recording of candles.
    """

    def __init__(self, folder: Path, exchange: str = "binance") -> None:
        self._files = _find_files(Path(folder), exchange)
        self._load = lru_cache(maxsize=_FILES_KEPT)(_load)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that were recorded, sorted."""
        return tuple(self._files)

    def timeframes(self, symbol: str) -> frozenset[Timeframe]:
        """Return the timeframes that were recorded of `symbol`."""
        return frozenset(self._files[symbol])

    def steps(self, symbol: str) -> Steps:
        """Return the smallest steps that Binance can print: a recording does not say."""
        return Steps("0.00000001", "0.00000001")

    def lifetime(self, symbol: str) -> Lifetime:
        """Return no bounds: a recording does not say."""
        return Lifetime()

    def rows(
        self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int, limit: int, now_ms: int | None = None
    ) -> Sequence[Row]:
        """Return the first `limit` rows with open_time in `[start_ms, end_ms)`; see `Market.rows`."""
        open_times, table = self._load(self._files[symbol][timeframe])
        first, last = np.searchsorted(open_times, (start_ms, end_ms)).tolist()
        return _to_rows(open_times, table, first, min(last, first + limit))

    def last_rows(
        self, symbol: str, timeframe: Timeframe, end_ms: int, limit: int, now_ms: int | None = None
    ) -> Sequence[Row]:
        """Return the last `limit` rows with open_time before `end_ms`; see `Market.last_rows`."""
        open_times, table = self._load(self._files[symbol][timeframe])
        last = int(np.searchsorted(open_times, end_ms))
        return _to_rows(open_times, table, max(0, last - limit), last)

    def columns(self, symbol: str, timeframe: Timeframe, days: range) -> Columns:
        """Return the rows of `days`; see `Market.columns`."""
        start_ms, end_ms = (day * Timeframe.D1.ms for day in (days.start, days.stop))
        return to_columns(self.rows(symbol, timeframe, start_ms, end_ms, _MOST))


def _find_files(folder: Path, exchange: str) -> dict[str, dict[Timeframe, Path]]:
    root = folder / exchange
    if not root.is_dir():
        there = [child.name for child in folder.iterdir() if child.is_dir()] if folder.is_dir() else []
        hint = nearest(exchange, there) or "; recordings lie in <folder>/<exchange>/<SYMBOL>/<timeframe>.parquet"
        raise ConfigError(f"no recordings of {exchange!r} in {folder}{hint}")
    files: dict[str, dict[Timeframe, Path]] = {}
    for path in sorted(root.glob("*/*.parquet")):
        if path.stem not in list(Timeframe):
            raise ConfigError(f"{path} is named after no timeframe{nearest(path.stem, Timeframe)}")
        _check(path)
        files.setdefault(symbol_from_path(path.parent.name), {})[Timeframe(path.stem)] = path
    if not files:
        raise ConfigError(
            f"no recordings in {root}; put <SYMBOL>/<timeframe>.parquet there, such as BTC-USDT/1m.parquet"
        )
    return files


def _check(path: Path) -> None:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path} cannot be read as Parquet; record it again or remove it: {error}") from error
    if lacking := [name for name in _NEEDED if name not in schema.names]:
        raise ConfigError(f"{path} lacks the column {lacking[0]}; a recording has {', '.join(_NEEDED)}")
    kind = schema.field("open_time").type
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        raise ConfigError(f"{path} has open_time as {kind}; write aware UTC timestamps")


def _load(path: Path) -> _Recording:
    """Return open times in milliseconds, ascending, and the values beside them."""
    try:
        table = pq.read_table(path, columns=["open_time", *_recorded_columns(path)], partitioning=None)
        table = table.cast(pa.schema([CANDLE_SCHEMA.field(name).with_nullable(True) for name in table.column_names]))
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path} is no recording of candles; record it again or remove it: {error}") from error
    if table["open_time"].null_count:
        raise ConfigError(f"{path} has rows without an open_time; remove them")
    open_times = table["open_time"].cast(pa.int64()).to_numpy()
    order = np.argsort(open_times, kind="stable")
    return open_times[order], table.drop_columns("open_time").take(pa.array(order))


def _recorded_columns(path: Path) -> list[str]:
    names = pq.read_schema(path).names
    return [name for name in VALUE_COLUMNS if name in names]


def _to_rows(open_times: npt.NDArray[np.int64], table: pa.Table, first: int, last: int) -> list[Row]:
    part = table.slice(first, max(0, last - first))
    recorded = {name: part[name].to_pylist() for name in part.column_names}
    nothing = [None] * len(part)
    columns = [
        recorded.get(name, nothing) if name == "trades" else [_to_text(v) for v in recorded.get(name, nothing)]
        for name in VALUE_COLUMNS
    ]
    return list(map(Row._make, zip(open_times[first:last].tolist(), *columns, strict=True)))


def _to_text(value: Any) -> str | None:
    """Return the shortest decimal that reads as the same float, without an exponent; None for what is no number."""
    if value is None or not math.isfinite(value):
        return None
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text else text
