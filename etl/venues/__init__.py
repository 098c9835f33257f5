"""The table of differences held against what an exchange does, by asking it.

A handful of requests within the budget. What is looked at are the rows of answers before anything is cleaned; through
ccxt's unified candles that is what ccxt makes of them. `findings` are the lines of a check, `asking` asks, and `probes`
are what is looked at: a new one is a function there and a line in PROBES.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from etl.errors import SourceError, UnknownSymbolError
from etl.exchanges import EXCHANGES, Traits
from etl.extract import Source
from etl.feeds import ANY_PROTOCOL
from etl.fetching import open_exchange
from etl.series import Series
from etl.settings import Settings
from etl.spelling import nearest
from etl.venues.asking import Venue, has_clock, our_ms
from etl.venues.findings import Finding, Verdict, agrees, judged, unseen
from etl.venues.probes import CLOSE_MS, PROBES

__all__ = ["Finding", "Verdict", "check_exchange", "known_exchanges"]

_BASES = ("BTC", "ETH", "XBT")


def known_exchanges(settings: Settings) -> dict[str, Traits]:
    """Return those of the table, and then those that are configured under other names; none with a mistake."""
    configured = {*settings.exchanges, *(feed.exchange for feed in settings.feeds.values())}
    names = [*EXCHANGES, *sorted(configured - set(EXCHANGES))]
    return {name: settings.traits(name) for name in names if settings.is_usable(name)}


def check_exchange(
    settings: Settings, name: str, symbol: str | None = None, on_step: Callable[[str], None] = lambda step: None
) -> list[Finding]:
    """Ask the exchange, and say line by line whether it does what the table says.

    Args:
        symbol: Whose candles to ask for; without one, BTC or ETH in one of the table's quote currencies.
        on_step: Told what is looked at next.

    Raises:
        ConfigError: Nobody speaks to it.
        SourceError: It cannot be reached, or does not list the symbol.
    """
    return asyncio.run(_check(settings, name, symbol, on_step))


async def _check(settings: Settings, name: str, symbol: str | None, on_step: Callable[[str], None]) -> list[Finding]:
    async with open_exchange(name, settings, None) as opened:
        source, traits = opened.source, opened.source.traits
        on_step("symbols")
        started = time.monotonic()
        listed = await source.symbols()
        reached = agrees("reachable", "yes", f"lists {len(listed):,} symbols, in {time.monotonic() - started:.1f} s")
        if symbol is not None and symbol not in listed:
            raise UnknownSymbolError(f"{name} lists no {symbol}{nearest(symbol, listed)}")
        chosen = symbol or await _liquid_symbol(source, name, set(listed))
        venue = Venue(
            source,
            Series(name, chosen, min(traits.timeframes, key=lambda timeframe: timeframe.ms)),
            is_known=settings.exchange(name).protocol != ANY_PROTOCOL,
            has_clock=has_clock(traits),
        )
        on_step("clock")
        findings = [reached, agrees("symbol", " ".join(traits.quotes), chosen), await _clock(venue)]
        for what, probe in PROBES.items():
            on_step(what)
            try:
                findings += await probe(venue)
            except SourceError as error:
                findings.append(unseen(what, "", error.message))
        return findings


async def _liquid_symbol(source: Source, name: str, listed: set[str]) -> str:
    quotes = source.traits.quotes
    for symbol in (f"{base}/{quote}" for base in _BASES for quote in quotes):
        if symbol in listed and await source.is_trading(symbol):
            return symbol
    raise UnknownSymbolError(f"{name} trades neither BTC nor ETH in {', '.join(quotes)}; name a --symbol")


async def _clock(venue: Venue) -> Finding:
    table = "within 5 s of ours"
    before_ms = our_ms()
    offset_ms = await venue.source.clock_ms() - before_ms
    if not venue.has_clock:
        return unseen("clock", table, "it tells no time; ours stands in, a minute slow")
    seen = f"{abs(offset_ms) / 1000:.1f} s {'ahead of' if offset_ms > 0 else 'behind'} ours"
    return judged("clock", table, seen, is_so=abs(offset_ms) <= CLOSE_MS)
