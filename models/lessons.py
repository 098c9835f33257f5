"""What a night learns from: candles of the warehouse as of one moment, in three parts; who is left out, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
from sqlalchemy import Connection, text

from etl.errors import ConfigError, InsufficientHistoryError
from etl.learning import Learning
from etl.read import read_candles
from etl.schema import value_hash
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.timeframe import Timeframe
from etl.warehouse import Warehouse, known_series, retired_ranges
from models.calibration import LEAST
from models.features import Track, to_track
from models.targets import Target

_DAY = timedelta(days=1)
_LEAST_SHARE = 0.1  # of the slots of each part; thin markets print few candles
# What a load stores has the time when its transaction began: nothing that is still under way may count as seen.
_CLOCK = text(
    "SELECT least(now(), min(xact_start)) - interval '1 microsecond' FROM pg_stat_activity "
    "WHERE datname = current_database()"
)
_ADVICE = "load more of the past (history_<feed>, or chandler ingest --start), or lower least_history in [models]"


@dataclass(frozen=True, slots=True)
class Split:
    """A range in three parts, one after the other.

    Attributes:
        learned: Scorers learn from it.
        calm: Thresholds are found on it.
        test: Models are compared on it.
    """

    learned: TimeRange
    calm: TimeRange
    test: TimeRange

    @property
    def held_out(self) -> TimeRange:
        """What no scorer has learned from."""
        return TimeRange(self.calm.start, self.test.end)

    @property
    def whole(self) -> TimeRange:
        """All of it."""
        return TimeRange(self.learned.start, self.test.end)


@dataclass(frozen=True, slots=True)
class Lessons:
    """Candles to learn from.

    Attributes:
        as_of: The moment as of which they were read, by the warehouse's clock.
        candles: CANDLE_SCHEMA, of the whole split.
        tracks: The same on their grid.
        left_out: Why a series that has candles there is not among them.
        remarks: What else there is to say, a sentence each.
        data_hash: SHA-256 over the names of the series and the values of their candles.
    """

    split: Split
    as_of: datetime
    candles: Mapping[Series, pa.Table]
    tracks: Mapping[Series, Track]
    left_out: Mapping[Series, str]
    remarks: tuple[str, ...]
    data_hash: str


def split_history(timeframe: Timeframe, end: datetime, learning: Learning) -> Split:
    """Return what is learned, calibrated and compared on: all before `end`, the last third of `held_out` compared.

    Raises:
        ConfigError: The settings leave nothing to learn from.
    """
    if learning.held_out >= min(learning.history, learning.least_history):
        raise ConfigError("[models] held_out must be shorter than history and least_history: the rest is learned")
    third = learning.held_out / 3
    last = timeframe.floor(end)
    bounds = [
        timeframe.floor(last - learning.history),
        timeframe.floor(last - learning.held_out),
        timeframe.floor(last - (third - third % _DAY or third)),
        last,
    ]
    if sorted(set(bounds)) != bounds:
        raise ConfigError(f"[models] held_out is too short for candles of {timeframe}")
    return Split(*(TimeRange(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False)))


def read_lessons(
    warehouse: Warehouse, settings: Settings, target: Target, end: datetime, told: Callable[[float], None]
) -> Lessons:
    """Read what there is to learn from.

    Args:
        end: Nothing that opens at or after it is read.
        told: What share is read.

    Raises:
        InsufficientHistoryError: No series has enough candles; the message says which has how many.
    """
    split = split_history(target.timeframe, end, settings.models)
    with warehouse.begin() as connection:
        as_of: datetime = connection.execute(_CLOCK).scalar_one()
        ranges = {
            series: _in_warehouse(connection, series_id, split.whole)
            for series, series_id in known_series(connection).items()
            if series.timeframe is target.timeframe and target.series in (None, series)
        }
    candles, tracks, left_out = {}, {}, {}
    for number, (series, time_range) in enumerate(ranges.items(), 1):
        told(number / len(ranges))
        if time_range is None:
            left_out[series] = "the archive alone keeps its candles; raise warehouse in [keep]"
            continue
        found = read_candles(series, time_range, as_of=as_of, settings=settings)
        track = to_track(found, target.timeframe, split.whole)
        if (why := _lacks(track, split, settings.models)) is None:
            candles[series], tracks[series] = found, track
        elif found.num_rows:
            left_out[series] = why
    if not tracks:
        whose = "; ".join(f"{series}: {why}" for series, why in left_out.items()) or "there are no candles"
        raise InsufficientHistoryError(f"too little of {target} to learn from: {whose}. {_ADVICE.capitalize()}")
    remarks = tuple(
        f"{series}: the archive alone keeps what is older than {time_range.start:%Y-%m-%d %H:%M}; not learned"
        for series, time_range in ranges.items()
        if series in tracks and time_range is not None and time_range != split.whole
    )
    return Lessons(split, as_of, candles, tracks, left_out, remarks, _hash(candles))


def _in_warehouse(connection: Connection, series_id: int, time_range: TimeRange) -> TimeRange | None:
    """Return what of a range comes after all that was retired: what the archive alone keeps has no past to read."""
    retired = retired_ranges(connection, series_id, time_range)
    start = max((span.end for span in retired), default=time_range.start)
    return TimeRange(start, time_range.end) if start < time_range.end else None


def _lacks(track: Track, split: Split, learning: Learning) -> str | None:
    """Return what a series lacks to be learned; None if nothing."""
    held, needed = int(track.is_held.sum()), int(learning.least_history / track.timeframe.delta)
    if held < needed:
        return f"{held:,} candles, of the {needed:,} that {learning.least_history.days} days hold"
    for purpose, part in (("learn", split.learned), ("find thresholds", split.calm), ("compare models", split.test)):
        piece = track.cut(part)
        there = int(piece.is_clean.sum())
        least = max(int(_LEAST_SHARE * len(piece)), 0 if part == split.test else LEAST)
        if there < least:
            return f"{there:,} candles to {purpose} in {part} that no rule flags, and {least:,} are needed"
    return None


def _hash(candles: Mapping[Series, pa.Table]) -> str:
    digest = hashlib.sha256()
    for series, table in sorted(candles.items()):
        digest.update(f"{series} {value_hash(table)}\n".encode())
    return digest.hexdigest()
