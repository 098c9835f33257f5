"""Targets of training: one model for all series of a timeframe, or one for each series. Imported by a DAG file."""

from __future__ import annotations

from dataclasses import dataclass

from etl.series import Series
from etl.settings import Settings
from etl.timeframe import Timeframe, parse_timeframe

ALL = "all"


@dataclass(frozen=True, slots=True)
class Target:
    """Target of one model.

    Attributes:
        series: The one series that it is for; all of the timeframe without.
    """

    timeframe: Timeframe
    series: Series | None = None

    def __str__(self) -> str:
        return str(self.series or self.timeframe)

    @property
    def scope(self) -> str:
        """The scope in artifacts and in the registry."""
        return ALL if self.series is None else str(self.series)

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read what `str` wrote: `1m`, or `binance:BTC/USDT:1m`.

        Raises:
            ConfigError: It is neither.
        """
        if ":" in text:
            series = Series.parse(text)
            return cls(series.timeframe, series)
        return cls(parse_timeframe(text))


def targets_of(settings: Settings) -> list[Target]:
    """Return what the feeds ask for, finest first: a model for each timeframe, or for each series by `per_series`."""
    series = {one for feed in settings.feeds.values() for one in feed.series}
    if settings.models.per_series:
        return [Target(one.timeframe, one) for one in sorted(series, key=lambda one: (one.timeframe.ms, one))]
    return [Target(timeframe) for timeframe in sorted({one.timeframe for one in series}, key=lambda one: one.ms)]
