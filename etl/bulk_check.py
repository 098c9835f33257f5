"""Reports of a bulk file that differs from the exchange's API: a flag on each such candle, and a notice.

The API's values are stored; those of the file are in quarantine as superseded rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from etl.extract import Fetched, Route
from etl.incidents import Severity
from etl.messages import Notice, PipelineKind
from etl.schema import Flag, Origin, from_columns, to_columns
from etl.spelling import counted
from etl.stores import Partition
from etl.timeframe import from_ms
from etl.validate import SUPERSEDED, Cleaned, Refused


def differing_rows(cleaned: Cleaned, fetched: Fetched) -> list[Refused]:
    """Return the rows of bulk files in whose place the API's were taken, ascending."""
    if not any(key.route is Route.BULK for key in fetched.pages):
        return []
    rows = (row for row in cleaned.refused if row.rule == SUPERSEDED and row.origin == Origin.BULK)
    return sorted((row for row in rows if row.open_time_ms is not None), key=lambda row: row.open_time_ms or 0)


def flagged(candles: pa.Table, rows: Sequence[Refused]) -> pa.Table:
    """Return the candles, those of `rows` with BULK_DIFFERED: CANDLE_SCHEMA."""
    columns = to_columns(candles)
    differs = np.isin(columns["open_time"], np.array([row.open_time_ms for row in rows], dtype=np.int64))
    flags = columns["flags"] | np.where(differs, np.int16(Flag.BULK_DIFFERED), np.int16(0))
    return from_columns({**columns, "flags": flags})


def bulk_notice(partition: Partition, fetched: Fetched, rows: Sequence[Refused]) -> Notice:
    """Return what to tell of the files of a partition that differ from the API; one of each range."""
    series, first = partition.series, rows[0]
    files = [
        key.window
        for key in fetched.pages
        if key.route is Route.BULK
        and any(key.window.start_ms <= (row.open_time_ms or 0) < key.window.end_ms for row in rows)
    ]
    at = from_ms(first.open_time_ms or 0)
    return Notice(
        identity=f"bulk:{series}:{partition.time_range}",
        kind=PipelineKind.BULK_DIFFERS,
        severity=Severity.LOW,
        title=f"{series}: the exchange's archives differ from its API in {counted(len(rows), 'candle')}",
        detail=(
            f"In {'; '.join(map(str, files))}. The API's values are stored, and flagged. The first is of "
            f"{at:%Y-%m-%d %H:%M}; the file has {first.evidence}. chandler quarantine shows all. Nothing is to be "
            "done; if it goes on, set bulk = false."
        ),
        happened_at=partition.time_range.start,
        exchange=series.exchange,
        symbol=series.symbol,
    )
