"""Market of the replay exchange: the seam `Market`, and candles as they cross it.

A market knows candles and nothing of protocols, faults or limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import pyarrow as pa

from etl.timeframe import Timeframe


class Row(NamedTuple):
    """One candle as an exchange prints it: decimal strings, and None for what a recording lacks."""

    open_time_ms: int
    open: str | None
    high: str | None
    low: str | None
    close: str | None
    volume: str | None
    quote_volume: str | None
    trades: int | None
    taker_buy_volume: str | None
    taker_buy_quote_volume: str | None


class Columns(NamedTuple):
    """Candles by column: what `Row` has, as Arrow arrays of strings, times and trades of int64."""

    open_time_ms: pa.Array
    open: pa.Array
    high: pa.Array
    low: pa.Array
    close: pa.Array
    volume: pa.Array
    quote_volume: pa.Array
    trades: pa.Array
    taker_buy_volume: pa.Array
    taker_buy_quote_volume: pa.Array


class Steps(NamedTuple):
    """The smallest differences that a symbol's prices and amounts can have."""

    tick: str
    lot: str


class Lifetime(NamedTuple):
    """From when until when a symbol is listed, half-open, in milliseconds; None where it has no bound."""

    from_ms: int | None = None
    until_ms: int | None = None


class Market(Protocol):
    """Candles that a server can serve."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in ccxt's unified form."""

    def timeframes(self, symbol: str) -> frozenset[Timeframe]:
        """Return the timeframes that there are of `symbol`, one of `symbols`."""

    def steps(self, symbol: str) -> Steps:
        """Return the price and amount steps of `symbol`."""

    def lifetime(self, symbol: str) -> Lifetime:
        """Return when `symbol` is listed; there are no rows outside."""

    def rows(
        self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int, limit: int, now_ms: int | None = None
    ) -> Sequence[Row]:
        """Return the first `limit` rows with open_time in `[start_ms, end_ms)`, in served order.

        Args:
            symbol: One of `symbols`.
            timeframe: One of `timeframes(symbol)`.
            start_ms: Inclusive, need not lie on the grid.
            end_ms: Exclusive.
            limit: The most rows to return.
            now_ms: The exchange's clock, where a candle may still form; without it every candle is closed.
        """

    def last_rows(
        self, symbol: str, timeframe: Timeframe, end_ms: int, limit: int, now_ms: int | None = None
    ) -> Sequence[Row]:
        """Return the last `limit` rows with open_time before `end_ms`, in served order."""

    def columns(self, symbol: str, timeframe: Timeframe, days: range) -> Columns:
        """Return the rows with open_time in `days` (since the epoch), in served order, each as it closed."""
