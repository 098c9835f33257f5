"""Look and severity of incidents."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.incidents import Evidence, Kind, Scope, Severity
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.describing import LONGEST_DAYS, Description, Scene, describe
from models.features import Track, to_track
from models.fitting import fit
from models.incidents import find_incidents
from models.scorers.scorer import Study
from models.scoring import score_track
from models.wording import without_candles
from tests.models.made_up import START_MS, walk
from tests.models.recordings import recorded
from tests.models.scenes import (
    AT,
    COUNT,
    THERE,
    Columns,
    burst,
    freeze,
    market,
    scene,
    shift,
    wash,
    wick,
    without,
)

PLANTED: dict[Kind, tuple[Callable[[Columns], Columns], int]] = {
    Kind.CRASH: (lambda columns: shift(columns, -0.05), AT),
    Kind.PRICE_SPIKE: (lambda columns: shift(columns, 0.05), AT),
    Kind.RECOVERY: (lambda columns: shift(columns, -0.05, until=AT + 4), AT + 5),
    Kind.VOLUME_BURST: (lambda columns: burst(columns, 60.0), AT),
    Kind.FROZEN_PRICE: (lambda columns: freeze(columns, 8), AT + 7),
    Kind.WASH_LIKE_VOLUME: (wash, AT + 11),
}
"""What is done to a calm market, and the incident's last slot."""


def kinds_of(told: Description) -> set[Kind]:
    """Return all kinds that fired."""
    return {one.kind for one in told.evidence.fired}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_rule_says_what_it_is(kind: Kind) -> None:
    """Each kind names the incident that is planted, and says so with a number."""
    change, last = PLANTED[kind]
    told = describe(scene(change(market()), last=last))
    assert told.kind is kind
    assert any(letter.isdigit() for letter in told.evidence.fired[0].why)
    assert Evidence.from_json(told.evidence.to_json()) == told.evidence


@pytest.mark.parametrize("kind", [Kind.FROZEN_PRICE, Kind.WASH_LIKE_VOLUME])
def test_what_lasts_is_named_though_it_was_found_late(kind: Kind) -> None:
    """An incident that begins once the price has stood still for a while is what it was from the beginning."""
    change, last = PLANTED[kind]
    assert describe(scene(change(market()), first=last - 1, last=last)).kind is kind


def test_calm_candles_are_nothing() -> None:
    """On a calm walk hardly a candle has a name; what made the others is said instead."""
    here, named = market(), []
    for slot in range(130, COUNT):
        told = describe(scene(here, first=slot, shares={"effort": 0.7, "leap": 0.3}))
        if told.kind is Kind.UNUSUAL:
            assert "effort 70%" in told.evidence.fired[0].why
        else:
            named.append(told.kind)
    assert len(named) <= 0.01 * (COUNT - 130)
    assert set(named) <= {Kind.PRICE_SPIKE, Kind.CRASH, Kind.VOLUME_BURST}


def test_a_market_that_often_stands_still_is_not_frozen() -> None:
    """Five candles alike are nothing where every other candle is; where nearly all move they are a frozen price."""
    thin = market()
    for slot in range(1, AT):
        if slot % 2:
            freeze(thin, 1, slot)
    assert Kind.FROZEN_PRICE not in kinds_of(describe(scene(freeze(thin, 5), last=AT + 4)))
    assert Kind.FROZEN_PRICE in kinds_of(describe(scene(freeze(market(), 5), last=AT + 4)))


def test_a_calm_that_is_not_traded_is_no_wash() -> None:
    """Small ranges at the usual volume are a calm hour; much volume that moves the price is none of wash either."""
    calm = wash(market())
    calm["volume"] = market()["volume"]
    assert Kind.WASH_LIKE_VOLUME not in kinds_of(describe(scene(calm, last=AT + 11)))
    lively = burst(market(), 8.0, count=12)
    assert Kind.WASH_LIKE_VOLUME not in kinds_of(describe(scene(lively, last=AT + 11)))


