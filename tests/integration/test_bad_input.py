"""Bad answers over real HTTP through real ccxt: a clear error or a quarantined row, and a rerun that ends well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tenacity

from etl.audit import audit, is_sound
from etl.errors import (
    ChandlerError,
    MalformedPayloadError,
    QuarantineLimitError,
    RateLimitError,
    SourceUnavailableError,
    UnknownSymbolError,
)
from etl.feeds_file import load_settings
from etl.ingest import ingest
from etl.replay import FaultPlan, MadeUpMarket, ReplayServer
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import from_ms, to_ms
from tests.conftest import BTC
from tests.markets import START
from tests.snapshots import archive_of, tables_of

CANDLES = 2500  # three pages
PARTITION = Partition(BTC, TimeRange(START, from_ms(to_ms(START) + CANDLES * 60_000)))


@pytest.fixture
def faults() -> FaultPlan:
    """Return the faults of the exchange; none yet."""
    return FaultPlan()


@pytest.fixture
def exchange(faults: FaultPlan, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayServer]:
    """A made-up market behind Binance's protocol, where the settings will find it."""
    with ReplayServer(MadeUpMarket(), faults=faults) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        yield server


@pytest.fixture
def ready(exchange: ReplayServer, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """Stores whose settings know the exchange, and no pauses between tries."""
    monkeypatch.setattr("etl.extract.patience._WAIT", tenacity.wait_none())
    return Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)


@pytest.mark.parametrize(
    "fault",
    ["http_429", "http_418", "http_500", "maintenance", "html", "truncated", "reset", "wrong_order", "duplicate_page"],
)
def test_a_passing_fault_leaves_no_trace(fault: str, ready: Stores, faults: FaultPlan) -> None:
    """A fault that comes twice, or is only disorder, ends in the candles of a run in which nothing went wrong."""
    clean_partition = Partition(Series.parse("binance:ETH/USDT:1m"), PARTITION.time_range)
    ingest(ready, clean_partition, "test")
    faults.add(fault, times=2, symbol="BTC/USDT")
    report = ingest(ready, PARTITION, "test")
    assert faults.given[fault] == 2
    assert report.quarantined == 0
    assert report.rows + report.absent == CANDLES
    # An outage of the made-up exchange takes the same minutes from every symbol.
    absences = {row[0]: [] for row in tables_of(ready)["absences"]}
    for symbol, *span in tables_of(ready)["absences"]:
        absences[symbol].append(span)
    assert absences.get("BTC/USDT") == absences.get("ETH/USDT")
    assert is_sound(audit(ready))


@pytest.mark.parametrize("route", ["time", "exchangeInfo"])
def test_small_questions_are_asked_again_too(route: str, ready: Stores, faults: FaultPlan) -> None:
    """An exchange that stumbles over the time, or over what it lists, has not failed yet."""
    faults.add("http_502", times=2, route=route)
    report = ingest(ready, PARTITION, "test")
    assert faults.given["http_502"] == 2
    assert report.rows + report.absent == CANDLES


