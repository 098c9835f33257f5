"""Names that Kraken uses: assets by old codes with X or Z before them, pairs by up to three names.

Source: https://support.kraken.com/hc/en-us/articles/360001206766-Bitcoin-currency-code-XBT-vs-BTC
Source: https://docs.kraken.com/api-reference/market-data/get-tradable-asset-pairs
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from etl.replay.market import Steps

_CODES = {"BTC": "XBT", "DOGE": "XDG"}
_OLD = {"XBT", "XDG", "ETH", "LTC", "XRP", "XLM", "ETC", "REP", "XMR", "ZEC", "MLN"}
_MONEY = {"USD", "EUR", "GBP", "JPY", "CAD", "AUD"}
_IN_OLD_PAIRS = (_OLD - {"XDG"}, {"XBT", "ETH", "USD", "EUR", "GBP", "JPY", "CAD"})


class PairNames(NamedTuple):
    """The names of a symbol: `BTC/USD` is `XXBTZUSD`, `XBTUSD` and `XBT/USD`, of `XXBT` and `ZUSD`."""

    symbol: str
    name: str
    altname: str
    wsname: str
    base: str
    quote: str


def names_of(symbol: str) -> PairNames:
    """Return Kraken's names of ccxt's symbol."""
    base, _, quote = symbol.partition(":")[0].partition("/")
    short_base, short_quote = _CODES.get(base, base), _CODES.get(quote, quote)
    altname = short_base + short_quote
    is_old = short_base in _IN_OLD_PAIRS[0] and short_quote in _IN_OLD_PAIRS[1]
    return PairNames(
        symbol=symbol,
        name=_to_asset(short_base) + _to_asset(short_quote) if is_old else altname,
        altname=altname,
        wsname=f"{short_base}/{short_quote}",
        base=_to_asset(short_base),
        quote=_to_asset(short_quote),
    )


def find_pair(symbols: Iterable[str], name: str) -> PairNames | None:
    """Return the pair that goes by `name`, any of its three."""
    for pair in map(names_of, symbols):
        if name in {pair.name, pair.altname, pair.wsname}:
            return pair
    return None


def print_pair(pair: PairNames, steps: Steps) -> dict[str, Any]:
    """Return what AssetPairs says of a pair."""
    return {
        "altname": pair.altname,
        "wsname": pair.wsname,
        "aclass_base": "currency",
        "base": pair.base,
        "aclass_quote": "currency",
        "quote": pair.quote,
        "lot": "unit",
        "cost_decimals": 8,
        "pair_decimals": _places(steps.tick),
        "lot_decimals": 8,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": "0.0001",
        "costmin": "0.5",
        "tick_size": steps.tick,
        "status": "online",
    }


def print_assets(pairs: Iterable[PairNames]) -> dict[str, dict[str, Any]]:
    """Return what Assets says of all that `pairs` are of."""
    altnames: dict[str, str] = {}
    for pair in pairs:
        short_base, short_quote = pair.wsname.split("/")
        altnames |= {pair.base: short_base, pair.quote: short_quote}
    return {
        name: {
            "aclass": "currency",
            "altname": altname,
            "decimals": 4 if altname in _MONEY else 10,
            "display_decimals": 2 if altname in _MONEY else 5,
            "status": "enabled",
        }
        for name, altname in altnames.items()
    }


def _to_asset(code: str) -> str:
    if code in _OLD:
        return f"X{code}"
    return f"Z{code}" if code in _MONEY else code


def _places(step: str) -> int:
    return len(step.rstrip("0").partition(".")[2])
