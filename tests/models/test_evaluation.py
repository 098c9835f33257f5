from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from etl.errors import InsufficientHistoryError
from etl.series import Series, TimeRange
from models import scorers
from models.artifact import Artifact
from models.blocks import BLOCK
from models.evaluation import evaluate, seeds_for, take_example
from models.features import FEATURES, to_track
from models.fitting import fit
from models.planting import SPACING, Kind, Size
from models.results import Evaluation, Given, Outcome, compare, per_week, summarise
from models.scorers.scorer import Judge, Parts, Scorer, Study
from tests.models.made_up import START_MS, walk

BTC, ETH = (Series.parse(f"binance:{base}/USDT:1m") for base in ("BTC", "ETH"))
DAY = 1440
SEEN = [FEATURES.index(name) for name in ("return", "range", "volume")]


def days(first: int, end: int) -> TimeRange:
    """Return whole days of the made-up market."""
    return TimeRange.from_ms(START_MS + first * DAY * 60_000, START_MS + end * DAY * 60_000)


CANDLES = {series: walk(8 * DAY, seed) for seed, series in enumerate((BTC, ETH))}
TRACKS = {series: to_track(table, series.timeframe, days(0, 8)) for series, table in CANDLES.items()}
TEST = days(6, 8)


def sees(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Judge by how far features are off, one channel each."""
    return np.abs(values[:, -BLOCK:, SEEN])


def says_nothing(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Judge nothing but that which no feature tells of, and every second candle not at all."""
    told = values[:, -BLOCK:, [FEATURES.index("day_sin")]].copy()
    told[:, ::2] = np.nan
    return told


def artifact(judge: Judge, monkeypatch: pytest.MonkeyPatch, series: tuple[Series, ...] = (BTC, ETH)) -> Artifact:
    """Fit a scorer of one function."""
    channels = ("return", "range", "volume") if judge is sees else ("only",)
    scorer = Scorer(judge.__name__, "for tests", channels, lambda lessons, study: Parts(), lambda parts: judge)
    monkeypatch.setitem(scorers.SCORERS, judge.__name__, scorer)  # type: ignore[arg-type]  # a dict, of which callers see less
    tracks = {one: TRACKS[one] for one in series}
    return fit(
        judge.__name__,
        BTC.timeframe,
        tracks,
        days(0, 3),
        days(3, 6),
        Study(),
        scope="all",
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        data_hash="0" * 64,
        budget=7.0,
    )


def test_who_sees_beats_who_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model is judged on every unit; what sees is measurably better, and the numbers come back from JSON."""
    models = {"seeing": artifact(sees, monkeypatch), "blind": artifact(says_nothing, monkeypatch)}
    told: list[float] = []
    found = evaluate(models, CANDLES, TEST, seeds=(1, 2, 3), watch=told.append)
    assert [(one.model, one.units) for one in summarise(found)] == [("seeing", 6), ("blind", 6)]
    seeing, blind = summarise(found)
    assert seeing.vus_pr > 0.5 > 0.1 > blind.vus_pr
    assert compare(found, "seeing", "blind").is_better
    assert compare(found, "blind", "seeing").is_worse
    assert seeing.by_kind.keys() == {str(kind) for kind in Kind}
    assert seeing.recall_by["volume_burst/large"] == 1
    assert seeing.incidents_per_week is not None
    assert sum(found.of("seeing")[0].planted.values()) == 2 * DAY // SPACING
    assert told[-1] == 1
    assert Evaluation.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert evaluate(models, CANDLES, TEST, seeds=(1, 2, 3)) == found


def test_series_that_a_model_does_not_know_are_no_units_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are compared by the series that both know, and not at all where there is none."""
    models = {
        "all": artifact(sees, monkeypatch),
        "btc": artifact(sees, monkeypatch, (BTC,)),
        "eth": artifact(sees, monkeypatch, (ETH,)),
    }
    found = evaluate(models, CANDLES, days(7, 8), seeds=(1,))
    assert {one.model: one.units for one in summarise(found)} == {"all": 2, "btc": 1, "eth": 1}
    same = compare(found, "all", "btc")
    assert (same.units, same.difference, same.is_better, same.is_worse) == (1, 0.0, False, False)
    with pytest.raises(ValueError, match="no series in common"):
        compare(found, "btc", "eth")


def test_too_short_a_range_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be compared if nothing can be planted, and the message says what to do."""
    short = TimeRange.from_ms(TEST.start_ms, TEST.start_ms + (SPACING - 1) * 60_000)
    with pytest.raises(InsufficientHistoryError, match="raise held_out"):
        evaluate({"seeing": artifact(sees, monkeypatch)}, CANDLES, short, seeds=(1,))


def test_an_example_is_what_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report draws the scores, the threshold, and incidents where something was planted."""
    model = artifact(sees, monkeypatch)
    example = take_example("seeing", model, BTC, CANDLES[BTC], TEST)
    assert len(example.scores) == len(example.open_time_ms) == 2 * DAY
    assert example.threshold == model.calibrations[BTC].cut
    assert {size for _, size, _, _ in example.planted} == set(Size)
    first, last = example.incidents[0]
    assert (example.scores[[first, last]] >= example.threshold).all()


def outcome(model: str, seed: int, vus: float) -> Outcome:
    """Return an outcome that has nothing but a VUS-PR."""
    return Outcome(model, BTC, seed, vus, vus, {}, {"spike/small": 4}, {"spike/small": 1}, 5, 1)


def test_measurably_better_takes_pairs() -> None:
    """Units differ far more than models do: compared in pairs a small steady gain is told, and a chance one is not."""
    random = np.random.default_rng(1)
    hard, noise = random.uniform(0.1, 0.9, 12), random.normal(0, 0.1, 12)
    outcomes = [
        one
        for seed in range(12)
        for one in (
            outcome("old", seed, hard[seed]),
            outcome("steady", seed, hard[seed] + 0.02 + 0.01 * noise[seed]),
            outcome("lucky", seed, hard[seed] + 0.02 + noise[seed]),
        )
    ]
    found = Evaluation(TEST, tuple(range(12)), 1.0, tuple(outcomes))
    steady, lucky = compare(found, "steady", "old"), compare(found, "lucky", "old")
    assert steady.is_better
    assert steady.low < steady.difference < steady.high
    assert not lucky.is_better
    assert compare(found, "steady", "old") == steady
    assert compare(found, "old", "steady").is_worse


def test_counts_are_summed_before_they_are_divided() -> None:
    """Precision and recall are of all units together; a budget is of all weeks together."""
    found = Evaluation(TEST, (1, 2), 1.0, (outcome("one", 1, 0.2), outcome("one", 2, 0.4)), (Given("one", BTC, 2, 3),))
    [summary] = summarise(found)
    assert (summary.vus_pr, summary.precision, summary.recall) == pytest.approx((0.3, 0.2, 0.25))
    assert summary.recall_by == {"spike/small": 0.25, "spike": 0.25}
    assert summary.incidents_per_week == 1.5
    assert per_week([]) is None


def test_few_series_have_more_seeds() -> None:
    """One series has as many units as many have, and a range that holds little is planted more often."""
    assert len(seeds_for(1, BTC.timeframe, days(0, 7))) == 12
    assert len(seeds_for(20, BTC.timeframe, days(0, 7))) == 2
    assert len(seeds_for(1, BTC.timeframe, days(0, 1))) == 12
    assert len(seeds_for(4, BTC.timeframe, TimeRange.from_ms(START_MS, START_MS + SPACING * 60_000))) == 27
