"""One fault of each kind in a few hundred made-up minutes: each found under its right name, over real HTTP."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bench.planted.kinds import KINDS, Kind
from bench.planted.runs import Outcome, run, run_forming, run_not_listed
from bench.planted.sites import APART, Recording, choose_sites, plant
from bench.quality import Place, count_strange, ingest_sound, to_recording
from etl.replay import MadeUpMarket
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.stores import Stores, open_stores
from etl.timeframe import Timeframe
from tests.databases import fresh_database

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
PLACE = Place("madeup", "binance", SYMBOLS, datetime(2026, 9, 10, tzinfo=UTC), 1)  # a day without an outage
MINUTES = 480


@pytest.fixture(scope="module")
def stores(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """The stores of all tests here: each kind of fault is planted into an exchange of its own."""
    with (
        fresh_database(postgres) as url,
        open_stores(Settings(home=tmp_path_factory.mktemp("planted"), warehouse_url=url)) as opened,
    ):
        yield opened


@pytest.fixture(scope="module")
def market() -> MadeUpMarket:
    """A market in which nothing is wrong for a while."""
    return MadeUpMarket(symbols=SYMBOLS)


@pytest.fixture(scope="module")
def recording(market: MadeUpMarket) -> Recording:
    """Its first hours of a day."""
    whole = to_recording(PLACE, market)
    span = TimeRange.from_ms(whole.span.start_ms, whole.span.start_ms + MINUTES * Timeframe.M1.ms)
    return replace(whole, span=span, grid={symbol: rows[:MINUTES] for symbol, rows in whole.grid.items()})


def is_found(outcome: Outcome) -> bool:
    """Return whether something was planted, and all of it was found; say under which names if not."""
    if outcome.found < outcome.planted:
        logging.getLogger(__name__).warning("%s: %s", outcome.name, outcome.places)
    return 0 < outcome.planted == outcome.found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.found_as)
def test_a_planted_fault_is_found_under_its_name(kind: Kind, recording: Recording, stores: Stores) -> None:
    """Whatever is wrong with one row or stretch of a market is recorded as what it is."""
    assert is_found(run(stores, recording, kind, count=1, seed=1))


def test_a_forming_candle_is_found_under_its_name(recording: Recording, stores: Stores) -> None:
    """A row that was sent before its minute was over is refused as forming."""
    assert is_found(run_forming(stores, recording, count=3, seed=1))


def test_what_is_before_a_listing_is_found_under_its_name(recording: Recording, stores: Stores) -> None:
    """Slots from before a symbol's first candle are not listed, rather than an outage."""
    assert is_found(run_not_listed(stores, recording, count=1, seed=1))


def test_a_fault_that_nobody_finds_is_counted_as_missed(recording: Recording, stores: Stores) -> None:
    """The count is no formality: a sound row, said to be a fault, is missed, and a fault with another name misnamed."""
    nothing = Kind("nothing at all", "jump", lambda soil: [soil.row])
    torn = replace(next(kind for kind in KINDS if kind.found_as == "shape"), found_as="volume_outlier")
    recording = replace(recording, name="other")
    missed, misnamed = (run(stores, recording, kind, count=1, seed=1) for kind in (nothing, torn))
    assert (missed.planted, missed.found, missed.missed) == (1, 0, 1)
    assert (misnamed.planted, misnamed.found, misnamed.missed) == (1, 0, 0)
    assert set(misnamed.misnamed) >= {"shape"}


def test_sound_candles_are_left_alone(recording: Recording, market: MadeUpMarket, stores: Stores) -> None:
    """Without faults nothing is flagged or refused."""
    btc = Series("madeup", "BTC/USDT", Timeframe.M1)
    (sound,) = ingest_sound(stores, PLACE, market, {btc: [recording.span]})
    assert sound == count_strange(stores, btc)
    assert (sound.rows, sound.strange) == (MINUTES, 0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.found_as)
def test_faults_are_planted_apart_and_nowhere_else(kind: Kind, recording: Recording) -> None:
    """The same seed draws the same places, none within reach of another, and all other rows stay as they are."""
    sites = choose_sites(recording, kind, 3, seed=4)
    assert sites == choose_sites(recording, kind, 3, seed=4)
    served = plant(recording, kind, sites)
    for symbol, rows in recording.grid.items():
        own = [site for site in sites if site.symbol == symbol]
        apart = 1 if kind.is_lone else APART
        assert all(one.end + apart <= other.start for one, other in zip(own, own[1:], strict=False))
        faulty = {slot for site in own for slot in range(site.start, site.end)}
        sound = {row for slot, row in enumerate(rows) if row is not None and slot not in faulty}
        assert sound <= set(served[symbol])
        assert len(served[symbol]) <= len(rows) + len(own)
    if kind.is_lone:
        slots = [slot for site in sites for slot in range(site.start, site.end)]
        assert len(set(slots)) == len(slots), "no two symbols at once"
