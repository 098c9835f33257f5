"""The table of differences: what each exchange does in its own way.

Adding an exchange is one entry here, and one adapter in `etl/extract/` if no present one speaks its protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from etl.timeframe import Timeframe


@dataclass(frozen=True, slots=True)
class Traits:
    """What holds for every series of an exchange.

    Attributes:
        timeframes: What the exchange serves, of those that Chandler knows.
        page_limit: The most candles that one request returns.
        page_weight: What one such request costs.
        weight_per_minute: What the exchange lets one address spend.
        columns: Which of our columns stands where in a received row; what is not named is not given.
        quotes: Common quote currencies, to guess at a symbol written without its slash.
    """

    timeframes: frozenset[Timeframe]
    page_limit: int
    page_weight: int
    weight_per_minute: int
    columns: Mapping[str, int]
    quotes: tuple[str, ...]


EXCHANGES: Mapping[str, Traits] = MappingProxyType(
    {
        # Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
        "binance": Traits(
            timeframes=frozenset(Timeframe),
            page_limit=1000,
            page_weight=2,
            weight_per_minute=6000,
            # 6 is the close time, which follows from the open time; 11 is unused.
            columns=MappingProxyType(
                {
                    "open_time": 0,
                    "open": 1,
                    "high": 2,
                    "low": 3,
                    "close": 4,
                    "volume": 5,
                    "quote_volume": 7,
                    "trades": 8,
                    "taker_buy_volume": 9,
                    "taker_buy_quote_volume": 10,
                }
            ),
            quotes=("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY"),
        ),
    }
)