def test_a_price_that_moved_without_volume_is_a_fault() -> None:
    """No price moves if nothing was traded; and high and low hold open and close."""
    here = shift(market(), 0.01)
    here["volume"][AT] = 0.0
    assert describe(scene(here)).kind is Kind.DATA_FAULT
    broken = market()
    broken["high"][AT] = max(broken["open"][AT], broken["close"][AT]) * 0.9999
    told = describe(scene(broken))
    assert told.kind is Kind.DATA_FAULT
    assert "cannot all be true" in told.evidence.fired[0].why


@pytest.mark.parametrize(("gap", "said"), [(1, "1 min"), (40, "40 min")])
def test_a_move_over_a_gap_is_held_against_its_time(gap: int, said: str) -> None:
    """A price that wanders while there are no candles is no crash; one that leaps is, and the gap is named."""
    usual = float(np.median((market()["high"] - market()["low"]) / market()["close"]))
    wandered, leapt = (
        without(shift(market(), -times * usual * np.sqrt(gap + 1)), *range(AT - gap, AT)) for times in (2.0, 12.0)
    )
    told = describe(scene(wandered, shares={"return": 1.0}))
    assert told.kind is Kind.UNUSUAL
    assert told.severity is Severity.LOW
    assert f"it follows {said} without candles" in told.evidence.fired[0].why
    crash = describe(scene(leapt))
    assert crash.kind is Kind.CRASH
    assert f"within 1 candle after {said} without candles" in crash.evidence.fired[0].why


@pytest.mark.parametrize(
    ("timeframe", "count", "said"),
    [
        (Timeframe.M1, 119, "119 min"),
        (Timeframe.M1, 180, "3 h"),
        (Timeframe.H1, 47, "47 h"),
        (Timeframe.D1, 3, "3 days"),
    ],
)
def test_a_gap_is_told_in_time(timeframe: Timeframe, count: int, said: str) -> None:
    """In minutes, hours or days, whatever the candles' width."""
    track = to_track(walk(2, timeframe=timeframe), timeframe, TimeRange.from_ms(START_MS, START_MS + 2 * timeframe.ms))
    assert without_candles(track, count) == f"{said} without candles"


def test_evidence_has_the_numbers() -> None:
    """The last close, the move in percent from it and the usual volume are those of the candles."""
    here = burst(shift(market(), -0.05), 20.0)
    told = describe(scene(here))
    assert told.evidence.last_close == here["close"][AT - 1]
    assert told.evidence.move_pct == pytest.approx(100 * (here["low"][AT] / here["close"][AT - 1] - 1))
    assert told.evidence.usual_volume == pytest.approx(np.median(here["volume"][AT - 120 : AT]))
    assert told.evidence.numbers.trades == here["trades"][AT]
    assert [one.kind for one in told.evidence.fired] == [Kind.CRASH, Kind.VOLUME_BURST]


@pytest.mark.parametrize(
    ("above", "severity", "days"),
    [(0.0, Severity.LOW, 7.0), (1.0, Severity.HIGH, 70.0), (2.0, Severity.CRITICAL, 700.0)],
)
def test_severity_is_how_seldom_it_is(above: float, severity: Severity, days: float) -> None:
    """At the cut an incident is as seldom as the budget says, and each decade of score is ten times as seldom."""
    told = describe(scene(burst(market(), 60.0), score=4 + above))
    assert told.severity is severity
    assert told.once_in_days == pytest.approx(days)
    twice = describe(scene(burst(market(), 60.0), score=4 + above, budget=2.0))
    assert twice.once_in_days == pytest.approx(days / 2)
    assert describe(scene(market(), score=400.0)).once_in_days == LONGEST_DAYS


