"""Paths of the archive's files: one per series and month below `1h`, per year from there up. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from etl.errors import ConfigError
from etl.series import Series, TimeRange, clip, symbol_from_path
from etl.timeframe import Timeframe

PARQUET, FALLBACK = ".parquet", ".jsonl"
_NAME = re.compile(r"(\d{4})(-\d{2})?")


@dataclass(frozen=True, slots=True)
class Spot:
    """The place of one file: a series and the month or year that it may hold."""

    series: Series
    span: TimeRange

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return f"{self.span.start:%Y}" if _is_yearly(self.series.timeframe) else f"{self.span.start:%Y-%m}"

    @property
    def path(self) -> str:
        """The file's path below a root, without its ending."""
        return f"{self.series.path}/{self.name}"


def spots(series: Series, time_range: TimeRange) -> Iterator[Spot]:
    """Yield the places of the files that `time_range` touches."""
    return (Spot(series, span) for span in file_spans(series.timeframe, time_range))


def spot_of(path: str, ending: str) -> Spot | None:
    """Return the place of the file that lies at `path` below a root; None if it is no file of this archive."""
    folder, _, name = path.rpartition("/")
    series = series_of(folder)
    match = _NAME.fullmatch(name.removesuffix(ending))
    if series is None or match is None or not name.endswith(ending):
        return None
    try:
        start = datetime(int(match[1]), int((match[2] or "-01")[1:]), 1, tzinfo=UTC)
    except ValueError:
        return None
    spot = Spot(series, TimeRange(start, _next(series.timeframe, start)))
    return spot if spot.path + ending == path else None


def series_of(folder: str) -> Series | None:
    """Return the series that is kept in `folder` below a root; None if none is."""
    parts = folder.split("/")
    if len(parts) != 3:
        return None
    exchange, symbol, timeframe = (part.partition("=")[2] for part in parts)
    try:
        series = Series(exchange, symbol_from_path(symbol), Timeframe(timeframe))
    except (ConfigError, ValueError):
        return None
    return series if series.path == folder else None


def file_spans(timeframe: Timeframe, time_range: TimeRange) -> Iterator[TimeRange]:
    """Yield the files' spans that `time_range` touches: months below `1h`, years from there up."""
    moment = datetime(time_range.start.year, 1 if _is_yearly(timeframe) else time_range.start.month, 1, tzinfo=UTC)
    while moment < time_range.end:
        following = _next(timeframe, moment)
        yield TimeRange(moment, following)
        moment = following


def spans(timeframe: Timeframe, time_range: TimeRange) -> list[TimeRange]:
    """Cut `time_range` where one file ends and the next begins, so that each is rewritten once."""
    return clipped(time_range, file_spans(timeframe, time_range))


def clipped(span: TimeRange, others: Iterable[TimeRange]) -> list[TimeRange]:
    """Return what of the others lies within `span`."""
    return [part for other in others if (part := clip(other, span)) is not None]


def _is_yearly(timeframe: Timeframe) -> bool:
    return timeframe.ms >= Timeframe.H1.ms


def _next(timeframe: Timeframe, start: datetime) -> datetime:
    if _is_yearly(timeframe) or start.month == 12:
        return datetime(start.year + 1, 1, 1, tzinfo=UTC)
    return start.replace(month=start.month + 1)
