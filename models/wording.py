"""Numbers of a market written for people, in what an incident's evidence says."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from models.features import Track

_MINUTE_MS = 60_000


def price(value: float) -> str:
    """Return a price with six digits that count, and cents at least: `42,000.00`, `0.7944`, `0.0000123`."""
    if not value > 0:
        return f"{value:,.2f}"
    written = f"{value:,.{max(2, 5 - math.floor(math.log10(value)))}f}"
    whole, _, decimals = written.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def amount(value: float) -> str:
    """Return an amount of what is traded: `13,808`, `45.2031`."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.6g}"


def percent(move: float) -> str:
    """Return a log of price over price as a signed percentage: `-13.1 %`."""
    return f"{100 * math.expm1(move):+.{_places(move)}f} %"


def size(move: float, sign: int = 1) -> str:
    """Return the size of a move (at least 0) up or down as a percentage without a sign: `13.1 %`."""
    return f"{abs(100 * math.expm1(sign * move)):.{_places(move)}f} %"


def times(ratio: float) -> str:
    """Return a multiple: `3.2 times`, `40 times`."""
    return f"{ratio:,.{0 if ratio >= 10 else 1}f} times"


def clock(track: Track, slot: int) -> str:
    """Return when a slot opens, UTC: `05:03`; with the day where candles are so wide that the hour says too little."""
    moment = datetime.fromtimestamp((track.start_ms + slot * track.timeframe.ms) / 1000, UTC)
    return f"{moment:%m-%d %H:%M}" if track.timeframe.ms >= 3_600_000 else f"{moment:%H:%M}"


def candles(count: int) -> str:
    """Return so many candles: `1 candle`, `5 candles`."""
    return f"{count} candle{'' if count == 1 else 's'}"


def without_candles(track: Track, count: int) -> str:
    """Return how long no candle was held: `45 min without candles`, `3 h without candles`, `2 days without candles`."""
    minutes = count * track.timeframe.ms // _MINUTE_MS
    hours, days = round(minutes / 60), round(minutes / 1440)
    length = f"{minutes} min" if minutes < 120 else f"{hours} h" if hours < 48 else f"{days} days"
    return f"{length} without candles"


def _places(move: float) -> int:
    return 1 if abs(move) >= 0.01 else 2
