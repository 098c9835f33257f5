"""Other venues' protocols, end to end: recordings come back value for value, and a quiet minute is no error."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tenacity
from sqlalchemy import func, select

from etl.audit import audit, is_sound
from etl.errors import MalformedPayloadError, NotListedError
from etl.extract import Page, Route, to_candles
from etl.feeds_file import load_settings
from etl.fetching import open_exchange
from etl.ingest import ingest
from etl.plan import plan
from etl.repair import repair
from etl.replay import MadeUpMarket, Market, RecordedMarket, ReplayServer
from etl.series import Series, TimeRange, clip, symbol_to_path
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.warehouse import known_series, read_absences, read_candles, read_listing
from tests.markets import recorded_values

DAY = timedelta(days=1)
LISTS = {"binance": ("exchangeInfo",), "coinbase": ("products",), "kraken": ("AssetPairs",)}
BASE = ("open", "high", "low", "close", "volume")
Serve = Callable[..., ReplayServer]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Put a market behind an exchange's protocol, without limits, by a clock that may stand in the past."""
    with ExitStack() as servers:

        def begin(
            market: Market, exchange: str, now: datetime | None = None, clock: Callable[[], int] | None = None
        ) -> ReplayServer:
            if now is not None:
                clock = Clock(now)
            told = {} if clock is None else {"clock": clock}
            server = servers.enter_context(ReplayServer(market, limits=False, **told))
            monkeypatch.setenv(f"CHANDLER_EXCHANGES__{exchange.upper()}__BASE_URL", server.url)
            monkeypatch.setenv(f"CHANDLER_EXCHANGES__{exchange.upper()}__WEIGHT_LIMIT", "1000000")
            return server

        yield begin


def load_all(stores: Stores, series: Series, span: TimeRange) -> tuple[Stores, dict[int, tuple[float, ...]]]:
    """Ingest `span` and return what the warehouse holds: open_time_ms to values, equal to what the archive holds."""
    ready = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
    for partition in plan(ready, series, span, None):
        ingest(ready, partition, "test")
    with stores.warehouse.begin() as connection:
        stored = read_candles(connection, known_series(connection)[series], span)
    assert stores.archive.read(series, span).equals(stored)
    assert is_sound(audit(ready))
    return ready, {to_ms(row["open_time"]): tuple(row[name] for name in BASE) for row in stored.to_pylist()}


def absent_minutes(stores: Stores, series: Series, span: TimeRange) -> set[int]:
    """Return the open times that are recorded as absent."""
    with stores.warehouse.begin() as connection:
        absences = read_absences(connection, known_series(connection)[series], span)
    return {at for one in absences for at in range(one.span.start_ms, one.span.end_ms, 60_000)}


@pytest.mark.parametrize("symbol", ["BTC/USD", "ETH/USD", "LTC/USD"])
def test_coinbase_gives_its_recording(symbol: str, serve: Serve, stores: Stores, real_data: Path) -> None:
    """Newest first, three hundred at once, nothing printed for a minute without trades: all of it comes back."""
    span = TimeRange(datetime(2018, 4, 4, tzinfo=UTC), datetime(2018, 4, 6, tzinfo=UTC))
    serve(RecordedMarket(real_data, "coinbase"), "coinbase")
    series = Series.parse(f"coinbase:{symbol}:1m")
    ready, held = load_all(stores, series, span)
    recorded = recorded_values(real_data / "coinbase" / symbol_to_path(symbol) / "1m.parquet", span)
    assert held == recorded
    assert absent_minutes(ready, series, span) == set(range(span.start_ms, span.end_ms, 60_000)) - set(recorded)


