"""Series that show the same asset on other exchanges, so that they can say whether they saw an incident too."""

from __future__ import annotations

from collections.abc import Iterable

from etl.series import Series

DOLLARS = frozenset({"USD", "USDT", "USDC", "BUSD", "FDUSD", "DAI"})
"""Quotes that are worth a dollar, but for a basis that changes slowly."""
_DOLLAR = "USD"


def siblings_of(series: Series, known: Iterable[Series]) -> list[Series]:
    """Return the series of the same asset at the same timeframe on other exchanges.

    The base is the same, and the quote but for which dollar it is; spot goes with spot, and a derivative with those of
    the same settlement and expiry. Two quotes on one exchange are no witnesses of each other: what befalls the exchange
    befalls both.

    Returns:
        Ascending by exchange; of one exchange the same quote first.
    """
    own = _asset(series)
    others = {
        one
        for one in known
        if one.exchange != series.exchange and one.timeframe is series.timeframe and _asset(one) == own
    }
    return sorted(others, key=lambda one: (one.exchange, one.symbol != series.symbol, one.symbol))


def _asset(series: Series) -> tuple[str, ...]:
    """Return base, quote and terms of settlement, any dollar as one."""
    pair, _, settlement = series.symbol.partition(":")
    base, _, quote = pair.partition("/")
    # Of a derivative: what it is settled in, and then expiry, strike and side, where it has them.
    money, *terms = settlement.split("-")
    return base, _plain(quote), _plain(money), *terms


def _plain(currency: str) -> str:
    return _DOLLAR if currency in DOLLARS else currency
