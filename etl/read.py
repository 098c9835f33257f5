"""Candles for quants and models: of a series, as they are or as they stood at a moment, gaps filled or not.

From the warehouse or the archive. Nothing here is written: a candle that is filled in is made up for the reader, and
flagged so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeVar, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.archive import Archive, open_archive
from etl.errors import ConfigError
from etl.feeds_file import load_settings
from etl.filling import fill_flat
from etl.lost import open_present
from etl.rules import Rules
from etl.schema import (
    CANDLE_COLUMNS,
    STATE_FLAGS,
    AbsenceKind,
    ColumnKind,
    empty_candles,
    from_columns,
    to_column,
    to_columns,
)
from etl.series import Series, TimeRange, clip, spelled_as
from etl.settings import Settings
from etl.spelling import nearest, parse_moment
from etl.validate import flag_candles
from etl.warehouse import (
    Lookback,
    Warehouse,
    begin_reading,
    known_series,
    read_absent_slots,
    read_candles_at_once,
    read_last_candle,
    retired_ranges,
    span_of_absences,
    span_of_candles,
)
from etl.warehouse import read_candles as read_stored

if TYPE_CHECKING:
    import pandas as pd

_AT_ONCE = 50_000  # candles: the server makes up a whole answer before it sends any of it


class Source(StrEnum):
    """Store that candles are read from. ARCHIVE needs no database, and keeps what the warehouse no longer does."""

    WAREHOUSE = "warehouse"
    ARCHIVE = "archive"


class Fill(StrEnum):
    """Absent candles that are made up: flat ones, at the last close known before them, without volume.

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
Moment = datetime | str
_Choice = TypeVar("_Choice", bound=StrEnum)


@overload
def read_candles(
    series: Series | str,
    time_range: TimeRange | tuple[Moment, Moment],
    *,
    as_of: Moment | None = None,
    fill: Fill | str = Fill.NONE,
    source: Source | str = Source.WAREHOUSE,
    as_frame: Literal[False] = False,
    settings: Settings | None = None,
) -> pa.Table: ...


@overload
def read_candles(
    series: Series | str,
    time_range: TimeRange | tuple[Moment, Moment],
    *,
    as_of: Moment | None = None,
    fill: Fill | str = Fill.NONE,
    source: Source | str = Source.WAREHOUSE,
    as_frame: Literal[True],
    settings: Settings | None = None,
) -> pd.DataFrame: ...


def read_candles(
    series: Series | str,
    time_range: TimeRange | tuple[Moment, Moment],
    *,
    as_of: Moment | None = None,
    fill: Fill | str = Fill.NONE,
    source: Source | str = Source.WAREHOUSE,
    as_frame: bool = False,
    settings: Settings | None = None,
) -> pa.Table | pd.DataFrame:
    """Return the candles of a series that open in a range, all as they stood at one moment.

    Args:
        series: Or its text: `binance:BTC/USDT:1m`.
        time_range: Half-open; or its bounds, each aware or a text such as `2024-01-31` (UTC).
        as_of: Return what a reader got at that moment, by the warehouse's clock: what came later is not there, what was
            revised later has its old values, and rules flag what was held. A load that was under way then counts as
            done, since its time is that of its beginning. Without: what is held now.
        fill: Which absent candles to make up. They carry `Flag.FILLED`; no other candle does.
        source: Which store to read. The archive knows no `as_of`, and `fill` needs the warehouse's account besides.
        as_frame: Return a pandas DataFrame with `open_time` (UTC) as its index; where a value is not given it is NaN,
            in `trades` NA.
        settings: Where the stores are; read from feeds.toml and the environment, without.

    Returns:
        CANDLE_SCHEMA, ascending by open_time.

    Raises:
        ConfigError: The store has never heard of the series, or cannot tell what is asked for.
        StoreUnavailableError: The warehouse does not answer.
        StoreError: An archive file cannot be read or trusted.
    """
    series = Series.parse(series) if isinstance(series, str) else series
    span = time_range if isinstance(time_range, TimeRange) else TimeRange(*(_to_moment(bound) for bound in time_range))
    moment = None if as_of is None else _to_moment(as_of)
    kinds = _FILLED.get(_choice(Fill, fill))
    settings = settings or load_settings()
    if _choice(Source, source) is Source.WAREHOUSE:
        candles = _from_warehouse(settings, series, span, moment, kinds)
    elif moment is None:
        candles = _from_archive(settings, series, span, kinds)
    else:
        raise ConfigError('the archive keeps what is held now, not what was: as_of needs source="warehouse"')
    return _to_frame(candles) if as_frame else candles


def _from_warehouse(
    settings: Settings,
    series: Series,
    time_range: TimeRange,
    as_of: datetime | None,
    kinds: Collection[AbsenceKind] | None,
) -> pa.Table:
    with _reading(settings, series, as_of) as reader:
        reader.check_kept(time_range)
        candles = reader.candles(time_range)
        if kinds is None:
            return candles
        reader.check_kept(TimeRange(time_range.start - series.timeframe.delta, time_range.start))
        before = read_last_candle(reader.connection, reader.series_id, time_range.start, as_of)
        return fill_flat(candles, before, reader.absent(time_range, kinds))


def _from_archive(
    settings: Settings, series: Series, time_range: TimeRange, kinds: Collection[AbsenceKind] | None
) -> pa.Table:
    archive = open_archive(settings)
    files = archive.files(series)
    if not files:
        raise ConfigError(f"the archive has nothing of {series}{nearest(str(series), map(str, archive.series()))}")
    inside = clip(TimeRange(files[0].span.start, files[-1].span.end), time_range)
    candles = empty_candles() if inside is None else archive.read(series, inside)
    if kinds is None:
        return candles
    with _reading(settings, series, None) as reader:
        absent = reader.absent(time_range, kinds)
    return fill_flat(candles, _last_archived(archive, series, time_range.start), absent)


