"""Timeframes and the grid of open times that each one spans.

Every timeframe divides a day, so its grid runs through midnight UTC. Weeks and months do not, and are not supported.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property

from etl.errors import ConfigError

_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
# What people and other tools write for a unit: a small m is a minute, a large one a month.
_SPELLINGS_MS = {
    **dict.fromkeys(("s", "S", "sec", "second"), 1000),
    **dict.fromkeys(("m", "T", "min", "minute"), 60_000),
    **dict.fromkeys(("h", "H", "hr", "hour"), 3_600_000),
    **dict.fromkeys(("d", "D", "day"), 86_400_000),
    **dict.fromkeys(("w", "W", "wk", "week"), 7 * 86_400_000),
    **dict.fromkeys(("M", "mo", "mon", "month"), 30 * 86_400_000),
}
_SPELLED = re.compile(r"(\d{1,6})[ _-]?([A-Za-z]+?)s?")
_MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEGINNING = datetime(2009, 1, 3, tzinfo=UTC)
"""The day of the first bitcoins, before which nothing of ours was traded."""


class Timeframe(StrEnum):
    """A candle's width. Values are the names that exchanges and ccxt use."""

    M1 = "1m"
    M3 = "3m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H2 = "2h"
    H4 = "4h"
    H6 = "6h"
    H8 = "8h"
    H12 = "12h"
    D1 = "1d"

    @cached_property
    def ms(self) -> int:
        """The width in milliseconds."""
        return int(self.value[:-1]) * _UNIT_MS[self.value[-1]]

    @property
    def delta(self) -> timedelta:
        """The width as a timedelta."""
        return timedelta(milliseconds=self.ms)

    def floor(self, moment: datetime) -> datetime:
        """Return the open time of the candle that `moment` (aware) falls in."""
        return from_ms(to_ms(moment) // self.ms * self.ms)

    def ceil(self, moment: datetime) -> datetime:
        """Return the first open time at or after `moment` (aware)."""
        return from_ms(-(-to_ms(moment) // self.ms) * self.ms)


def parse_timeframe(text: str) -> Timeframe:
    """Read `1m` to `1d`.

    Raises:
        ConfigError: It is no timeframe; with the one that is as wide, or nearly so, where that can be told.
    """
    if text in list(Timeframe):
        return Timeframe(text)
    raise ConfigError(f"{text!r} is no timeframe; {_nearest(text)}")


def _nearest(text: str) -> str:
    spelled = _SPELLED.fullmatch(text.strip())
    width_ms = int(spelled[1]) * _SPELLINGS_MS.get(spelled[2], 0) if spelled else 0
    if not width_ms:
        return f"one of {', '.join(Timeframe)}"
    if width_ms < Timeframe.M1.ms:
        return f"the finest is {Timeframe.M1}"
    if width_ms > Timeframe.D1.ms:
        return f"the coarsest is {Timeframe.D1}"
    return f"nearest: {min(Timeframe, key=lambda one: abs(math.log(one.ms / width_ms)))}"


def to_ms(moment: datetime) -> int:
    """Return milliseconds since the epoch, rounded down. Exact: no float is involved.

    Raises:
        ValueError: `moment` is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; times are aware UTC")
    return (moment - EPOCH) // _MILLISECOND


def from_ms(moment_ms: int) -> datetime:
    """Return the aware UTC datetime of `moment_ms` milliseconds since the epoch."""
    return EPOCH + timedelta(milliseconds=moment_ms)
