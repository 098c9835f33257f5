"""The names that columns have in files, and the layouts of files that name none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from etl.series import Series

REQUIRED = ("open_time", "open", "high", "low", "close", "volume")
PRICES = ("open", "high", "low", "close")
VOLUMES = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")

# By preference. BASE and QUOTE stand for the symbol's currencies; an index that pandas wrote may have no name.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "open_time": (
        *("open_time", "open_time_ms", "opentime", "unix", "unix_timestamp", "unix_time", "timestamp", "time", "ts"),
        *("open_time_utc", "timestamp_utc", "start_time", "start", "gmt_time", "time_utc", "date_utc", "utc", "t"),
        *("datetime", "date", "day", "index_level_0", ""),
    ),
    "open": ("open", "open_price", "o"),
    "high": ("high", "high_price", "h"),
    "low": ("low", "low_price", "l"),
    "close": ("close", "close_price", "c"),
    "volume": ("volume_BASE", "volume", "vol", "base_volume", "v"),
    "quote_volume": ("volume_QUOTE", "quote_volume", "quote_asset_volume", "volume_currency", "turnover"),
    "trades": ("trades", "tradecount", "trade_count", "number_of_trades", "num_trades", "count"),
    "taker_buy_volume": ("taker_buy_volume", "taker_buy_base_volume", "taker_buy_base_asset_volume"),
    "taker_buy_quote_volume": ("taker_buy_quote_volume", "taker_buy_quote_asset_volume"),
}
DATES, CLOCKS = ("date", "day", "dt"), ("time", "clock", "time_of_day", "hour")
"""A date and the time of day may be columns of their own."""

SYMBOLS: tuple[str, ...] = ("symbol", "ticker", "tic", "pair", "instrument", "market", "coin", "asset")
TIMEFRAMES: tuple[str, ...] = ("interval", "timeframe", "per", "period", "resolution", "granularity")
EXCHANGES: tuple[str, ...] = ("exchange", "venue", "exch")
BASES: tuple[str, ...] = ("base", "base_asset", "base_currency")
QUOTES: tuple[str, ...] = ("quote", "quote_asset", "quote_currency")
SAME_IN_ALL_ROWS: Mapping[str, tuple[str, ...]] = {
    "symbols": SYMBOLS,
    "timeframes": TIMEFRAMES,
    "exchanges": EXCHANGES,
    "bases": BASES,
    "quotes": QUOTES,
}
"""Columns that say whose candles a row holds: all rows of a file are of one series."""

ALIASES: Mapping[str, str] = {"XBT": "BTC", "XDG": "DOGE"}
"""Currencies that Kraken's files call otherwise. Source: https://support.kraken.com/articles/360001206766"""

WITHOUT_HEADER: tuple[tuple[str, str], ...] = (
    # Source: https://docs.ccxt.com/#/README?id=ohlcv-structure
    ("ccxt's fetch_ohlcv", "time,open,high,low,close,volume"),
    # Source: https://support.kraken.com/articles/360047124832 (OHLCVT)
    ("Kraken's OHLCVT", "time,open,high,low,close,volume,trades"),
    # Source: https://www.metatrader4.com/en/trading-platform/help/service/history_center
    ("MetaTrader", "date,time,open,high,low,close,volume"),
    # Source: https://github.com/binance/binance-public-data
    (
        "Binance's archives",
        "open_time,open,high,low,close,volume,close_time,quote_volume,trades,taker_buy_volume,taker_buy_quote_volume,ignore",
    ),
)
"""By how many values a row has, and whether they can be these."""

_KNOWN = frozenset(name for names in (*_NAMES.values(), *SAME_IN_ALL_ROWS.values(), DATES, CLOCKS) for name in names)


def normalised(name: str) -> str:
    """Return a column's name in lower case, with an underscore for whatever is neither letter nor digit."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def is_known(name: str) -> bool:
    """Return whether a column of that name may mean something here, for some symbol."""
    return normalised(name) in _KNOWN or normalised(name).startswith("volume")


def find_places(cells: Sequence[str], series: Series) -> tuple[dict[str, int], dict[str, int]]:
    """Find our columns among the names of a file's.

    Returns:
        The places of our columns, and those of the columns in SAME_IN_ALL_ROWS.
    """
    found: dict[str, int] = {}
    for place, cell in enumerate(cells):
        found.setdefault(normalised(cell), place)
    base, quote = (normalised(currency) for currency in currencies(series))
    places = {}
    for column, names in _NAMES.items():
        spelt = (name.replace("BASE", base).replace("QUOTE", quote) for name in names)
        if (name := next((name for name in spelt if name in found), None)) is not None:
            places[column] = found[name]
    same = {
        kind: found[name]
        for kind, names in SAME_IN_ALL_ROWS.items()
        if (name := next((name for name in names if name in found), None)) is not None
    }
    return places, same


def find_date_and_clock(cells: Sequence[str]) -> tuple[int, int] | None:
    """Return the places of a date and of a time of day, if there is a column of each."""
    names = [normalised(cell) for cell in cells]
    date = next((names.index(name) for name in DATES if name in names), None)
    clock = next((names.index(name) for name in CLOCKS if name in names), None)
    return None if date is None or clock is None else (date, clock)


def currencies(series: Series) -> tuple[str, str]:
    """Return the base and the quote currency of a series."""
    base, _, quote = series.symbol.partition(":")[0].partition("/")
    return base, quote
