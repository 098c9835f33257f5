"""Recorded candles on their grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from etl.schema import CANDLE_COLUMNS, Origin, from_columns
from etl.series import Series, TimeRange, symbol_to_path
from models.features import Track, to_track


def recorded(folder: Path, series: Series, span: TimeRange) -> Track:
    """Read what was recorded of a series in a range; of two rows of one time the later one."""
    table = pq.read_table(folder / series.exchange / symbol_to_path(series.symbol) / f"{series.timeframe}.parquet")
    times = np.asarray(table.column("open_time").cast(pa.int64()))
    _, latest = np.unique(times[::-1], return_index=True)
    order = len(times) - 1 - latest
    order = order[(times[order] >= span.start_ms) & (times[order] < span.end_ms)]
    given = {name: np.asarray(table.column(name))[order] for name in ("open", "high", "low", "close", "volume")}
    absent = {column.name: np.full(len(order), -1 if column.kind == "int" else np.nan) for column in CANDLE_COLUMNS}
    ours = {"open_time": times[order], "flags": np.zeros(len(order)), "source": np.full(len(order), int(Origin.API))}
    return to_track(from_columns({**absent, **given, **ours}), series.timeframe, span)