def test_a_great_move_matters_more_and_a_fault_wakes_nobody() -> None:
    """A price that goes very far weighs one step more than its score, one that hardly moves less; no fault wakes."""
    assert describe(scene(shift(market(), -0.05))).severity is Severity.HIGH
    assert describe(scene(shift(market(), -0.012))).severity is Severity.LOW
    assert describe(scene(shift(market(), -0.007), score=5.0)).severity is Severity.HIGH
    assert describe(scene(shift(market(), -0.004), score=5.0)).severity is Severity.LOW
    assert describe(scene(shift(market(), -0.004), score=6.0)).severity is Severity.HIGH
    fault = describe(scene(wick(market(), -0.08), {THERE: market(venue=1)}, score=9.0))
    assert (fault.kind, fault.severity) == (Kind.DATA_FAULT, Severity.HIGH)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(list(PLANTED)),
    later=st.integers(1, 30),
    factor=st.sampled_from([0.5, 0.99, 1.01, 3.0]),
    volume=st.sampled_from([0.0, 1.0, 100.0]),
)
def test_what_comes_later_changes_neither_kind_nor_severity(
    kind: Kind, later: int, factor: float, volume: float
) -> None:
    """Law 5: whatever closes after the incident's last candle, here or elsewhere, its kind and severity stay."""
    change, last = PLANTED[kind]
    here, there = change(market()), market(venue=1)
    known = describe(scene(here, {THERE: there}, last=last))
    for columns in (here, there):
        for name in ("open", "high", "low", "close"):
            columns[name][last + 1 : last + 1 + later] *= factor
        columns["volume"][last + 1 :] *= volume
    told = describe(scene(here, {THERE: there}, last=last))
    assert (told.kind, told.severity, told.once_in_days) == (known.kind, known.severity, known.once_in_days)
    assert told.evidence.fired == known.evidence.fired


def found_in(track: Track, series: Series, learned: TimeRange, held_out: TimeRange, hour: TimeRange) -> list[Scene]:
    """Return the incidents that a model of the weeks before finds in an hour."""
    artifact = fit(
        "seasonal_z",
        series.timeframe,
        {series: track},
        learned,
        held_out,
        Study(),
        scope="all",
        as_of=held_out.end,
        data_hash="0" * 64,
        budget=1.0,
    )
    scores = score_track(track, artifact, series, hour)
    offset = (hour.start_ms - track.start_ms) // series.timeframe.ms
    scenes = []
    for first, last in find_incidents(scores.is_anomaly):
        peak = int(first + np.argmax(scores.joined[first : last + 1]))
        here = (int(first) + offset, peak + offset, int(last) + offset)
        scenes.append(Scene(series, track, {}, *here, score=float(scores.joined[peak]), threshold=scores.threshold))
    return scenes


@pytest.mark.parametrize("symbol", ["BTC/USDT", "ETH/USDT", "XRP/USDT"])
def test_the_crash_of_2021_is_critical(real_data: Path, symbol: str) -> None:
    """The flash crash of 2021-12-04 is a crash, and critical, on each symbol, though the hour was wild already."""
    series = Series("binance", symbol, Timeframe.M1)
    bounds = [datetime(2021, 11, 12, tzinfo=UTC), datetime(2021, 11, 20, tzinfo=UTC), datetime(2021, 12, 4, tzinfo=UTC)]
    hour = TimeRange(datetime(2021, 12, 4, 4, 30, tzinfo=UTC), datetime(2021, 12, 4, 6, tzinfo=UTC))
    track = recorded(real_data, series, TimeRange(bounds[0], hour.end))
    told = [describe(one) for one in found_in(track, series, TimeRange(*bounds[:2]), TimeRange(*bounds[1:]), hour)]
    assert (Kind.CRASH, Severity.CRITICAL, Scope.UNCONFIRMED) in {(one.kind, one.severity, one.scope) for one in told}


def test_the_crash_of_2021_was_the_market(real_data: Path) -> None:
    """On candles of five minutes another exchange shows it too, with numbers of its own."""
    series, other = (Series(name, "BTC/USDT", Timeframe.M5) for name in ("binance", "ftx"))
    span = TimeRange(datetime(2021, 12, 3, tzinfo=UTC), datetime(2021, 12, 4, 5, 30, tzinfo=UTC))
    tracks = {one: recorded(real_data, one, span) for one in (series, other)}
    last = len(tracks[series]) - 1
    told = describe(Scene(series, tracks[series], {other: tracks[other]}, first=last - 1, peak=last, last=last))
    assert (told.kind, told.scope) == (Kind.CRASH, Scope.MARKET)
    [witness] = told.evidence.witnesses
    assert witness.numbers is not None
    assert witness.numbers.low == 41330.0
    assert witness.sees
