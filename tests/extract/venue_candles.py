"""Lists of the exchanges of `other_venues`, and made-up candles: with trades mostly, without now and then, forming."""

from __future__ import annotations

from typing import NamedTuple

LISTED_MS = 1_600_000_000_000 // 86_400_000 * 86_400_000  # in September 2020
SYMBOLS = ("BTC/USDT", "BTC/USD", "ETH/USDT")
UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Candle(NamedTuple):
    """A candle with numbers as text, as most exchanges print them."""

    open_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str


def is_traded(open_ms: int, width_ms: int) -> bool:
    """Return whether there are trades in a candle: below an hour, now and then one or five in a row have none."""
    number = open_ms // width_ms
    return width_ms >= UNITS_MS["h"] or not (number % 17 == 5 or 100 <= number % 251 < 105)


def traded(open_ms: int, width_ms: int, *, is_forming: bool = False) -> Candle:
    """Return a candle that has trades; what forms is not yet what it will be."""
    number = open_ms // width_ms
    first, last = (20_000.25 + n * 37 % 500 for n in (number, number + (0 if is_forming else 1)))
    volume = 0.125 if is_forming else 0.5 + number % 100 / 8
    low, high = min(first, last) - 1.75, max(first, last) + 1.5
    return Candle(open_ms, f"{first}", f"{high}", f"{low}", f"{last}", f"{volume}")


def silent(open_ms: int, width_ms: int) -> Candle:
    """Return the candle that a minute without trades has where one is printed: flat at the last close."""
    before_ms = open_ms - width_ms
    while not is_traded(before_ms, width_ms):
        before_ms -= width_ms
    close = traded(before_ms, width_ms).close
    return Candle(open_ms, close, close, close, close, "0")


def candles(
    width_ms: int, first_ms: int, last_ms: int, now_ms: int, *, prints_empty: bool, is_forming_served: bool = True
) -> list[Candle]:
    """Return what opens from `first_ms` to `last_ms`, both inclusive and anywhere; ascending."""
    start_ms = -(-max(first_ms, LISTED_MS) // width_ms) * width_ms
    forming_ms = now_ms // width_ms * width_ms
    opens = range(start_ms, min(last_ms, forming_ms if is_forming_served else forming_ms - 1) + 1, width_ms)
    rows = (
        traded(at_ms, width_ms, is_forming=at_ms == forming_ms)
        if at_ms == forming_ms or is_traded(at_ms, width_ms)
        else silent(at_ms, width_ms)
        if prints_empty
        else None
        for at_ms in opens
    )
    return [row for row in rows if row is not None]
