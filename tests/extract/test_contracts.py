"""Contracts of Chandler's table: each entry is held to the exchange's protocol.

Real ccxt over real HTTP, against the replay exchange or `other_venues`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from etl.errors import RateLimitError, UnknownSymbolError
from etl.exchanges import EXCHANGES
from etl.extract import Page, RawStore, Route, Source, fetch_range, open_source, to_candles
from etl.feeds import ExchangeSettings
from etl.replay import FaultPlan, MadeUpMarket, ReplayServer
from etl.schema import Origin
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.timeframe import Timeframe, to_ms
from etl.validate import ReceivedRows, clean
from tests.extract.other_venues import TOO_MUCH, OtherVenues
from tests.extract.venue_candles import SYMBOLS, candles

MINUTE_MS = 60_000
# Some hours after the made-up market was silent for long, and in the middle of a minute that has trades.
NOW_MS = to_ms(datetime(2024, 5, 17, 6, 0, 30, tzinfo=UTC))
Values = tuple[float, ...]
Server = ReplayServer | OtherVenues


class NoBudget:
    """Leave to spend whatever is asked for: how it is shared is tested where it is made."""

    async def spend(self, weight: int) -> None:
        """Wait for nothing."""

    def settle(self, weight: int, used_weight: int | None) -> None:
        """Count nothing."""

    async def pause(self, seconds: float) -> None:
        """Hold nobody back."""

    def use(self) -> tuple[int, int]:
        """Return that nothing is known."""
        return 0, 0


@dataclass(frozen=True, slots=True)
class Contract:
    """The other side of an entry of the table.

    Attributes:
        server: Makes who speaks the exchange's protocol.
        held: Returns what the exchange holds in a range that has closed: open_time_ms to the values.
        count: How many candles to fetch: some pages, and not quite.
    """

    server: Callable[..., AbstractContextManager[Server]]
    held: Callable[[Server, TimeRange], Mapping[int, Values]]
    count: int


def clock_from(moment_ms: int) -> Callable[[], int]:
    """Return a clock that says `moment_ms` now, and goes on."""
    begun_ms = time.monotonic_ns() // 1_000_000 - moment_ms
    return lambda: time.monotonic_ns() // 1_000_000 - begun_ms


def replay(now_ms: int = NOW_MS, **options: Any) -> ReplayServer:
    """Return the replay exchange with a made-up market, at that time."""
    return ReplayServer(MadeUpMarket(7, SYMBOLS), limits=False, clock=clock_from(now_ms), **options)


def _replayed(server: Server, span: TimeRange) -> Mapping[int, Values]:
    assert isinstance(server, ReplayServer)
    rows = server.market.rows("BTC/USDT", Timeframe.M1, span.start_ms, span.end_ms, 10**6)
    return {row.open_time_ms: tuple(map(float, row[1:6])) for row in rows}  # type: ignore[arg-type]


def _replayed_by_kraken(server: Server, span: TimeRange) -> Mapping[int, Values]:
    """As it is, and every minute without trades flat at the close before it."""
    early = TimeRange.from_ms(span.start_ms - 86_400_000, span.end_ms)
    held, printed = _replayed(server, early), dict[int, Values]()
    close = 0.0
    for at_ms in range(early.start_ms, early.end_ms, MINUTE_MS):
        values = held.get(at_ms, (close, close, close, close, 0.0))
        close = values[3]
        printed[at_ms] = values
    flat = {at_ms: values for at_ms, values in printed.items() if at_ms >= span.start_ms}
    assert any(volume == 0 for *_, volume in flat.values()), "choose a time after the market was silent"
    return flat


def _held(*, prints_empty: bool) -> Callable[[Server, TimeRange], Mapping[int, Values]]:
    def rows(server: Server, span: TimeRange) -> Mapping[int, Values]:
        made = candles(MINUTE_MS, span.start_ms, span.end_ms - 1, span.end_ms + MINUTE_MS, prints_empty=prints_empty)
        return {row.open_ms: tuple(map(float, row[1:])) for row in made}

    return rows


CONTRACTS: Mapping[str, Contract] = {
    "binance": Contract(replay, _replayed, 2_137),
    "binanceus": Contract(replay, _replayed, 2_137),
    "coinbase": Contract(replay, _replayed, 737),
    "kraken": Contract(replay, _replayed_by_kraken, 937),  # beyond its reach, and so partly from trades
    "bybit": Contract(OtherVenues, _held(prints_empty=False), 2_137),
    "okx": Contract(OtherVenues, _held(prints_empty=True), 1_737),  # on both sides of the last 1,440
    "bitstamp": Contract(OtherVenues, _held(prints_empty=True), 2_137),
    "bitfinex": Contract(OtherVenues, _held(prints_empty=False), 20_137),
    "gate": Contract(OtherVenues, _held(prints_empty=False), 2_137),
    "kucoin": Contract(OtherVenues, _held(prints_empty=False), 3_137),
}

every_exchange = pytest.mark.parametrize("name", sorted(EXCHANGES))


def settings_for(name: str, url: str) -> Settings:
    """Return settings with which exchange `name` is found at `url`."""
    return Settings(exchanges={name: ExchangeSettings.model_validate({"base_url": url})})


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    """Run a server that speaks the protocol of exchange `name`."""
    with CONTRACTS[name].server() as running:
        yield running


def _opened(name: str, server: Server) -> AbstractContextManager[Source]:
    return open_source(name, settings_for(name, server.url), NoBudget())


def _cleaned(pages: list[Page], series: Series, span: TimeRange) -> pa.Table:
    """Judge pages as an ingest does."""
    layout = EXCHANGES[series.exchange].layout
    received = [ReceivedRows(p.rows(), p.fetched_at_ms, layout) for p in pages if p.route is not Route.TRADES]
    if trades := [page for page in pages if page.route is Route.TRADES]:
        built = to_candles(trades, series.timeframe, span)
        received.append(ReceivedRows(built, min(page.fetched_at_ms for page in trades), layout, Origin.TRADES))
    return clean(received, series, span).candles


def _open_times(candles: pa.Table) -> list[int]:
    times: list[int] = candles.column("open_time").cast(pa.int64()).to_pylist()
    unit = {"ms": 1, "us": 1_000, "ns": 1_000_000}[candles.schema.field("open_time").type.unit]
    return [at // unit for at in times]


@every_exchange
def test_a_range_of_several_pages_comes_back_whole_and_no_more(name: str, server: Server, tmp_path: Path) -> None:
    """Every candle that the exchange holds of the range, value for value, and none that it does not."""
    contract = CONTRACTS[name]
    series = Series(name, "BTC/USDT", Timeframe.M1)

    async def fetch() -> tuple[TimeRange, list[Page]]:
        async with _opened(name, server) as source:
            end_ms = (await source.clock_ms() // MINUTE_MS - 3) * MINUTE_MS
            span = TimeRange.from_ms(end_ms - contract.count * MINUTE_MS, end_ms)
            raw = RawStore(tmp_path).partition(series, span)
            await fetch_range(source, raw, places=asyncio.Semaphore(4))
            return span, list(raw.read_pages(raw.read_list()))

    span, pages = asyncio.run(fetch())
    assert len(pages) > 1
    got = _cleaned(pages, series, span)
    columns = [got.column(column).to_pylist() for column in ("open", "high", "low", "close", "volume")]
    assert dict(zip(_open_times(got), zip(*columns, strict=True), strict=True)) == contract.held(server, span)


@every_exchange
def test_a_candle_that_forms_is_never_kept(name: str, server: Server) -> None:
    """An answer up to now has the candle that forms, if the table says so; by its clock it is told and refused."""
    series = Series(name, "BTC/USDT", Timeframe.M1)

    async def fetch() -> Page:
        async with _opened(name, server) as source:
            now_ms = await source.clock_ms() // MINUTE_MS * MINUTE_MS
            window = TimeRange.from_ms(now_ms - 10 * MINUTE_MS, now_ms + 2 * MINUTE_MS)
            return await source.fetch_page(series, window, Route.CANDLES)

    page = asyncio.run(fetch())
    traits = EXCHANGES[name]
    times = [at_ms for row in page.rows() if (at_ms := traits.layout.open_time_ms(row)) is not None]
    assert (max(times) + MINUTE_MS > page.fetched_at_ms) == traits.serves_forming
    kept = _open_times(_cleaned([page], series, page.window))
    assert kept
    assert max(kept) + MINUTE_MS <= page.fetched_at_ms


@every_exchange
def test_a_symbol_that_is_not_listed_is_called_so(name: str, server: Server) -> None:
    """An unknown symbol is an error that names it, not an empty answer."""

    async def fetch() -> None:
        async with _opened(name, server) as source:
            window = TimeRange.from_ms(1_700_000_040_000, 1_700_000_100_000)
            await source.fetch_page(Series(name, "NONE/USDT", Timeframe.M1), window)

    with pytest.raises(UnknownSymbolError, match="NONE/USDT"):
        asyncio.run(fetch())


@every_exchange
def test_to_be_asked_for_less_is_understood(name: str) -> None:
    """However an exchange says that it is asked for too much, it is the error that keeps everyone away."""
    faults = {} if name in TOO_MUCH else {"faults": FaultPlan.parse(["http_429:1"])}

    async def fetch(server: Server) -> None:
        async with _opened(name, server) as source:
            now_ms = await source.clock_ms() // MINUTE_MS * MINUTE_MS
            await source.symbols()
            if isinstance(server, OtherVenues):
                server.refusal = TOO_MUCH[name]
            window = TimeRange.from_ms(now_ms - 10 * MINUTE_MS, now_ms)
            await source.fetch_page(Series(name, "BTC/USDT", Timeframe.M1), window)

    with CONTRACTS[name].server(**faults) as server, pytest.raises(RateLimitError):
        asyncio.run(fetch(server))


def test_every_exchange_of_the_table_has_a_contract() -> None:
    """An entry without one is a guess."""
    assert set(CONTRACTS) == set(EXCHANGES)