def test_a_thin_market_is_no_error(serve: Serve, stores: Stores, real_data: Path) -> None:
    """A week in which hundreds of minutes had no trade: each is absent, none is an error or quarantined."""
    span = TimeRange(datetime(2018, 5, 1, tzinfo=UTC), datetime(2018, 5, 8, tzinfo=UTC))
    serve(RecordedMarket(real_data, "bitfinex"), "coinbase")
    series = Series.parse("coinbase:LTC/USD:1m")
    ready, held = load_all(stores, series, span)
    recorded = recorded_values(real_data / "bitfinex" / "LTC-USD" / "1m.parquet", span)
    assert held == recorded
    assert len(absent_minutes(ready, series, span)) == 7 * 1440 - len(recorded) > 100


def test_kraken_gives_a_recording_from_trades_and_from_candles(serve: Serve, stores: Stores, real_data: Path) -> None:
    """A day of which Kraken serves the last part as candles: the rest is built from trades, to the same values.

    Kraken prints a minute without trades at the last price, without volume; both parts do, and so does the day's first
    minute, whose last price lies before the day.
    """
    recording = real_data / "bitfinex" / "LTC-USD" / "1m.parquet"
    may = TimeRange(datetime(2018, 5, 1, tzinfo=UTC), datetime(2018, 5, 3, tzinfo=UTC))
    recorded = recorded_values(recording, may)
    quiet_ms = next(at for at in range(may.start_ms + 3 * 3_600_000, may.end_ms, 60_000) if at not in recorded)
    span = TimeRange.from_ms(quiet_ms, quiet_ms + 86_400_000)
    server = serve(RecordedMarket(real_data, "bitfinex"), "kraken", now=span.end + timedelta(seconds=20))
    _, held = load_all(stores, Series.parse("kraken:LTC/USD:1m"), span)
    last = max(at for at in recorded if at < span.start_ms)
    for at in range(span.start_ms, span.end_ms, 60_000):
        if at in recorded:
            assert held[at] == recorded[at]
            last = at
        else:
            assert held[at] == (*[recorded[last][3]] * 4, 0.0)
    assert {"Trades", "OHLC"} <= {path.rsplit("/", 1)[-1] for path in server.requests}


def test_candles_out_of_trades_are_kraken_s_own(serve: Serve) -> None:
    """Candles that are built from Kraken's trades equal its own, row for row, as far as it serves both."""
    now = datetime(2026, 3, 5, 12, 0, 30, tzinfo=UTC)
    serve(MadeUpMarket(symbols=["BTC/USD", "ETH/USD"]), "kraken", now=now)
    window = TimeRange(now.replace(second=0) - timedelta(hours=6), now.replace(second=0))

    async def ask(series: Series) -> tuple[Page, list[Page]]:
        async with open_exchange("kraken", load_settings(), None) as exchange:
            candles = await exchange.source.fetch_page(series, window, Route.CANDLES)
            trades = [await exchange.source.fetch_page(series, window, Route.TRADES)]
            while len(rows := trades[-1].rows()) >= 1000:
                rest = TimeRange.from_ms(int(rows[-1][2] * 1000), window.end_ms)
                trades.append(await exchange.source.fetch_page(series, rest, Route.TRADES))
            return candles, trades

    for timeframe in ("1m", "5m", "1h"):
        series = Series.parse(f"kraken:ETH/USD:{timeframe}")
        candles, trades = asyncio.run(ask(series))
        own = {row[0]: row for row in candles.rows() if window.start_ms <= row[0] * 1000 < window.end_ms}
        built = {row[0]: row for row in to_candles(trades, series.timeframe, window)}
        assert own.keys() == built.keys()
        for at, row in own.items():
            # Open, high, low, close, volume and count; the mean price is printed to more or fewer places.
            assert [float(row[i]) for i in (1, 2, 3, 4, 6, 7)] == [float(built[at][i]) for i in (1, 2, 3, 4, 6, 7)]


@dataclass
class Clock:
    """An exchange's clock that is put forward by hand; called, it tells milliseconds."""

    now: datetime

    def __call__(self) -> int:
        """Return its time."""
        return to_ms(self.now)


