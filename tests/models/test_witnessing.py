"""Market or venue: what other exchanges say of an incident."""

from __future__ import annotations

import pytest

from etl.incidents import Kind, Scope, Severity
from etl.series import Series
from models.describing import describe
from models.siblings import siblings_of
from tests.models.scenes import (
    AT,
    COUNT,
    HERE,
    THERE,
    THIRD,
    Columns,
    burst,
    freeze,
    market,
    scene,
    shift,
    wick,
    without,
)


def test_siblings_are_the_same_asset_elsewhere() -> None:
    """Any dollar is a dollar, spot goes with spot; other quotes, timeframes, expiries and one's own venue are none."""
    names = (
        "binance:BTC/USDC:1m",
        "bybit:BTC/USDT:USDT:1m",
        "coinbase:BTC/USD:1m",
        "coinbase:BTC/EUR:1m",
        "kraken:BTC/USD:5m",
        "kraken:BTC/USD:1m",
        "kraken:BTC/USDT:1m",
        "kraken:ETH/USDT:1m",
        "okx:BTC/USDC:USDC:1m",
        "okx:BTC/USD:BTC:1m",
        "okx:BTC/USDT:USDT-261225:1m",
    )
    known = [Series.parse(name) for name in names]
    spot = [str(one) for one in siblings_of(HERE, [*known, HERE])]
    assert spot == ["coinbase:BTC/USD:1m", "kraken:BTC/USDT:1m", "kraken:BTC/USD:1m"]
    assert [str(one) for one in siblings_of(Series.parse("binance:BTC/USDT:USDT:1m"), known)] == [
        "bybit:BTC/USDT:USDT:1m",
        "okx:BTC/USDC:USDC:1m",
    ]
    assert siblings_of(Series.parse("binance:BTC/EUR:1m"), known) == [Series.parse("coinbase:BTC/EUR:1m")]


@pytest.mark.parametrize("size", [-0.08, 0.08])
def test_a_bad_print_is_a_fault_of_its_venue(size: float) -> None:
    """A wick of 8 % that the other exchange does not show is a data fault here, told with the other's numbers."""
    there = market(venue=1)
    told = describe(scene(wick(market(), size), {THERE: there}, score=7.0))
    assert (told.kind, told.scope, told.severity) == (Kind.DATA_FAULT, Scope.VENUE, Severity.HIGH)
    [witness] = told.evidence.witnesses
    assert witness.sees is False
    assert witness.numbers is not None
    assert (witness.numbers.low, witness.numbers.high) == (there["low"][AT], there["high"][AT])
    assert witness.move_pct is not None
    assert abs(witness.move_pct) < 1
    assert "8.0" in witness.why


def test_a_crash_everywhere_is_the_market() -> None:
    """One that also fell, by half as much and a candle later, has seen it; a third that did not changes nothing."""
    here, there = shift(market(), -0.08), shift(market(venue=1), -0.05, slot=AT + 1)
    told = describe(scene(here, {THIRD: market(venue=2), THERE: there}))
    assert (told.kind, told.scope) == (Kind.CRASH, Scope.MARKET)
    assert [(one.series, one.sees) for one in told.evidence.witnesses] == [(THERE, True), (THIRD, False)]


def test_a_wick_that_others_show_too_is_no_fault() -> None:
    """Back within the candle, but on both: a recovery of the market."""
    told = describe(scene(wick(market(), -0.08), {THERE: wick(market(venue=1), -0.05)}))
    assert (told.kind, told.scope) == (Kind.RECOVERY, Scope.MARKET)


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (without(market(venue=1), AT), "holds no candle at 05:00"),
        (without(market(venue=1), *range(AT, COUNT)), "its candles from 05:00 on are not loaded yet"),
        (without(market(venue=1, count=2), 1), "not loaded yet"),
    ],
)
def test_who_holds_nothing_there_cannot_tell(there: Columns, why: str) -> None:
    """Without a candle at the peak it is unconfirmed, whatever it looks like here."""
    told = describe(scene(wick(market(), -0.08), {THERE: there}))
    assert (told.kind, told.scope) == (Kind.RECOVERY, Scope.UNCONFIRMED)
    [witness] = told.evidence.witnesses
    assert (witness.sees, witness.numbers, witness.move_pct) == (None, None, None)
    assert why in witness.why


def test_volume_is_held_against_each_venues_own() -> None:
    """A burst is seen where volume is many times its own usual one, be that a tenth of ours, and not elsewhere."""
    small, calm = market(venue=1), market(venue=2)
    small["volume"] *= 0.1
    told = describe(scene(burst(market(), 60.0), {THERE: burst(small, 30.0), THIRD: calm}))
    assert (told.kind, told.scope) == (Kind.VOLUME_BURST, Scope.MARKET)
    assert [(one.series, one.sees) for one in told.evidence.witnesses] == [(THERE, True), (THIRD, False)]
    assert describe(scene(burst(market(), 60.0), {THIRD: calm})).scope is Scope.VENUE


def test_a_price_that_stands_still_here_alone_is_of_the_venue() -> None:
    """A venue that moved meanwhile does not see it; one that stood still too does; one that always does cannot tell."""
    here, still = freeze(market(), 8), freeze(market(venue=1), 8)
    dull = market(venue=2)
    for slot in range(1, COUNT):
        freeze(dull, 1, slot)
    facts = {"first": AT + 5, "last": AT + 7}
    alone = describe(scene(here, {THERE: market(venue=1), THIRD: dull}, **facts))
    assert (alone.kind, alone.scope) == (Kind.FROZEN_PRICE, Scope.VENUE)
    assert [one.sees for one in alone.evidence.witnesses] == [False, None]
    assert describe(scene(here, {THERE: still}, **facts)).scope is Scope.MARKET


def test_what_has_no_name_is_compared_by_what_made_it() -> None:
    """Volume that moves nothing is compared by volume; a price that hardly moved says nothing of another."""
    here = burst(market(), 8.0)
    there = {THERE: market(venue=1)}
    by_volume = describe(scene(here, there, shares={"effort": 0.8, "range": 0.2}))
    assert (by_volume.kind, by_volume.scope) == (Kind.UNUSUAL, Scope.VENUE)
    here["high"][AT] = here["low"][AT] = here["open"][AT] = here["close"][AT] = here["close"][AT - 1]
    by_price = describe(scene(here, there, shares={"frozen": 1.0}))
    assert (by_price.kind, by_price.scope) == (Kind.UNUSUAL, Scope.UNCONFIRMED)
