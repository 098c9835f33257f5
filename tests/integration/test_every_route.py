"""Every fault on every route of every protocol, over real HTTP and through real ccxt: hundreds of them, side by side.

None ends in a traceback, none makes an absence of a kind for which there is no evidence, and once the exchange is back
everything heals: what is absent by `repair` alone, and what came as other values by the correction window's refetch.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa
import pytest
import tenacity
from yarl import URL

from etl.audit import audit, is_sound
from etl.errors import ChandlerError
from etl.fetching import open_exchange
from etl.ingest import clean_pages, fetch_partition, load
from etl.repair import repair
from etl.replay import FaultPlan, MadeUpMarket, ReplayServer
from etl.replay.mishaps import OF_ANSWERS, OF_CHECKSUMS, OF_FILES, OF_LISTS
from etl.replay.row_mishaps import OF_CANDLES, OF_ROWS
from etl.schema import AbsenceKind
from etl.series import Series, TimeRange
from etl.settings import ExchangeSettings, Settings
from etl.stores import Partition, Stores, open_stores
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import known_series, read_absences, read_candles
from tests.databases import fresh_database

NOW = datetime(2026, 9, 10, 12, 0, 5, tzinfo=UTC)
DAY = timedelta(days=1)
RECENT = TimeRange(NOW.replace(second=0) - timedelta(minutes=30), NOW.replace(second=0))
EARLIER = TimeRange(RECENT.start - timedelta(minutes=5), RECENT.start)
OLD = TimeRange(RECENT.start - timedelta(hours=20), RECENT.start - timedelta(hours=19.5))  # Kraken has trades alone
TWO_DAYS = TimeRange(datetime(2026, 9, 7, tzinfo=UTC), datetime(2026, 9, 9, tzinfo=UTC))  # which lie as files

LIST, CANDLES, TRADES = tuple(OF_LISTS), (*OF_ROWS, *OF_CANDLES), tuple(OF_ROWS)
FILE = (*OF_FILES, *OF_CHECKSUMS)
HELD = {"timeout"}
FINAL = {"http_451"}  # which no asking again helps; the range is unfetched all the same
PLACES = 12  # faults that are met side by side
TOLD = {AbsenceKind.PENDING, AbsenceKind.UNFETCHED, AbsenceKind.REFUSED}
"""What may be said of a candle that has not come before anybody has asked twice."""


@dataclass(frozen=True, slots=True)
class Way:
    """A route that a fetch goes.

    Attributes:
        exchange: Whose protocol it is of.
        faults: What can befall it besides what can befall any.
        span: What is fetched over it.
        is_listed: Whether it is the list of symbols: a candle was held before.
    """

    exchange: str
    route: str
    faults: tuple[str, ...] = ()
    span: TimeRange = RECENT
    is_listed: bool = False


WAYS = (
    Way("binance", "time"),
    Way("binance", "exchangeInfo", LIST, is_listed=True),
    Way("binance", "klines", CANDLES),
    Way("binance", "bulk", FILE, TWO_DAYS),
    Way("coinbase", "time"),
    Way("coinbase", "products", LIST, is_listed=True),
    Way("coinbase", "candles", CANDLES),
    Way("kraken", "Time"),
    Way("kraken", "AssetPairs", LIST, is_listed=True),
    Way("kraken", "OHLC", CANDLES),
    Way("kraken", "Trades", TRADES, OLD),
    # Through ccxt's unified calls, as most exchanges.
    Way("binanceus", "time"),
    Way("binanceus", "exchangeInfo", LIST, is_listed=True),
    Way("binanceus", "klines", CANDLES),
)
SILENT = {("changed", way.route) for way in WAYS} | {(name, "Trades") for name in TRADES}
"""What comes in sound rows, and can be told from another answer alone."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault on a way, met by a series of its own."""

    way: Way
    fault: str
    number: int

    @property
    def series(self) -> Series:
        """The series whose candles are fetched."""
        return Series(self.way.exchange, f"Q{self.number}/USD", Timeframe.M1)

    @property
    def partition(self) -> Partition:
        """The partition that is fetched."""
        return Partition(self.series, self.way.span)

    def __str__(self) -> str:
        return f"{self.fault} on {self.way.exchange}'s {self.way.route}"


