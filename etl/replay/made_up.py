"""A market that is made up.

It is a pure function of (seed, symbol, minute): whatever is asked, in whatever order, a minute has one candle, and
coarser candles are its exact aggregates.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from etl.errors import ConfigError
from etl.replay.columns import print_decimals, to_columns, to_rows
from etl.replay.market import Columns, Lifetime, Row, Steps
from etl.replay.synthesis import DAY_MS, Listing, Table, aggregate, cut, listing_of, make_day
from etl.series import check_symbol
from etl.timeframe import Timeframe

_MINUTE_MS = Timeframe.M1.ms
_FIRST_DAY = 16_436  # 2015-01-01, in days since the epoch
_FINE_DAYS_KEPT = 32  # about 1 MB each as rows
_COARSE_DAYS_KEPT = 2_048  # at most 24 rows each
_TABLES_KEPT = 128  # 115 kB each
_DECIMAL_COLUMNS = (1, 2, 3, 4, 5, 6, 8, 9)
_TRADES = 7

Column = npt.NDArray[np.int64]

DEFAULT_SYMBOLS = (
    "BTC/USDT",
    "ETH/USDT",
    "BNB/USDT",
    "SOL/USDT",
    "XRP/USDT",
    "ADA/USDT",
    "DOGE/USDT",
    "LTC/USDT",
)


class MadeUpMarket:
    """A market out of nothing, the same for everyone who names the same seed.

    Prices wander with volatility clusters and fat tails, symbols move together, trading follows the hours of the day.
    About once a week the whole exchange is silent for 3 to 120 minutes, and very rarely one symbol alone is.

    Args:
        seed: Names the market.
        symbols: ccxt's unified symbols; any of that form will do.
        listed: From when until when a symbol is listed, in milliseconds; who is not named here is listed since
            2015-01-01 and for ever.

    Raises:
        ConfigError: A symbol is not of that form, or there is none, or one is listed that is not among them.
    """

    def __init__(
        self,
        seed: int = 7,
        symbols: Sequence[str] = DEFAULT_SYMBOLS,
        listed: Mapping[str, tuple[int | None, int | None]] = MappingProxyType({}),
    ) -> None:
        if not symbols:
            raise ConfigError("a made-up market needs a symbol; name one such as BTC/USDT")
        if strange := [symbol for symbol in listed if symbol not in symbols]:
            raise ConfigError(f"{strange[0]!r} is listed but not among the market's symbols; add it to them")
        self.seed = seed
        self._lifetimes = {symbol: Lifetime(*bounds) for symbol, bounds in listed.items()}
        self._listings: dict[str, Listing] = {check_symbol(s): listing_of(seed, s) for s in dict.fromkeys(symbols)}
        self._table = lru_cache(maxsize=_TABLES_KEPT)(self._make_table)
        self._fine = lru_cache(maxsize=_FINE_DAYS_KEPT)(self._make_rows)
        self._coarse = lru_cache(maxsize=_COARSE_DAYS_KEPT)(self._make_rows)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order given."""
        return tuple(self._listings)

    def timeframes(self, symbol: str) -> frozenset[Timeframe]:
        """Return every timeframe: the coarser ones are made from the minutes."""
        return frozenset(Timeframe)

    def steps(self, symbol: str) -> Steps:
        """Return the price and amount steps of `symbol`."""
        listing = self._listings[symbol]
        return Steps(*(f"{10**-places:.8f}" for places in (listing.price_places, listing.amount_places)))

    def lifetime(self, symbol: str) -> Lifetime:
        """Return when `symbol` is listed."""
        return self._lifetimes.get(symbol, Lifetime())

    def rows(
        self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int, limit: int, now_ms: int | None = None
    ) -> Sequence[Row]:
        """Return the first `limit` rows with open_time in `[start_ms, end_ms)`; see `Market.rows`."""
        start_ms, end_ms = self._within(symbol, start_ms, end_ms, now_ms)
        days = range(start_ms // DAY_MS, -(-end_ms // DAY_MS))
        return list(islice(self._between(symbol, timeframe, days, start_ms, end_ms, now_ms), limit))

    def last_rows(
        self, symbol: str, timeframe: Timeframe, end_ms: int, limit: int, now_ms: int | None = None
    ) -> Sequence[Row]:
        """Return the last `limit` rows with open_time before `end_ms`; see `Market.last_rows`."""
        start_ms, end_ms = self._within(symbol, 0, end_ms, now_ms)
        pages: list[list[Row]] = []
        count = 0
        for day in range(-(-end_ms // DAY_MS) - 1, start_ms // DAY_MS - 1, -1):
            if count >= limit:
                break
            pages.append(list(self._between(symbol, timeframe, (day,), start_ms, end_ms, now_ms)))
            count += len(pages[-1])
        return [row for page in reversed(pages) for row in page][max(0, count - limit) :]

    def columns(self, symbol: str, timeframe: Timeframe, days: range) -> Columns:
        """Return the rows of `days`; see `Market.columns`."""
        minutes = timeframe.ms // _MINUTE_MS
        there = range(max(days.start, _FIRST_DAY), days.stop)
        if not there:
            return to_columns(())
        tables = [aggregate(self._table(symbol, day), minutes) for day in there]
        midnights = np.repeat([day * DAY_MS for day in there], [len(table) for table in tables])
        return self._format(symbol, np.concatenate(tables), midnights)

    def _within(self, symbol: str, start_ms: int, end_ms: int, now_ms: int | None) -> tuple[int, int]:
        """Return the bounds, drawn in to where there can be rows: since 2015, on days it is listed, until now."""
        from_ms, until_ms = self.lifetime(symbol)
        first_ms = max(_FIRST_DAY * DAY_MS, (from_ms or 0) // DAY_MS * DAY_MS)
        ends = (until_ms, None if now_ms is None else now_ms + 1)
        return max(start_ms, first_ms), min([end_ms, *(end for end in ends if end is not None)])

    def _between(
        self,
        symbol: str,
        timeframe: Timeframe,
        days: Iterable[int],
        start_ms: int,
        end_ms: int,
        now_ms: int | None,
    ) -> Iterator[Row]:
        for day in days:
            rows = self._rows_of_day(symbol, timeframe, day, now_ms)
            first = bisect_left(rows, start_ms, key=_open_time) if day * DAY_MS < start_ms else 0
            last = bisect_left(rows, end_ms, key=_open_time) if end_ms < (day + 1) * DAY_MS else len(rows)
            yield from islice(rows, first, last)

    def _rows_of_day(self, symbol: str, timeframe: Timeframe, day: int, now_ms: int | None) -> Sequence[Row]:
        kept = self._coarse if timeframe.ms >= Timeframe.H1.ms else self._fine
        rows = kept(symbol, timeframe, day)
        if now_ms is None or now_ms >= (day + 1) * DAY_MS:
            return rows
        forming_ms = now_ms // timeframe.ms * timeframe.ms
        closed = rows[: bisect_left(rows, forming_ms, key=_open_time)]
        so_far = cut(self._table(symbol, day), now_ms - day * DAY_MS)
        minutes = so_far[so_far[:, 0] >= (forming_ms - day * DAY_MS) // _MINUTE_MS]
        return (*closed, *to_rows(self._format(symbol, aggregate(minutes, timeframe.ms // _MINUTE_MS), day * DAY_MS)))

    def _make_table(self, symbol: str, day: int) -> Table:
        table = make_day(self.seed, self._listings[symbol], day)
        from_ms, until_ms = self.lifetime(symbol)
        open_times = table[:, 0] * _MINUTE_MS + np.int64(day * DAY_MS)
        is_listed = np.ones(len(table), dtype=np.bool_)
        if from_ms is not None:
            is_listed &= open_times >= from_ms
        if until_ms is not None:
            is_listed &= open_times < until_ms
        return table[is_listed]

    def _make_rows(self, symbol: str, timeframe: Timeframe, day: int) -> tuple[Row, ...]:
        return to_rows(self.columns(symbol, timeframe, range(day, day + 1)))

    def _format(self, symbol: str, table: Table, midnight_ms: int | Column) -> Columns:
        listing = self._listings[symbol]
        price, amount = 10 ** (8 - listing.price_places), 10 ** (8 - listing.amount_places)
        scales = np.array((price, price, price, price, amount, 1, amount, 1), dtype=np.int64)
        texts = print_decimals((table[:, _DECIMAL_COLUMNS] * scales).T.ravel())
        texts_of = [texts.slice(number * len(table), len(table)) for number in range(len(scales))]
        times = table[:, 0] * _MINUTE_MS + midnight_ms
        columns = (pa.array(times), *texts_of[:6], pa.array(table[:, _TRADES]), *texts_of[6:])
        return Columns._make(columns)


def _open_time(row: Row) -> int:
    return row[0]
