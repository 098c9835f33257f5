"""Training data of a night: candles of the warehouse as of one moment, in three parts; who is left out, and why."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, text

from etl.errors import ConfigError, InsufficientHistoryError
from etl.learning import Learning, TrainingSpans, in_days
from etl.read import read_candles
from etl.schema import value_hash
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.spelling import counted, spell_duration
from etl.timeframe import Timeframe, from_ms
from etl.warehouse import Warehouse, known_series, retired_ranges
from models.calibration import LEAST
from models.features import Track, to_track
from models.targets import Target
from models.tracking import since_split

_DAY = timedelta(days=1)
_LEAST_SHARE = 0.1  # of the slots of each part; thin markets print few candles
# What a load stores has the time when its transaction began: nothing that is still under way may count as seen.
_CLOCK = text(
    "SELECT least(now(), min(xact_start)) - interval '1 microsecond' FROM pg_stat_activity "
    "WHERE datname = current_database()"
)
_TRIALS = 60  # of longer parts held out, until one does
_UNFLAGGED = "that no rule flags"
_MOST_LINES, _MOST_NAMES = 5, 3  # of reasons, and of the series of each
_ADVICE = "Load more of the past (history_<feed>, or chandler ingest --start)"


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
        """The part that no scorer has learned from."""
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
    spans = learning.spans_at(timeframe)
    if problems := learning.problems_at(timeframe):
        raise ConfigError("\n".join(f"[models] {name}: {problem}" for name, problem in problems.items()))
    third = spans.held_out / 3
    last = timeframe.floor(end)
    bounds = [
        timeframe.floor(last - spans.history),
        timeframe.floor(last - spans.held_out),
        timeframe.floor(last - (third - third % _DAY or third)),
        last,
    ]
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
    split, spans = split_history(target.timeframe, end, settings.models), settings.models.spans_at(target.timeframe)
    with warehouse.begin() as connection:
        as_of: datetime = connection.execute(_CLOCK).scalar_one()
        ranges = {
            series: _in_warehouse(connection, series_id, since_split(settings, series, split.whole))
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
        if (why := _lacks(track, split, spans, settings.models)) is None:
            candles[series], tracks[series] = found, track
        elif found.num_rows:
            left_out[series] = why
    if not tracks:
        can_lower = settings.models.least_history >= spans.least_history
        raise InsufficientHistoryError(_too_little(target, left_out, spans, can_lower=can_lower))
    remarks = tuple(
        f"{series}: the archive alone keeps what is older than {time_range.start:%Y-%m-%d %H:%M}; not learned"
        for series, time_range in ranges.items()
        if series in tracks and time_range is not None and time_range != since_split(settings, series, split.whole)
    )
    remarks += tuple(
        f"{series}: another coin had the symbol before {start:%Y-%m-%d %H:%M} (split in [series]); not learned"
        for series in tracks
        if (start := since_split(settings, series, split.whole).start) != split.whole.start
    )
    # What lies before the first candle was not learned, and a history of years would say it was.
    first = min(from_ms(int(track.open_time_ms[np.argmax(track.is_held)])) for track in tracks.values())
    split = replace(split, learned=TimeRange(max(split.learned.start, first), split.learned.end))
    return Lessons(split, as_of, candles, tracks, left_out, remarks, _hash(candles))


def _too_little(target: Target, left_out: Mapping[Series, str], spans: TrainingSpans, *, can_lower: bool) -> str:
    """Return what is needed and what to do in a line, and a line for each reason with the series that it holds for."""
    advice = _ADVICE
    if can_lower:
        advice += f", or lower least_history in [models], and held_out, {in_days(spans.held_out)}, below it"
    days = f"{_days(spans.least_history):,} days are needed"
    if not left_out:
        return f"too little of {target} to learn from: there are no candles, and {days}. {advice}"
    needed = _needed(spans, target.timeframe)
    by_reason: dict[str, list[str]] = {}
    for series, why in left_out.items():
        by_reason.setdefault(why.replace(f", {needed}", ""), []).append(str(series))
    lines = [f"  {_some(names)}: {why}" for why, names in list(by_reason.items())[:_MOST_LINES]]
    if (more := sum(map(len, list(by_reason.values())[_MOST_LINES:]))) > 0:
        lines.append(f"  and {more} more series")
    reasons = left_out.values()
    if any(_UNFLAGGED in why for why in reasons) and not any(needed in why for why in reasons):
        return "\n".join([f"too little of {target} to learn from: a part of the history has too few candles", *lines])
    return "\n".join([f"too little of {target} to learn from: {days}. {advice}", *lines])


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def _needed(spans: TrainingSpans, timeframe: Timeframe) -> str:
    return f"of the {int(spans.least_history / timeframe.delta):,} that {_days(spans.least_history):,} days hold"


def _in_warehouse(connection: Connection, series_id: int, time_range: TimeRange) -> TimeRange | None:
    """Return what of a range comes after all that was retired: what the archive alone keeps has no past to read."""
    retired = retired_ranges(connection, series_id, time_range)
    start = max((span.end for span in retired), default=time_range.start)
    return TimeRange(start, time_range.end) if start < time_range.end else None


def _lacks(track: Track, split: Split, spans: TrainingSpans, learning: Learning) -> str | None:
    """Return what a series lacks to be learned, and what would do; None if nothing."""
    held, needed = int(track.is_held.sum()), int(spans.least_history / track.timeframe.delta)
    if not held:
        return "no candle but filled ones"
    first = int(np.argmax(track.is_held))
    if held < needed:
        return _takes(track, held, needed, held / (len(track) - first), split.whole.end, spans)
    lack = _lacks_of_parts(track, split)
    return None if lack is None else f"{lack}; {_advise(track, split, spans, learning)}"


def _lacks_of_parts(track: Track, split: Split) -> str | None:
    """Return which part of a series' history has too few candles; None if none has."""
    first = int(np.argmax(track.is_held))
    for purpose, part in (("learn", split.learned), ("find thresholds", split.calm), ("compare models", split.test)):
        piece = track.cut(part)
        there = int(piece.is_clean.sum())
        # What lies before a series' first candle says nothing of how thin its market is.
        slots = len(track) - first - split.held_out.count(track.timeframe) if part == split.learned else len(piece)
        least = max(int(_LEAST_SHARE * slots), 0 if part == split.test else LEAST)
        if there < least:
            return f"{counted(there, 'candle')} to {purpose} in {part} {_UNFLAGGED}, and {least:,} are needed"
    return None