def market_of(cases: Sequence[Case]) -> MadeUpMarket:
    """Return a market of the cases' symbols, which is young: to look for its first candle takes no years."""
    symbols = [case.series.symbol for case in cases]
    return MadeUpMarket(symbols=symbols, listed=dict.fromkeys(symbols, (to_ms(NOW - 7 * DAY), None)))


CASES = [
    Case(way, fault, number)
    for number, (way, fault) in enumerate((way, fault) for way in WAYS for fault in (*OF_ANSWERS, *way.faults))
]


@pytest.fixture(scope="module")
def stores(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """The stores of all cases."""
    home: Path = tmp_path_factory.mktemp("routes")
    with fresh_database(postgres) as url, open_stores(Settings(home=home, warehouse_url=url)) as opened:
        yield opened


@pytest.fixture
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("etl.extract.patience._WAIT", tenacity.wait_none())
    monkeypatch.setattr("etl.extract.patience._LONGEST_BAN_S", 0.0)
    monkeypatch.setattr("etl.extract.bulk._wait", tenacity.wait_none())
    monkeypatch.setattr("etl.extract.ccxt_source._UNSAID_PAUSE_S", 0.0)
    logging.disable(logging.WARNING)  # thousands of lines
    yield
    logging.disable(logging.NOTSET)


def served_at(stores: Stores, exchange: str, url: str) -> Stores:
    """Return the stores, and where the exchange is."""
    own = ExchangeSettings(base_url=url, bulk_url=f"{url}/data", weight_limit=1_000_000, repair_share=1.0, share=1.0)  # type: ignore[arg-type]  # read from text
    return replace(stores, settings=stores.settings.model_copy(update={"exchanges": {exchange: own}}))


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """By where an exchange is, the route whose answers its fault holds: given up soon, and nothing else is.

    A sound answer may take as long as the machine needs for it.
    """
    routes: dict[str, str] = {}
    ask = aiohttp.ClientSession._request

    async def ask_for_a_while(session: aiohttp.ClientSession, method: str, url: Any, **options: Any) -> Any:
        at = URL(str(url))
        route = routes.get(str(at.origin()))
        if route is not None and (at.path.startswith("/data") if route == "bulk" else at.name == route):
            options["timeout"] = aiohttp.ClientTimeout(total=0.25)
        return await ask(session, method, url, **options)

    monkeypatch.setattr("etl.extract.ccxt_client._TIMEOUT_MS", 120_000)
    monkeypatch.setattr("etl.extract.bulk._TIMEOUT", aiohttp.ClientTimeout(total=120.0))
    monkeypatch.setattr(aiohttp.ClientSession, "_request", ask_for_a_while)
    return routes


async def ingest(stores: Stores, partition: Partition, thread: asyncio.Lock) -> None:
    """Ingest a partition, with a budget of its own."""

    def rest() -> None:
        clean_pages(stores, partition)
        load(stores, partition, "test")

    async with open_exchange(partition.series.exchange, stores.settings, None) as exchange:
        await fetch_partition(stores, exchange, partition)
    async with thread:
        await asyncio.to_thread(rest)


async def meet(case: Case, stores: Stores, thread: asyncio.Lock, held: dict[str, str]) -> ChandlerError | None:
    """Ingest what a fault befalls from the first request on, by an exchange of its own. Returns how it failed."""
    faults = FaultPlan(hold_s=3600.0, slow_s=0.05)
    server = ReplayServer(market_of([case]), limits=False, faults=faults, clock=lambda: to_ms(NOW))
    await server.start()
    try:
        ready = served_at(stores, case.way.exchange, server.url)
        if case.way.is_listed:
            await ingest(ready, Partition(case.series, EARLIER), thread)
        faults.add(case.fault, times=None, route=case.way.route)
        if case.fault in HELD:
            held[str(URL(server.url).origin())] = case.way.route
        try:
            await ingest(ready, case.partition, thread)
        except ChandlerError as error:
            return error
        return None
    finally:
        await server.stop()
        assert faults.given[case.fault], f"{case} has befallen nobody"


async def meet_all(cases: Sequence[Case], stores: Stores, held: dict[str, str]) -> list[ChandlerError | None]:
    """Meet faults side by side. Returns how each ended; anything but an error of ours is raised."""
    places, thread = asyncio.Semaphore(PLACES), asyncio.Lock()

    async def one(case: Case) -> ChandlerError | None:
        async with places:
            try:
                return await meet(case, stores, thread, held)
            except BaseException as error:
                error.add_note(f"by {case}")
                raise

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(case)) for case in cases]
    return [task.result() for task in tasks]


