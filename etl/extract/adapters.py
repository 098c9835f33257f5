"""Which adapter speaks which protocol. A new one is a function and a line here.

ccxt takes seconds to import, so it is imported when an exchange is to be spoken to, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType

from etl.extract.source import Source
from etl.settings import Settings

OpenSource = Callable[[str, Settings], AbstractAsyncContextManager[Source]]


def _binance(exchange: str, settings: Settings) -> AbstractAsyncContextManager[Source]:
    from etl.extract.binance import BinanceSource

    return BinanceSource(exchange, settings)


ADAPTERS: Mapping[str, OpenSource] = MappingProxyType({"binance": _binance})


def open_source(exchange: str, settings: Settings) -> AbstractAsyncContextManager[Source]:
    """Return the source that speaks to `exchange`, to be entered.

    Raises:
        ConfigError: No adapter speaks its protocol.
    """
    return ADAPTERS[settings.protocol(exchange)](exchange, settings)