def _advise(track: Track, split: Split, spans: TrainingSpans, learning: Learning) -> str:
    """Return the settings with the shortest part held out that the series' candles are enough for, each tried."""
    timeframe, held = track.timeframe, int(track.is_held.sum())
    step = max(_DAY, spans.history // _TRIALS // _DAY * _DAY)
    held_out = spans.held_out // _DAY * _DAY + step
    while held_out < spans.history:
        least = max(learning.least_history, held_out + _DAY)
        wanted = {"held_out": held_out, "least_history": least, "history": max(learning.history, least)}
        changed = learning.model_copy(update=wanted)
        trial = changed.spans_at(timeframe)
        if trial.history != spans.history or held < trial.least_history // timeframe.delta:
            break
        if _lacks_of_parts(track, split_history(timeframe, split.whole.end, changed)) is None:
            told = (
                f'{name} = "{spell_duration(span)}"' for name, span in wanted.items() if span != getattr(learning, name)
            )
            return f"set {', '.join(told)} in [models], or load what is absent there"
        held_out += step
    return "load what is absent there, or wait"


def _takes(track: Track, held: int, needed: int, share: float, end: datetime, spans: TrainingSpans) -> str:
    """Return how many days it takes to hold enough candles, where so large a share of the slots holds one."""
    said = f"{counted(held, 'candle')}, {_needed(spans, track.timeframe)}"
    span = needed * track.timeframe.delta / share
    if _days(span) > _days(spans.least_history):
        said += f"; with candles in {share:.0%} of its slots it takes {_days(span):,} days"
    if span > spans.history:
        return f"{said}: raise history in [models] to that"
    return f"{said}; enough from {end - span:%Y-%m-%d} on"


def _days(span: timedelta) -> int:
    return math.ceil(span / _DAY)


def _hash(candles: Mapping[Series, pa.Table]) -> str:
    digest = hashlib.sha256()
    for series, table in sorted(candles.items()):
        digest.update(f"{series} {value_hash(table)}\n".encode())
    return digest.hexdigest()