def _last_archived(archive: Archive, series: Series, before: datetime) -> pa.Table:
    """Return the last archived candle that opens before a moment, or none."""
    for file in reversed(archive.files(series)):
        if file.span.start < before:
            earlier = archive.read(series, TimeRange(file.span.start, min(before, file.span.end)))
            if earlier.num_rows:
                return earlier.slice(earlier.num_rows - 1)
    return empty_candles()


@contextmanager
def _reading(settings: Settings, series: Series, as_of: datetime | None) -> Iterator[_Reader]:
    with open_present(settings) as warehouse, begin_reading(warehouse) as connection:
        known = known_series(connection)
        if series not in known:
            raise ConfigError(f"{series} was never loaded{spelled_as(series, known)}")
        yield _Reader(
            warehouse,
            connection,
            known[series],
            series,
            settings.rules_of(series.exchange),
            settings.splits_of(series),
            as_of,
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    """One series in the warehouse at one moment, or now."""

    warehouse: Warehouse
    connection: Connection
    series_id: int
    series: Series
    rules: Rules
    splits_ms: Sequence[int]
    as_of: datetime | None

    def check_kept(self, time_range: TimeRange) -> None:
        if retired := retired_ranges(self.connection, self.series_id, time_range):
            message = f'the archive alone keeps the candles of {retired[0]}; read them with source="archive"'
            raise ConfigError(message, series=self.series, time_range=time_range)

    def candles(self, time_range: TimeRange) -> pa.Table:
        if self.as_of is None:
            return self._stored(time_range)
        # Flags of rules are no part of a revision: they follow from what was held, so they are found again.
        lookback = Lookback(self.series.timeframe, self.rules.lookback, self.rules.lookback_slots)
        near = time_range.start - lookback.near
        stood = self._stored(TimeRange(near, time_range.end))
        count = int(np.searchsorted(to_column(stood, "open_time"), time_range.start_ms))
        if not lookback.suffices(stood.slice(0, count)):
            stood = pa.concat_tables([self._stored(TimeRange(time_range.start - lookback.far, near)), stood])
        columns = to_columns(stood)
        bits = flag_candles(stood, self.series.timeframe, self.rules, self.splits_ms)
        flagged = from_columns({**columns, "flags": (columns["flags"] & np.int16(STATE_FLAGS)) | bits})
        return flagged.slice(int(np.searchsorted(columns["open_time"], time_range.start_ms)))

    def absent(self, time_range: TimeRange, kinds: Collection[AbsenceKind]) -> NDArray[np.int64]:
        if (inside := self._known(time_range)) is None:
            return np.array([], dtype=np.int64)
        return read_absent_slots(self.connection, self.series_id, self.series.timeframe, inside, kinds, self.as_of)

    def _stored(self, time_range: TimeRange) -> pa.Table:
        if time_range.count(self.series.timeframe) <= _AT_ONCE:
            return self._pieces(self.connection, [time_range])
        if (inside := self._known(time_range)) is None:
            return empty_candles()
        pieces = list(inside.windows(_AT_ONCE * self.series.timeframe.ms))
        half = len(pieces) // 2
        with begin_reading(self.warehouse, beside=self.connection) as other, ThreadPoolExecutor(1) as thread:
            first = thread.submit(self._pieces, other, pieces[:half])
            second = self._pieces(self.connection, pieces[half:])
            return pa.concat_tables([first.result(), second])

    def _pieces(self, connection: Connection, spans: Sequence[TimeRange]) -> pa.Table:
        if self.as_of is None:
            tables = [read_candles_at_once(connection, self.series_id, span) for span in spans]
        else:
            tables = [read_stored(connection, self.series_id, span, self.as_of) for span in spans]
        return pa.concat_tables([empty_candles(), *tables])

    def _known(self, time_range: TimeRange) -> TimeRange | None:
        """Return from the first to the last candle in `time_range` that anything is known of; None if there is none."""
        spans = (span_of_candles(self.connection, self.series_id), span_of_absences(self.connection, self.series_id))
        known = [span for span in spans if span is not None]
        if not known:
            return None
        return clip(TimeRange(min(span.start for span in known), max(span.end for span in known)), time_range)


def _to_frame(candles: pa.Table) -> pd.DataFrame:
    import pandas as pd

    # What Arrow has at hand is the frame's from now on, and to be written into.
    columns = {name: np.require(values, requirements="W") for name, values in to_columns(candles).items()}
    opened = pd.DatetimeIndex(columns.pop("open_time").view("M8[ms]"), name="open_time").tz_localize("UTC")
    nullable = {column.name for column in CANDLE_COLUMNS if column.is_nullable and column.kind is ColumnKind.INT}
    given = {name: pd.arrays.IntegerArray(columns[name], columns[name] < 0) for name in nullable}
    return pd.DataFrame({**columns, **given}, index=opened, copy=False)


def _to_moment(value: Moment) -> datetime:
    if isinstance(value, str):
        return parse_moment(value)
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone; times are aware UTC")
    moment = value.astimezone(UTC)
    # A pandas Timestamp is a datetime, and yet no driver knows it.
    return datetime.combine(moment.date(), moment.time(), UTC)


def _choice(kind: type[_Choice], value: str) -> _Choice:
    if value not in list(kind):
        raise ConfigError(f"{value!r} is no {kind.__name__.lower()}{nearest(value, kind)}")
    return kind(value)
