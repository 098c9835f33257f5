"""The market as the protocols read it: who is listed, and rows that are encoded once, a day at a time.

Rows of one day never change once it is made, so each day is kept as it goes over the wire; a page is cut from it.
The candle that forms is never kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache

import orjson

from etl.replay.columns import to_columns
from etl.replay.market import Columns, Market
from etl.replay.trades import MS, Tally, Trade, finest, tally, tally_candles, trades_between
from etl.replay.wire import WireRow
from etl.timeframe import Timeframe

DAY_MS = Timeframe.D1.ms
_DAYS_KEPT = 256  # of minutes, some 250 kB each
_COARSE_BLOCKS_KEPT = 1_024  # at most 192 rows each
_TALLIES_KEPT = 1_024

PrintCandles = Callable[[Columns, Timeframe], list[bytes]]
"""Encodes candles, one piece each."""

PrintTrades = Callable[[Sequence[Trade]], list[bytes]]
"""Encodes trades, one piece each."""


@dataclass(frozen=True, slots=True)
class _Block:
    """The rows of a day, or of several together: when each is, ascending, and how it is encoded."""

    moments: list[int]
    pieces: list[bytes]


class Book:
    """View of the market that protocols read.

    Args:
        market: What is traded.
        unlisted: The symbols that the exchange does not know any more; may change at any time.
    """

    def __init__(self, market: Market, unlisted: Set[str] = frozenset()) -> None:
        self.market = market
        self._unlisted = unlisted
        self._fine = lru_cache(maxsize=_DAYS_KEPT)(self._encode_candles)
        self._coarse = lru_cache(maxsize=_COARSE_BLOCKS_KEPT)(self._encode_candles)
        self._trades = lru_cache(maxsize=_DAYS_KEPT)(self._encode_trades)
        self._tallies = lru_cache(maxsize=_TALLIES_KEPT)(self._tally_day)

    def symbols(self, now_ms: int) -> list[str]:
        """Return the symbols that the exchange knows, delisted ones included."""
        return [symbol for symbol in self.market.symbols if self.is_known(symbol, now_ms)]

    def is_known(self, symbol: str, now_ms: int) -> bool:
        """Return whether the exchange has ever listed `symbol` and still speaks of it."""
        from_ms = self.market.lifetime(symbol).from_ms
        return symbol not in self._unlisted and (from_ms is None or from_ms <= now_ms)

    def is_trading(self, symbol: str, now_ms: int) -> bool:
        """Return whether `symbol` can be traded now."""
        until_ms = self.market.lifetime(symbol).until_ms
        return self.is_known(symbol, now_ms) and (until_ms is None or now_ms < until_ms)

    def candles(
        self,
        print_: PrintCandles,
        symbol: str,
        timeframe: Timeframe,
        start_ms: int,
        end_ms: int,
        limit: int,
        now_ms: int,
    ) -> list[bytes]:
        """Return the first `limit` candles with open_time in `[start_ms, end_ms)`, the forming one included."""
        end_ms = min(end_ms, now_ms + 1)
        forming_ms = now_ms // timeframe.ms * timeframe.ms
        keep = self._coarse if timeframe.ms >= Timeframe.H1.ms else self._fine

        def next_ms(moment_ms: int) -> int | None:
            rows = self.market.rows(symbol, timeframe, moment_ms, end_ms, 1)
            return rows[0].open_time_ms if rows else None

        length_ms = _days_together(timeframe) * DAY_MS
        pieces, _ = _walk(
            lambda number: keep(print_, symbol, timeframe, number),
            next_ms,
            length_ms,
            range(start_ms, min(end_ms, forming_ms)),
            limit,
        )
        if len(pieces) < limit and end_ms > forming_ms:
            late_ms = max(start_ms, forming_ms)
            rest = self.market.rows(symbol, timeframe, late_ms, end_ms, limit - len(pieces), now_ms)
            pieces += print_(to_columns(rest), timeframe)
        return pieces

    def last_candles(
        self, print_: PrintCandles, symbol: str, timeframe: Timeframe, end_ms: int, limit: int, now_ms: int
    ) -> list[bytes]:
        """Return the last `limit` candles with open_time before `end_ms`, the forming one included."""
        return print_(to_columns(self.market.last_rows(symbol, timeframe, end_ms, limit, now_ms)), timeframe)

    def forming(self, print_: PrintCandles, symbol: str, timeframe: Timeframe, now_ms: int) -> WireRow | None:
        """Return the candle that is forming now, as it goes over the wire; None where none is."""
        newest = self.market.last_rows(symbol, timeframe, now_ms + 1, 1, now_ms)
        if not newest or newest[0].open_time_ms + timeframe.ms <= now_ms:
            return None
        return tuple(orjson.loads(b"[%b]" % print_(to_columns(newest), timeframe)[0]))

    def trades(
        self, print_: PrintTrades, symbol: str, start_ns: int, end_ns: int, limit: int
    ) -> tuple[list[bytes], int | None]:
        """Return the first `limit` trades in `[start_ns, end_ns)`, and when the last of them was."""
        timeframe = finest(self.market, symbol)

        def next_ns(moment_ns: int) -> int | None:
            rows = self.market.rows(symbol, timeframe, moment_ns // MS, -(-end_ns // MS), 1)
            return rows[0].open_time_ms * MS if rows else None

        moments = range(start_ns, end_ns)
        return _walk(lambda day: self._trades(print_, symbol, day), next_ns, DAY_MS * MS, moments, limit)

    def last_trades(self, print_: PrintTrades, symbol: str, end_ns: int, limit: int) -> tuple[list[bytes], int | None]:
        """Return the last `limit` trades before `end_ns`, ascending, and when the last of them was."""
        timeframe = finest(self.market, symbol)
        pieces: list[bytes] = []
        last_ns, until_ms = None, -(-end_ns // MS)
        while len(pieces) < limit and (rows := self.market.last_rows(symbol, timeframe, until_ms, 1)):
            day = rows[-1].open_time_ms // DAY_MS
            kept = self._trades(print_, symbol, day)
            count = bisect_left(kept.moments, end_ns)
            if last_ns is None and count:
                last_ns = kept.moments[count - 1]
            pieces = kept.pieces[:count] + pieces
            until_ms = day * DAY_MS
        return pieces[-limit:], last_ns

    def tallies(self, symbol: str, timeframe: Timeframe, day: int) -> Mapping[int, Tally]:
        """Return what the trades of each candle of `day` come to, by its open time in milliseconds."""
        return self._tallies(symbol, timeframe, day)

    def tally_until(self, symbol: str, start_ms: int, now_ms: int) -> Tally:
        """Return what the trades from `start_ms` until now come to; `start_ms` lies on the grid."""
        trades = trades_between(self.market, symbol, start_ms, now_ms + 1)
        return tally(trade for trade in trades if trade.time_ns <= now_ms * MS)

    def _encode_candles(self, print_: PrintCandles, symbol: str, timeframe: Timeframe, number: int) -> _Block:
        days = _days_together(timeframe)
        columns = self.market.columns(symbol, timeframe, range(number * days, (number + 1) * days))
        return _Block(columns.open_time_ms.to_pylist(), print_(columns, timeframe))

    def _tally_day(self, symbol: str, timeframe: Timeframe, day: int) -> Mapping[int, Tally]:
        return tally_candles(self.market, symbol, timeframe, day * DAY_MS, (day + 1) * DAY_MS)

    def _encode_trades(self, print_: PrintTrades, symbol: str, day: int) -> _Block:
        trades = list(trades_between(self.market, symbol, day * DAY_MS, (day + 1) * DAY_MS))
        return _Block([trade.time_ns for trade in trades], print_(trades))


def _days_together(timeframe: Timeframe) -> int:
    """Return how many days are encoded together: several where a day has so few rows that each would cost more."""
    return 1 if timeframe.ms < Timeframe.H1.ms else 8


def _walk(
    load: Callable[[int], _Block], find_next: Callable[[int], int | None], length: int, moments: range, limit: int
) -> tuple[list[bytes], int | None]:
    """Return the first `limit` pieces within `moments`, and the last one's moment.

    Over empty blocks, each `length` long, it jumps to where `find_next` sees a row.
    """
    pieces: list[bytes] = []
    last_moment = None
    at, end = moments.start, moments.stop
    while len(pieces) < limit and at < end:
        number = at // length
        block = load(number)
        block_end = (number + 1) * length
        first = bisect_left(block.moments, at)
        last = bisect_left(block.moments, end) if end < block_end else len(block.moments)
        stop = min(last, first + limit - len(pieces))
        if first < stop:
            pieces += block.pieces[first:stop]
            last_moment = block.moments[stop - 1]
        at = block_end
        if first == len(block.moments):
            following = find_next(at) if at < end else None
            if following is None:
                break
            at = max(at, following)
    return pieces, last_moment
