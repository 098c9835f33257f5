"""Timeframes and the grid of open times that each one spans.

Every timeframe divides a day, so its grid runs through midnight UTC. Weeks and months do not, and are not supported.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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

    @property
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


def to_ms(moment: datetime) -> int:
    """Return milliseconds since the epoch, rounded down. Exact: no float is involved.

    Raises:
        ValueError: `moment` is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; times are aware UTC")
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(moment_ms: int) -> datetime:
    """Return the aware UTC datetime of `moment_ms` milliseconds since the epoch."""
    return EPOCH + timedelta(milliseconds=moment_ms)