def kinds_of(stores: Stores, series: Series, span: TimeRange) -> dict[str, int]:
    """Return how many slots of `span` are absent, by kind."""
    with stores.warehouse.begin() as connection:
        absences = read_absences(connection, known_series(connection)[series], span)
    counts: Counter[str] = Counter()
    for one in absences:
        counts[one.kind.value] += (clip(one.span, span) or one.span).count(series.timeframe)
    return dict(counts)


def served_by(stores: Stores) -> Stores:
    """Return the stores with the settings of now."""
    return Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)


def test_a_symbol_that_leaves_the_list_is_looked_for_on_another_day(serve: Serve, stores: Stores) -> None:
    """Delisted is said at the second look; what was said too early heals once the exchange lists it again.

    The exchange's clock is far ahead of ours, so that nothing of it is due by our now that was not made so.
    """
    market = MadeUpMarket(symbols=["BTC/USDT", "OLD/USDT"])
    days = [TimeRange(day, day + DAY) for day in (datetime(2099, 3, n, tzinfo=UTC) for n in range(1, 5))]
    clock = Clock(days[0].end + timedelta(minutes=5))
    server = serve(market, "binance", clock=clock)
    gone, stays = (Series.parse(f"binance:{symbol}:1m") for symbol in market.symbols[::-1])
    ready, _ = load_all(stores, gone, days[0])

    server.unlisted.add("OLD/USDT")
    clock.now += DAY
    with pytest.raises(NotListedError, match="lists OLD/USDT no more, as seen on 2099-03-03 00:05") as caught:
        ingest(ready, Partition(gone, days[1]), "first look")
    assert caught.value.is_retryable
    assert ingest(ready, Partition(stays, days[1]), "test").rows > 1000, "its neighbour goes on"
    clock.now += timedelta(hours=10)
    with pytest.raises(NotListedError, match="as seen on 2099-03-03 00:05"):
        ingest(ready, Partition(gone, days[1]), "the same day")
    assert kinds_of(ready, gone, days[1]) == {"unfetched": 1440}

    clock.now = days[2].end + timedelta(minutes=5)
    repaired = repair(ready, "binance", clock.now + 365 * DAY, "second look", only=[gone])
    assert (repaired.failures, kinds_of(ready, gone, days[1])) == ([], {"delisted": 1440})
    report = ingest(ready, Partition(gone, days[2]), "later")
    assert (report.rows, kinds_of(ready, gone, days[2])) == (0, {"delisted": 1440})
    with stores.warehouse.begin() as connection:
        evidence = {a.evidence for a in read_absences(connection, known_series(connection)[gone], days[2])}
        assert read_listing(connection, gone).ended_ms == days[1].start_ms
    assert any("lacked it on 2099-03-03 00:05, and on a later day" in text for text in evidence)

    server.unlisted.clear()
    clock.now += DAY
    assert ingest(ready, Partition(gone, days[3]), "it is back").rows > 1000
    with stores.warehouse.begin() as connection:
        listing = read_listing(connection, gone)
        now = connection.execute(select(func.now())).scalar_one()
    assert (listing.ended_ms, listing.unlisted_ms) == (None, None)
    assert repair(ready, "binance", now, "heals", only=[gone]).failures == []
    for day in days[1:3]:
        kinds = kinds_of(ready, gone, day)
        assert "delisted" not in kinds
        assert sum(kinds.values()) < 440
    assert is_sound(audit(ready))


def test_what_is_older_than_a_symbol_that_is_gone_cannot_be_had(serve: Serve, stores: Stores) -> None:
    """A hole from before the end of a delisted series is no outage: the exchange serves it no longer."""
    market = MadeUpMarket(symbols=["BTC/USDT", "OLD/USDT"])
    first = datetime(2026, 3, 1, tzinfo=UTC)
    clock = Clock(first + 3 * DAY)
    server = serve(market, "binance", clock=clock)
    gone = Series.parse("binance:OLD/USDT:1m")
    ready, _ = load_all(stores, gone, TimeRange(first + DAY, first + 2 * DAY))
    server.unlisted.add("OLD/USDT")
    older = Partition(gone, TimeRange(first, first + DAY))
    with pytest.raises(NotListedError):
        ingest(ready, older, "first look")
    clock.now += 2 * DAY
    ingest(ready, older, "second look")
    assert kinds_of(ready, gone, older.time_range) == {"beyond_retention": 1440}


