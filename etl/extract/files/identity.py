"""Names in the rows of a file of whose candles they are, held against the series that the user has named.

Names are compared as loosely as people write them. What cannot be compared, such as the full name of a coin, refuses
nothing, and is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product

from etl.errors import ConfigError
from etl.exchanges import EXCHANGES
from etl.extract.files.intervals import widths_ms
from etl.extract.files.names import ALIASES, currencies, normalised
from etl.series import Series
from etl.timeframe import Timeframe

_QUOTES = frozenset(quote for traits in EXCHANGES.values() for quote in traits.quotes)
_CATEGORIES = frozenset({"SPOT", "CASH", "COIN"})
"""Words of a column such as `market` that are no coin's."""
_LONGEST_TICKER = 5  # of a currency alone; a longer word may be its full name
_EXCHANGES = {
    **{_plain: name for name, traits in EXCHANGES.items() for _plain in (name.upper(), traits.ccxt_id.upper())},
    **{"COINBASEPRO": "coinbase", "GDAX": "coinbase", "GATEIO": "gate", "OKEX": "okx"},
}


def check_same(kind: str, values: Iterable[str]) -> None:
    """Check that rows which say whose they are say the same.

    Args:
        kind: What they say; one of SAME_IN_ALL_ROWS.

    Raises:
        ConfigError: They do not.
    """
    spelt = {normalised(value).replace("_", ""): value for value in sorted(values, reverse=True)}
    if len(spelt) > 1:
        shown = " and ".join(repr(value[:40]) for value in sorted(spelt.values())[:2])
        raise ConfigError(f"it holds rows of {len(spelt)} {kind}: {shown}; cut it into a file for each")


def check_is_of(kind: str, name: str, column: str, series: Series) -> str | None:
    """Check that what all rows say can be said of a series.

    Args:
        kind: What they say; one of SAME_IN_ALL_ROWS.
        column: What the file calls it.

    Returns:
        A remark on a name that cannot be compared; None if it is the series'.

    Raises:
        ConfigError: It is another's.
    """
    if kind == "timeframes":
        if not (widths := widths_ms(name)):
            return f"rows say {name[:40]!r} (column {column!r}), which is not compared with {series.timeframe}"
        _check_timeframe(name, widths, series.timeframe)
        return None
    same = {"symbols": _is_symbol, "exchanges": _is_exchange, "bases": _is_base, "quotes": _is_quote}[kind](
        name, series
    )
    shown = f"{name[:40]!r} (column {column!r})"
    if same is False:
        raise ConfigError(f"its rows are of {shown}, and not of {series}; name the series that they are of")
    return None if same else f"rows say {shown}, which is not compared with {series}"


def _is_symbol(name: str, series: Series) -> bool | None:
    """Return whether a symbol is the series' one; None if it may be anything."""
    bases, quotes = (_spellings(currency) for currency in currencies(series))
    pairs = {
        f"{before}{base}{between}{quote}"
        for before, between in (("", ""), ("T", ""), ("X", "Z"), ("X", "X"))
        for base, quote in product(bases, quotes)
    }  # Bitfinex writes tBTCUSD, Kraken XXBTZUSD
    # TradingView writes the exchange before the symbol, stooq .V behind a coin.
    written = {name, name.rpartition(":")[2], re.sub(r"\.V$", "", name, flags=re.IGNORECASE)}
    if not {_plain(one) for one in written}.isdisjoint({*pairs, *bases}):
        return True
    plain = _plain(name)
    is_pair = any(plain.endswith(quote) and plain != quote for quote in {*_QUOTES, *quotes})
    return False if is_pair or any(map(_is_ticker, written)) else None


def _is_base(name: str, series: Series) -> bool | None:
    return _is_currency(name, currencies(series)[0])


def _is_quote(name: str, series: Series) -> bool | None:
    return _is_currency(name, currencies(series)[1])


def _is_currency(name: str, currency: str) -> bool | None:
    if _plain(name) in _spellings(currency):
        return True
    return False if _is_ticker(name) else None


def _is_exchange(name: str, series: Series) -> bool | None:
    """Return whether an exchange is the series' one; None if one of them is not known."""
    theirs = _EXCHANGES.get(_plain(name))
    if _plain(name) == _plain(series.exchange) or theirs == series.exchange:
        return True
    return None if theirs is None or series.exchange not in EXCHANGES else False


def _is_ticker(name: str) -> bool:
    """Return whether a name is a currency's for sure: a short word of capitals."""
    is_short = 1 < len(name) <= _LONGEST_TICKER and name.isalnum() and not name.isdigit()
    return is_short and name.upper() == name and name not in _CATEGORIES


def _spellings(currency: str) -> set[str]:
    plain = _plain(currency)
    return {plain, *(other for other, ours in ALIASES.items() if ours == plain)}


def _plain(name: str) -> str:
    return "".join(character for character in name.upper() if character.isalnum())


def _check_timeframe(name: str, widths: frozenset[int], timeframe: Timeframe) -> None:
    if timeframe.ms not in widths:
        raise ConfigError(f"its rows say that they are candles of {name!r}, not of {timeframe}; give their timeframe")
