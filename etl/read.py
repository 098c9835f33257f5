"""What a quant or a model reads: candles of a series, as they are or as they stood at a moment, gaps filled or not.

From the warehouse. Nothing here is written: a candle that is filled in is made up for the reader, and flagged so.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.errors import ConfigError
from etl.rules import Rules
from etl.schema import CANDLE_COLUMNS, STATE_FLAGS, AbsenceKind, ColumnKind, Flag, from_columns, to_columns
from etl.series import Series, TimeRange
from etl.settings import Settings, load_settings
from etl.spelling import nearest
from etl.validate import flag_candles
from etl.warehouse import known_series, open_warehouse, read_absent_slots, read_last_candle
from etl.warehouse import read_candles as read_stored


class Fill(StrEnum):
    """Which absent candles are made up: flat ones, at the last close known before them, without volume.

    NONE: no candle. QUIET: where nothing was traded, so that the flat candle is true. ALL: wherever one is recorded as
    absent, whatever the reason.
    """

    NONE = "none"
    QUIET = "quiet"
    ALL = "all"


_FILLED: dict[Fill, frozenset[AbsenceKind]] = {
    Fill.QUIET: frozenset({AbsenceKind.NO_TRADES}),
    Fill.ALL: frozenset(AbsenceKind),
}


def read_candles(
    series: Series,
    time_range: TimeRange,
    *,
    as_of: datetime | None = None,
    fill: Fill = Fill.NONE,
    settings: Settings | None = None,
) -> pa.Table:
    """Return the candles of a series that open in a range.

    Args:
        time_range: Half-open.
        as_of: Return what a reader got at that moment (aware), by the warehouse's clock: what came later is not there,
            what was revised later has its old values, and rules flag what was held. A load that was under way then
            counts as done, since its time is that of its beginning. Without: what is held now.
        fill: Which absent candles to make up. They carry `Flag.FILLED`; no other candle does.
        settings: Where the warehouse is; read from feeds.toml and the environment, without.

    Returns:
        CANDLE_SCHEMA, ascending by open_time.

    Raises:
        ConfigError: The series was never loaded.
        StoreUnavailableError: The warehouse does not answer.
    """
    if as_of is not None and as_of.tzinfo is None:
        raise ValueError(f"{as_of} has no time zone; times are aware UTC")
    settings = settings or load_settings()
    with open_warehouse(settings) as warehouse, warehouse.begin() as connection:
        known = known_series(connection)
        if series not in known:
            raise ConfigError(f"{series} was never loaded{nearest(str(series), map(str, known))}")
        reader = _Reader(connection, known[series], series, settings.rules_of(series.exchange), as_of)
        candles = reader.candles(time_range)
        kinds = _FILLED.get(fill)
        return candles if kinds is None else reader.filled(candles, time_range, kinds)


@dataclass(frozen=True, slots=True)
class _Reader:
    """One series at one moment, or now."""

    connection: Connection
    series_id: int
    series: Series
    rules: Rules
    as_of: datetime | None

    def candles(self, time_range: TimeRange) -> pa.Table:
        if self.as_of is None:
            return read_stored(self.connection, self.series_id, time_range)
        # Flags of rules are no part of a revision: they follow from what was held, so they are found again.
        reach = self.rules.lookback * self.series.timeframe.delta
        wider = TimeRange(time_range.start - reach, time_range.end)
        columns = to_columns(stood := read_stored(self.connection, self.series_id, wider, self.as_of))
        bits = flag_candles(stood, self.series.timeframe, self.rules)
        flagged = from_columns({**columns, "flags": (columns["flags"] & np.int16(STATE_FLAGS)) | bits})
        return flagged.slice(int(np.searchsorted(columns["open_time"], time_range.start_ms)))

    def filled(self, candles: pa.Table, time_range: TimeRange, kinds: Collection[AbsenceKind]) -> pa.Table:
        absent = read_absent_slots(
            self.connection, self.series_id, self.series.timeframe, time_range, kinds, self.as_of
        )
        before = read_last_candle(self.connection, self.series_id, time_range.start, self.as_of)
        return fill_flat(candles, before, absent)


def fill_flat(candles: pa.Table, before: pa.Table, absent: NDArray[np.int64]) -> pa.Table:
    """Return the candles and, where one is absent, a flat one at the last close before it.

    Args:
        candles: CANDLE_SCHEMA, ascending by open_time.
        before: The last candle before them, or none.
        absent: (n,) open times of those to make up, in milliseconds, ascending. Before the first close none is made.
    """
    known = to_columns(pa.concat_tables([before, candles]))
    absent = np.setdiff1d(absent, known["open_time"])
    last = np.searchsorted(known["open_time"], absent) - 1
    absent, last = absent[last >= 0], last[last >= 0]
    made: dict[str, NDArray[Any]] = {name: values[last] for name, values in known.items()}
    for column in CANDLE_COLUMNS:
        if column.name in {"open", "high", "low"}:
            made[column.name] = made["close"]
        elif column.is_value and column.name != "close":
            made[column.name] = _nothing(column.kind, made[column.name])
    made |= {"open_time": absent, "flags": np.full(len(absent), Flag.FILLED, dtype=np.int16)}
    columns = to_columns(candles)
    both = {name: np.concatenate([columns[name], made[name]]) for name in columns}
    order = np.argsort(both["open_time"], kind="stable")
    return from_columns({name: values[order] for name, values in both.items()})


def _nothing(kind: ColumnKind, like: NDArray[Any]) -> NDArray[Any]:
    """Return zeros, and null where it is null."""
    return np.where(like < 0, -1, 0) if kind is ColumnKind.INT else np.where(np.isnan(like), np.nan, 0.0)
