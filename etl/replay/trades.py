"""Trades that a market's candles could have come from, made up as a pure function of each candle.

The candle is exactly the aggregate of its trades: first, highest, lowest and last price, and the sum of the volumes,
digit for digit. There are as few as that takes, one to four; a candle without volume has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from etl.replay.market import Market, Row
from etl.timeframe import Timeframe

MS = 1_000_000
_ID_STRIDE = 8  # trades that one candle could have at most
_PLACES = 8
_WEIGHTS = {1: (1,), 2: (5, 3), 3: (3, 1, 4), 4: (4, 1, 2, 6)}
_MIX = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_MOST = 1 << 40


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
    """Sum of a candle's trades: how many, and their mean price weighted by volume."""

    trades: int
    vwap: float


def finest(market: Market, symbol: str) -> Timeframe:
    """Return the timeframe whose candles the trades of `symbol` are made from: the finest there is."""
    return min(market.timeframes(symbol), key=lambda timeframe: timeframe.ms)


def trades_of(row: Row, timeframe: Timeframe) -> list[Trade]:
    """Return the trades of one candle, ascending; none where it has no volume, or lacks a price."""
    if not _is_traded(row):
        return []
    points = (row.open, row.low, row.high, row.close) if _is_rising(row) else (row.open, row.high, row.low, row.close)
    prices = [price for n, price in enumerate(points) if price is not None and (n == 0 or price != points[n - 1])]
    seed = _mix(row.open_time_ms)
    step_ns = timeframe.ms * MS // len(prices)
    first_id = row.open_time_ms // Timeframe.M1.ms * _ID_STRIDE
    trades = []
    at_ns, before, is_buy = row.open_time_ms * MS, prices[0], seed & 1 == 0
    for n, (price, volume) in enumerate(zip(prices, _split(row.volume or "0", len(prices)), strict=True)):
        # One candle in sixteen has its first trade in its very first nanosecond.
        shift_ns = 0 if n == 0 and seed & 15 == 0 else (seed >> 12 * n & 4095) * step_ns // 4096 + n
        if n:
            is_buy = float(price) > float(before)
        trades.append(Trade(at_ns + shift_ns, price, volume, is_buy, seed >> n & 2 == 0, first_id + n))
        at_ns, before = at_ns + step_ns, price
    return trades


def trades_between(market: Market, symbol: str, start_ms: int, end_ms: int) -> Iterator[Trade]:
    """Yield the trades in `[start_ms, end_ms)`, ascending; the bounds lie on the grid.

    Of candles that were recorded twice the last one counts.
    """
    timeframe = finest(market, symbol)
    for row in _rows_once(market, symbol, start_ms, end_ms):
        yield from trades_of(row, timeframe)


def tally(trades: Iterable[Trade]) -> Tally:
    """Return what `trades` come to."""
    kept = [(float(trade.price), float(trade.volume)) for trade in trades]
    volume = sum(amount for _, amount in kept)
    return Tally(len(kept), sum(price * amount for price, amount in kept) / volume if kept else 0.0)


def tally_candles(market: Market, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Mapping[int, Tally]:
    """Return what the trades of each candle in `[start_ms, end_ms)` come to, by its open time; bounds on the grid.

    The same as `tally` of them, without making them.
    """
    rows = [row for row in _rows_once(market, symbol, start_ms, end_ms) if _is_traded(row)]
    if not rows:
        return {}
    values = np.array([row[1:6] for row in rows], dtype=np.float64)
    opens, highs, lows, closes, volumes = values.T
    is_rising = closes >= opens
    path = np.column_stack((opens, np.where(is_rising, lows, highs), np.where(is_rising, highs, lows), closes))
    is_new = np.column_stack((np.ones(len(rows), dtype=np.bool_), np.diff(path, axis=1) != 0))
    counts = is_new.sum(axis=1)
    means = np.empty(len(rows))
    for shape in np.unique(is_new, axis=0):
        alike = (is_new == shape).all(axis=1)
        weights = np.array(_WEIGHTS[int(shape.sum())])
        means[alike] = path[alike][:, shape] @ weights / weights.sum()
    slots = np.array([row.open_time_ms for row in rows]) // timeframe.ms
    starts = np.flatnonzero(np.diff(slots, prepend=slots[0] - 1))
    trades, volume, turnover = (np.add.reduceat(part, starts) for part in (counts, volumes, volumes * means))
    tallies = map(Tally, trades.tolist(), (turnover / volume).tolist())
    return dict(zip((slots[starts] * timeframe.ms).tolist(), tallies, strict=True))


def _rows_once(market: Market, symbol: str, start_ms: int, end_ms: int) -> Iterable[Row]:
    rows = market.rows(symbol, finest(market, symbol), start_ms, end_ms, _MOST)
    return {row.open_time_ms: row for row in rows}.values()


def _is_traded(row: Row) -> bool:
    return None not in row[1:6] and float(row.volume or 0) > 0


def _is_rising(row: Row) -> bool:
    return float(row.close or 0) >= float(row.open or 0)


def _split(volume: str, count: int) -> list[str]:
    """Return `count` volumes above zero that add up to `volume`: eight places, or as many more as it has or takes."""
    if count == 1:
        return [volume]
    whole, _, fraction = volume.partition(".")
    places = max(_PLACES, len(fraction))
    units = int(whole + fraction.ljust(places, "0"))
    while units < count:
        places, units = places + 1, units * 10
    weights = _WEIGHTS[count]
    spare, weight_of_all = units - count, sum(weights)
    shares = [1 + spare * weight // weight_of_all for weight in weights]
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