def kinds_of(stores: Stores, cases: Sequence[Case]) -> list[set[AbsenceKind]]:
    """Return of which kinds absences of each case's range are."""
    with stores.warehouse.begin() as connection:
        ids = known_series(connection)
        found = [read_absences(connection, ids[case.series], case.way.span) for case in cases]
    return [{absence.kind for absence in absences} for absences in found]


def differing(stores: Stores, cases: Sequence[Case]) -> list[Case]:
    """Return the cases of which the warehouse holds other candles than the exchange has."""
    with stores.warehouse.begin() as connection:
        ids = known_series(connection)
        held = [read_candles(connection, ids[case.series], case.way.span) for case in cases]
    return [case for case, candles in zip(cases, held, strict=True) if values_of(candles) != truth_of(case)]


def values_of(candles: pa.Table) -> dict[int, tuple[float, ...]]:
    """Return candles by open_time_ms."""
    names = ("open", "high", "low", "close", "volume")
    return {to_ms(row["open_time"]): tuple(row[name] for name in names) for row in candles.to_pylist()}


def truth_of(case: Case) -> dict[int, tuple[float, ...]]:
    """Return what the exchange has of a case's range."""
    market, span = market_of([case]), case.way.span
    rows = market.rows(case.series.symbol, Timeframe.M1, span.start_ms, span.end_ms, 1 << 20)
    return {row.open_time_ms: tuple(float(text or "nan") for text in row[1:6]) for row in rows}


@pytest.mark.usefixtures("_without_pauses")
def test_each_fault_on_each_route_is_an_error_of_ours_and_heals(
    stores: Stores, held: dict[str, str], record_property: pytest.RecordProperty
) -> None:
    """Twenty kinds and more on each route; the count is in the report of the run."""
    per_way = Counter((case.way.exchange, case.way.route) for case in CASES)
    assert min(per_way.values()) >= 20
    record_property("faults", len(CASES))
    outcomes = asyncio.run(meet_all(CASES, stores, held))
    ended = dict(zip(CASES, outcomes, strict=True))

    wrong = {
        str(case): (ended[case], kinds)
        for case, kinds in zip(CASES, kinds_of(stores, CASES), strict=True)
        if not kinds <= (TOLD if ended[case] is None else {AbsenceKind.UNFETCHED})
    }
    assert wrong == {}
    final = {case for case, error in ended.items() if error is not None and not error.is_retryable}
    assert {case.fault for case in final} <= FINAL, list(map(str, final))

    others = []
    for name in sorted({way.exchange for way in WAYS}):
        own = [case for case in CASES if case.way.exchange == name]
        with ReplayServer(market_of(own), limits=False, clock=lambda: to_ms(NOW + 3 * DAY)) as server:
            back = served_at(stores, name, server.url)
            report = repair(back, name, datetime.now(UTC) + 400 * DAY, "back")
            assert (report.failures, report.left) == ([], 0)
            corrected = differing(stores, own)
            others += [(case.fault, case.way.route) for case in corrected]
            for case in corrected:
                asyncio.run(ingest(back, case.partition, asyncio.Lock()))
    assert set(others) <= SILENT
    assert list(map(str, differing(stores, CASES))) == []
    assert is_sound(audit(stores))
