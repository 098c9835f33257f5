"""Trades that a market's candles could have come from, made up as a pure function of each candle.

The candle is exactly the aggregate of its trades: first, highest, lowest and last price, and the sum of the volumes,
digit for digit. There are as few as that takes, one to four; a candle without volume has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from etl.replay.market import Market, Row
from etl.timeframe import Timeframe

_ID_STRIDE = 8  # trades that one candle could have at most
_PLACES = 8
_MOST = 1 << 40
_MIX = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


class Trade(NamedTuple):
    """One trade, price and volume as decimal strings.

    `id` grows from trade to trade of a symbol, by one within a candle and by more from candle to candle.
    """

    time_ns: int
    price: str
    volume: str
    is_buy: bool
    is_market: bool
    id: int


class Tally(NamedTuple):
    """What trades come to: how many, their volume, and that in quote currency."""

    trades: int
    volume: Decimal
    quote_volume: Decimal


def finest(market: Market, symbol: str) -> Timeframe:
    """Return the timeframe whose candles the trades of `symbol` are made from: the finest there is."""
    return min(market.timeframes(symbol), key=lambda timeframe: timeframe.ms)


def trades_of(row: Row, timeframe: Timeframe) -> list[Trade]:
    """Return the trades of one candle, ascending; none where it has no volume, or lacks a price."""
    prices = _path(row)
    volumes = _split(row.volume, len(prices), seed := _mix(row.open_time_ms)) if prices and row.volume else []
    if not volumes:
        return []
    step_ns = timeframe.ms * 1_000_000 // len(prices)
    first_id = row.open_time_ms // Timeframe.M1.ms * _ID_STRIDE
    start_ns = row.open_time_ms * 1_000_000
    sides = [seed % 2 == 0, *(Decimal(after) > Decimal(before) for before, after in pairwise(prices))]
    # One candle in sixteen has its first trade in its very first nanosecond.
    shifts = [0 if seed % 16 == 0 and n == 0 else _mix(seed + n) % step_ns for n in range(len(prices))]
    return [
        Trade(start_ns + n * step_ns + shifts[n], price, volume, sides[n], (seed >> n) % 4 != 0, first_id + n)
        for n, (price, volume) in enumerate(zip(prices, volumes, strict=True))
    ]


def trades_between(market: Market, symbol: str, start_ms: int, end_ms: int) -> Iterator[Trade]:
    """Yield the trades in `[start_ms, end_ms)`, ascending; the bounds lie on the grid.

    Of candles that were recorded twice the last one counts.
    """
    timeframe = finest(market, symbol)
    rows = market.rows(symbol, timeframe, start_ms, end_ms, _MOST)
    for row in {row.open_time_ms: row for row in rows}.values():
        yield from trades_of(row, timeframe)


def tally(trades: Iterable[Trade]) -> Tally:
    """Return what `trades` come to."""
    count, volume, quote_volume = 0, Decimal(0), Decimal(0)
    for trade in trades:
        amount = Decimal(trade.volume)
        count, volume, quote_volume = count + 1, volume + amount, quote_volume + amount * Decimal(trade.price)
    return Tally(count, volume, quote_volume)


def _path(row: Row) -> list[str]:
    """Return the prices that are traded at: open, the extremes, close, without standing still."""
    if row.open is None or row.high is None or row.low is None or row.close is None:
        return []
    is_rising = Decimal(row.close) >= Decimal(row.open)
    extremes = (row.low, row.high) if is_rising else (row.high, row.low)
    path = [row.open]
    for price in (*extremes, row.close):
        if Decimal(price) != Decimal(path[-1]):
            path.append(price)
    return path


def _split(volume: str, count: int, seed: int) -> list[str]:
    """Return `count` volumes above zero that add up to `volume`; none where it is not above zero.

    Eight places, or as many more as it has or takes.
    """
    total = Decimal(volume)
    if total <= 0:
        return []
    exponent = total.as_tuple().exponent
    places = max(_PLACES, -exponent if isinstance(exponent, int) else 0)
    units = int(volume.replace(".", "")) * 10 ** (places - len(volume.partition(".")[2]))
    while units < count:
        places, units = places + 1, units * 10
    weights = [1 + _mix(seed + 31 * n) % 97 for n in range(count)]
    spare, whole = units - count, sum(weights)
    shares = [1 + spare * weight // whole for weight in weights]
    shares[-1] += units - sum(shares)
    return [_to_text(share, places) for share in shares]


def _to_text(units: int, places: int) -> str:
    digits = str(units).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}"


def _mix(number: int) -> int:
    """Return 64 bits that look random and are fixed by `number`."""
    value = (number * _MIX) & _MASK
    value = ((value ^ (value >> 31)) * _MIX) & _MASK
    return value ^ (value >> 29)
