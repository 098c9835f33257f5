"""Which adapter speaks which protocol. A new one is a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType

from etl.extract import binance
from etl.extract.source import Source
from etl.settings import Settings


@dataclass(frozen=True, slots=True)
class Adapter:
    """How to speak one protocol.

    Attributes:
        open: Builds the source from the exchange's name and the settings; the source is then entered.
        columns: Which of our columns stands where in a received row.
    """

    open: Callable[[str, Settings], AbstractAsyncContextManager[Source]]
    columns: Mapping[str, int]


ADAPTERS: Mapping[str, Adapter] = MappingProxyType({"binance": Adapter(binance.BinanceSource, binance.COLUMNS)})


def adapter(settings: Settings, exchange: str) -> Adapter:
    """Return the adapter for `exchange`.

    Raises:
        ConfigError: None speaks its protocol.
    """
    return ADAPTERS[settings.protocol(exchange)]
