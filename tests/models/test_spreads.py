"""Prices of venues that are too far apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.alerting import Spread
from etl.incidents import Detector, Kind, Scope, Severity
from etl.series import Series
from models.describing import Scene, describe
from models.spreads import Gap, find_spreads
from tests.models.scenes import HERE, THERE, THIRD, Columns, market, on_slots_of, shift, to, without

SPREAD = Spread()
DAY = 1440
COUNT, AT = 2 * DAY, DAY + 700


def prices(venue: int = 0, seed: int = 1) -> Columns:
    """Return two days of one venue."""
    return market(seed, venue, COUNT)


def apart(columns: Columns, size: float, slot: int = AT, count: int = 5) -> Columns:
    """Let a venue's price be off by a share for some candles."""
    return shift(columns, size, slot, slot + count)


def found(venues: dict[Series, Columns], spread: Spread = SPREAD) -> dict[Series, list[Gap]]:
    """Return what is found when each venue in turn is looked at."""
    tracks = {series: on_slots_of(prices(), columns) for series, columns in venues.items()}
    return {
        series: find_spreads(series, track, {one: each for one, each in tracks.items() if one != series}, spread)
        for series, track in tracks.items()
    }


@pytest.mark.parametrize("size", [-0.01, 0.01])
@pytest.mark.parametrize("names", [(HERE, THERE), (THERE, HERE), (HERE, THERE, THIRD)])
def test_a_spread_is_one_incident_of_the_venue_that_left(size: float, names: tuple[Series, ...]) -> None:
    """A price that is 1 % off for five candles is found once, whoever is looked at, and on the venue that is off."""
    venues = {name: prices(number) for number, name in enumerate(names)}
    apart(venues[names[0]], size)
    gaps = found(venues)
    assert [len(gaps[name]) for name in names] == [1] + [0] * (len(names) - 1)
    [gap] = gaps[names[0]]
    assert (gap.first, gap.last) == (AT, AT + 4)
    assert set(gap.off) == set(names[1:])
    assert "1.0" in gap.fired.why


def test_what_is_usual_is_no_spread() -> None:
    """A dollar that is worth 2 % more than a USDT, always, and a gap of fewer candles, or below the costs, are none."""
    dear = prices(1)
    for name in ("open", "high", "low", "close"):
        dear[name] *= 1.02
    assert not any(found({HERE: prices(), THERE: dear}).values())
    assert not any(found({HERE: apart(prices(), 0.01, count=2), THERE: prices(1)}).values())
    assert not any(found({HERE: apart(prices(), 0.005), THERE: prices(1)}).values())
    assert found({HERE: apart(prices(), 0.005), THERE: dear}, Spread(cost_bps=30))[HERE]


def test_a_spread_that_stays_becomes_usual() -> None:
    """A basis that changes for good is told of, until it was there for half of a day's hours."""
    [gap] = found({HERE: shift(prices(), 0.01, AT), THERE: prices(1)})[HERE]
    assert gap.first == AT
    assert 11 * 60 <= gap.last - gap.first <= 13 * 60


def in_ticks(columns: Columns, tick: float, venue: int) -> Columns:
    """Let a venue print what is 20 ticks or so in its ticks, each candle a tick or two beside it at times."""
    random = np.random.default_rng(venue)
    beside = np.repeat(random.integers(-1, 2, COUNT // 5), 5)
    for name in ("open", "high", "low", "close"):
        columns[name] = tick * (np.rint(20 * columns[name] / columns[name][0]) + beside)
    return columns


@pytest.mark.parametrize("names", [(HERE, THERE), (HERE, THERE, THIRD)])
def test_a_tick_or_two_is_no_spread(names: tuple[Series, ...]) -> None:
    """A tick being a twentieth of the price: nothing for two of them, a spread for six, and it is said why."""
    venues = {name: in_ticks(prices(number), 1e-8, number) for number, name in enumerate(names)}
    assert not any(found(venues).values())
    for name in ("open", "high", "low", "close"):
        venues[HERE][name][AT : AT + 5] += 6e-8
    gaps = found(venues)
    assert [len(gaps[name]) for name in names] == [1] + [0] * (len(names) - 1)
    assert "with two ticks of 0.00000001" in gaps[HERE][0].fired.why


def test_a_price_that_never_moved_has_no_tick() -> None:
    """A coin of one dollar, always: a cent below it elsewhere is a spread, as it is in any market."""
    still = {name: prices(number) for number, name in enumerate((HERE, THERE))}
    for columns in still.values():
        for name in ("open", "high", "low", "close"):
            columns[name][:] = 1.0
    for name in ("open", "high", "low", "close"):
        still[HERE][name][AT : AT + 5] = 0.98
    [gap] = found(still)[HERE]
    assert (gap.first, gap.cost) == (AT, pytest.approx(SPREAD.cost_bps * 1e-4))


def test_candles_that_are_missing_and_short_pasts_say_nothing() -> None:
    """Nothing is found if there is nothing to compare with, or too little to say what is usual."""
    assert not any(found({HERE: apart(prices(), 0.01), THERE: without(prices(1), *range(AT, AT + 5))}).values())
    assert not any(found({HERE: apart(prices(), 0.01, slot=20), THERE: prices(1)}).values())
    assert find_spreads(HERE, to(prices()), {}, SPREAD) == []


def test_a_spread_is_described_by_its_gap() -> None:
    """It is of the venue, named with both prices, and matters by how many times the costs it is."""
    tracks = {
        name: on_slots_of(prices(), apart(prices(), 0.02) if name == HERE else prices(1)) for name in (HERE, THERE)
    }
    [gap] = find_spreads(HERE, tracks[HERE], {THERE: tracks[THERE]}, SPREAD)
    scene = Scene(
        HERE, tracks[HERE], {THERE: tracks[THERE]}, gap.first, gap.peak, gap.last, detector=Detector.SPREAD, gap=gap
    )
    told = describe(scene)
    assert (told.kind, told.scope, told.severity) == (Kind.SPREAD, Scope.VENUE, Severity.HIGH)
    assert told.once_in_days is None
    [witness] = told.evidence.witnesses
    assert witness.sees is False
    assert "2.0 % below here" in witness.why


@settings(max_examples=30)
@given(later=st.integers(1, 400), factor=st.sampled_from([0.9, 0.99, 1.02]), venue=st.sampled_from([HERE, THERE]))
def test_what_comes_later_changes_no_spread(later: int, factor: float, venue: Series) -> None:
    """Law 5: what closes later on either venue moves nothing that was found before."""
    venues = {HERE: apart(prices(), 0.01), THERE: prices(1)}
    known = found(venues)[HERE]
    end = AT + 40  # what begins sooner is the same spread, going on
    for name in ("open", "high", "low", "close"):
        venues[venue][name][end : end + later] *= factor
    assert [gap for gap in found(venues)[HERE] if gap.last < end] == known