def test_being_sent_away_does_not_count_as_a_try(
    ready: Stores, faults: FaultPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exchange that says slow down a dozen times in a row is asked again until the page comes."""
    monkeypatch.setattr("etl.extract.ccxt_source._UNSAID_PAUSE_S", 0.02)
    faults.add("http_429_bare", times=12)
    report = ingest(ready, PARTITION, "test")
    assert faults.given["http_429_bare"] == 12
    assert report.rows + report.absent == CANDLES


def test_a_candle_that_is_late_is_asked_for_once_more(
    stores: Stores, faults: FaultPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A candle that closed a moment ago and is not there yet, is there when asked again."""
    end_ms = PARTITION.time_range.end_ms
    with ReplayServer(MadeUpMarket(), faults=faults, clock=lambda: end_ms + 5_000) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        ready = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
        last = Partition(BTC, TimeRange.from_ms(end_ms - 60 * 60_000, end_ms))
        faults.add("late", times=1)
        assert ingest(ready, last, "test").absent == 0
        assert faults.given["late"] == 1


@pytest.mark.parametrize(
    ("fault", "error", "advice"),
    [
        ("http_429", RateLimitError, "fewer requests"),
        ("http_418", RateLimitError, "fewer requests"),
        ("http_500", SourceUnavailableError, "run it again"),
        ("html", MalformedPayloadError, "no JSON"),
        ("truncated", MalformedPayloadError, "no JSON"),
        ("reset", SourceUnavailableError, "run it again"),
    ],
)
def test_a_lasting_fault_is_a_clear_error(
    fault: str,
    error: type[ChandlerError],
    advice: str,
    ready: Stores,
    faults: FaultPlan,
    exchange: ReplayServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault that stays ends in an error that says where and what to do; a rerun fetches only what is missing."""
    monkeypatch.setattr("etl.extract.patience._LONGEST_BAN_S", 2.5)
    faults.add(fault, times=None, after=2)
    with pytest.raises(error, match=advice) as caught:
        ingest(ready, PARTITION, "test")
    assert caught.value.series == BTC
    assert str(caught.value.time_range) in str(caught.value)
    span = PARTITION.time_range
    left = tables_of(ready)
    absences = [tuple(row[1:4]) for row in left.pop("absences")]
    assert absences == [(span.start, span.end, "unfetched")], "what is missing is said"
    assert left.pop("quality")
    assert not any(left.values()), "nothing is half-written"
    assert not archive_of(ready)
    faults.clear()
    asked = len(exchange.windows)
    report = ingest(ready, PARTITION, "again")
    assert report.rows + report.absent == CANDLES
    assert len(exchange.windows) - asked <= 3 - 1, "a page that arrived is not asked for again"
    assert is_sound(audit(ready))


@pytest.mark.parametrize(
    ("fault", "rule", "mended"),
    [
        ("null", "not_a_number", 1),
        ("nan", "not_a_number", 1),
        ("nan_string", "not_a_number", 1),
        ("negative_price", "not_positive", 1),
        ("high_below_low", "ohlc", 1),
        ("off_grid", "off_grid", 0),  # its candle was missing, so the page was asked for once more at once
    ],
)
def test_a_bad_row_is_quarantined_and_mended_by_a_rerun(
    fault: str, rule: str, mended: int, ready: Stores, faults: FaultPlan
) -> None:
    """A row that cannot be true is kept with its rule and evidence; once the exchange mends it, a rerun fills it in."""
    faults.add(fault, times=1, after=1)
    report = ingest(ready, PARTITION, "test")
    (row,) = tables_of(ready)["quarantine"]
    assert report.quarantined == 1
    assert row[2] == rule
    assert row[4].startswith("[17"), "the row as received"
    assert report.rows + report.absent == CANDLES
    assert is_sound(audit(ready))
    again = ingest(ready, PARTITION, "again")
    assert (again.new, again.revised) == (mended, 0)
    assert len(tables_of(ready)["quarantine"]) == 1, "the evidence stays"
    assert is_sound(audit(ready))


def test_too_many_bad_rows_fail_the_partition(
    ready: Stores, faults: FaultPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit a partition fails with rule, count and examples, once its sound rows are stored."""
    monkeypatch.setenv("CHANDLER_MAX_QUARANTINED_PCT", "0.01")
    monkeypatch.setenv("CHANDLER_MAX_QUARANTINED_ROWS", "0")
    strict = Stores(load_settings(), ready.warehouse, ready.archive, ready.raw)
    faults.add("high_below_low", times=1)
    with pytest.raises(QuarantineLimitError, match=r"1 of 2,500 candles came only .*0\.040 %.*: ohlc 1\. For example"):
        ingest(strict, PARTITION, "test")
    assert len(list(strict.raw.root.rglob("folded/*"))) == 1, "its pages are kept"
    assert is_sound(audit(strict))
    again = ingest(strict, PARTITION, "again")
    assert (again.quarantined, again.new) == (0, 1)


def test_an_unknown_symbol_names_the_nearest(ready: Stores) -> None:
    """A symbol that the exchange does not list is an error that no retry can mend, with the nearest that it lists."""
    wrong = Partition(Series.parse("binance:BTC/USDX:1m"), PARTITION.time_range)
    with pytest.raises(UnknownSymbolError, match="nearest: BTC/USDT") as caught:
        ingest(ready, wrong, "test")
    assert not caught.value.is_retryable


def test_nobody_there_is_a_clear_error(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange that cannot be reached is an error that says so and may be retried."""
    monkeypatch.setattr("etl.extract.patience._WAIT", tenacity.wait_none())
    monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", "http://127.0.0.1:9")
    alone = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
    with pytest.raises(SourceUnavailableError, match="check the network") as caught:
        ingest(alone, PARTITION, "test")
    assert caught.value.is_retryable