@pytest.mark.parametrize("exchange", ["binance", "coinbase", "kraken"])
@pytest.mark.parametrize("fault", ["html", "empty_200", "empty_object", "empty_list", "empty_listing"])
def test_a_list_that_says_nothing_delists_nothing(
    exchange: str, fault: str, serve: Serve, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page, an empty body or an empty list is an error that passes; the range is unfetched, and heals."""
    monkeypatch.setattr("etl.extract.patience._WAIT", tenacity.wait_none())
    day = TimeRange(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    clock = Clock(day.end + timedelta(minutes=5))
    server = serve(MadeUpMarket(symbols=["BTC/USD"]), exchange, clock=clock)
    ready, series = served_by(stores), Series.parse(f"{exchange}:BTC/USD:1h")
    early, late = day.windows(12 * 3_600_000)
    ingest(ready, Partition(series, early), "test")
    for route in LISTS[exchange]:
        server.faults.add(fault, times=None, route=route)
    with pytest.raises(MalformedPayloadError) as caught:
        ingest(ready, Partition(series, late), "faulty")
    assert caught.value.is_retryable
    assert kinds_of(ready, series, late) == {"unfetched": 12}
    server.faults.clear()
    clock.now += DAY
    repair(ready, exchange, clock.now + 365 * DAY, "heals", only=[series])
    assert kinds_of(ready, series, day) == {}


def test_a_symbol_at_rest_is_not_delisted_before_a_day_is_over(serve: Serve, stores: Stores) -> None:
    """An exchange at work on itself says of all symbols that they are not traded."""
    day = TimeRange(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    market = MadeUpMarket(symbols=["NEW/USDT"], listed={"NEW/USDT": (None, to_ms(day.start + DAY / 2))})
    clock = Clock(day.end + timedelta(minutes=5))
    serve(market, "binance", clock=clock)
    ready, series = served_by(stores), Series.parse("binance:NEW/USDT:1h")
    early, late = day.windows(12 * 3_600_000)
    for half in (early, late):
        ingest(ready, Partition(series, half), "test")
    assert kinds_of(ready, series, late) == {"pending": 12}
    clock.now += DAY
    ingest(ready, Partition(series, late), "a day later")
    assert kinds_of(ready, series, late) == {"delisted": 12}


def test_a_delisted_series_ends_and_a_young_one_begins(serve: Serve, stores: Stores) -> None:
    """Slots before the first candle or after the last are absent for that reason, and were not asked for."""
    first, last = datetime(2026, 3, 10, 7, 30, tzinfo=UTC), datetime(2026, 3, 20, 15, 45, tzinfo=UTC)
    market = MadeUpMarket(symbols=["NEW/USDT"], listed={"NEW/USDT": (to_ms(first), to_ms(last))})
    server = serve(market, "binance")
    series = Series.parse("binance:NEW/USDT:1m")
    span = TimeRange(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC))
    ready, held = load_all(stores, series, span)
    assert (min(held), max(held)) == (to_ms(first), to_ms(last) - 60_000)
    with stores.warehouse.begin() as connection:
        absences = read_absences(connection, known_series(connection)[series], span)
    kinds = {
        absence.kind: absence.span for absence in absences if absence.kind not in {"pending", "outage", "no_trades"}
    }
    assert kinds == {"not_listed": TimeRange(span.start, first), "delisted": TimeRange(last, span.end)}
    assert len(server.windows) < 80, "920 pages lie in that range, and 15 have a candle"
