"""Candles for scoring: those of a series that lie in a range, wherever they are kept, and those of other exchanges."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
from sqlalchemy import Connection

from etl.read import Source, read_candles
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.timeframe import from_ms
from etl.warehouse import known_series, read_candles_at_once, retired_ranges
from models.features import Track, to_track
from models.siblings import siblings_of


@dataclass(frozen=True, slots=True)
class Candles:
    """Source of candles, in the transaction of whoever scores.

    Attributes:
        known: Every series with its number.
    """

    connection: Connection
    settings: Settings
    known: dict[Series, int]

    @classmethod
    def of(cls, connection: Connection, settings: Settings) -> Candles:
        """Return what reads in that transaction."""
        return cls(connection, settings, known_series(connection))

    def read(self, series: Series, time_range: TimeRange) -> pa.Table:
        """Return the candles that open in a range: CANDLE_SCHEMA, ascending by open_time.

        Where the symbol became another coin's in the range, those of the later coin alone.

        Raises:
            StoreError: The archive, which alone keeps them, does not have them.
        """
        series_id = self.known[series]
        time_range = since_split(self.settings, series, time_range)
        if retired_ranges(self.connection, series_id, time_range):
            return read_candles(series, time_range, source=Source.ARCHIVE, settings=self.settings)
        return read_candles_at_once(self.connection, series_id, time_range)

    def track(self, series: Series, time_range: TimeRange) -> Track:
        """Return the candles of a range on their grid."""
        return to_track(self.read(series, time_range), series.timeframe, time_range)

    def siblings(self, series: Series) -> list[Series]:
        """Return the same asset on other exchanges, at the same timeframe."""
        return siblings_of(series, self.known)

    def others(self, series: Collection[Series], time_range: TimeRange) -> dict[Series, Track]:
        """Return the tracks of some series."""
        return {one: self.track(one, time_range) for one in series}


def since_split(settings: Settings, series: Series, time_range: TimeRange) -> TimeRange:
    """Return what of a range lies after the last moment in it at which the symbol became another coin's."""
    inside = [at for at in settings.splits_of(series) if time_range.start_ms < at < time_range.end_ms]
    return TimeRange(from_ms(inside[-1]), time_range.end) if inside else time_range


def slots_around(series: Series, time_range: TimeRange, before: int, after: int = 0) -> TimeRange:
    """Return a range with so many slots more on either side."""
    width = series.timeframe.ms
    start, end = series.timeframe.floor(time_range.start), series.timeframe.ceil(time_range.end)
    wider = TimeRange(start, end)
    return TimeRange(from_ms(max(wider.start_ms - before * width, 0)), from_ms(wider.end_ms + after * width))
