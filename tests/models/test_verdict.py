"""Choice of the champion, by what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from etl.series import Series, TimeRange
from models.results import Evaluation, Given, Outcome, incidents_in_words
from models.verdict import Standing, reach_verdict

BTC, ETH = (Series.parse(f"binance:{symbol}/USDT:1m") for symbol in ("BTC", "ETH"))
TEST = TimeRange(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 8, tzinfo=UTC))


def _measured(vus: Mapping[str, float], series: Mapping[str, Sequence[Series]] | None = None) -> Evaluation:
    """Return an evaluation in which each model has about that VUS-PR in each of 12 units of a series that it knows."""
    noise = np.random.default_rng(1).normal(0, 0.01, (len(vus), 12))
    noise -= noise.mean(axis=1, keepdims=True)
    outcomes = [
        Outcome(model, one, seed, mean + float(noise[number, seed]), 0.0, {}, {}, {}, 0, 0)
        for number, (model, mean) in enumerate(vus.items())
        for one in (series or {}).get(model, [BTC])
        for seed in range(12)
    ]
    return Evaluation(TEST, tuple(range(12)), 1.0, tuple(outcomes))


@pytest.mark.parametrize(
    ("vus", "champion", "said"),
    [
        ({"lstm": 0.50, "z": 0.30, "lstm 1m/1": 0.50}, "lstm 1m/1", "stays champion: no model of this night is"),
        ({"lstm": 0.60, "z": 0.30, "lstm 1m/1": 0.50}, "lstm", "lstm replaces lstm 1m/1: it is measurably better"),
        ({"lstm": 0.60, "z": 0.70, "lstm 1m/1": 0.50}, "z", "The baseline z replaces lstm 1m/1"),
        ({"lstm": 0.60, "z": 0.601, "lstm 1m/1": 0.50}, "lstm", "baseline z did best, though not measurably better"),
        ({"lstm": 0.40, "z": 0.45, "lstm 1m/1": 0.50}, "lstm 1m/1", "the baseline z did best, measurably better"),
    ],
)
def test_a_champion_yields_to_what_is_measurably_better(vus: Mapping[str, float], champion: str, said: str) -> None:
    """Noise replaces nobody; a baseline has to be better than the candidate as well, and it is said when one is."""
    verdict = reach_verdict(_measured(vus), Standing("lstm", "lstm 1m/1"))
    assert verdict.champion == champion
    assert said in verdict.reason
    assert {one.model for one in verdict.comparisons} == {"lstm", "z"}


def test_without_a_champion_the_best_is_one() -> None:
    """Be it a baseline; and why there is none that can be used is said first."""
    evaluation = _measured({"lstm": 0.50, "z": 0.60})
    assert reach_verdict(evaluation, Standing("lstm")).reason.startswith("There was no champion. The baseline z has")
    broken = reach_verdict(evaluation, Standing("lstm", trouble="1m/7 cannot be used (it is cut off)"))
    assert broken.champion == "z"
    assert broken.reason.startswith("1m/7 cannot be used (it is cut off); the best of this night judges.")


def test_a_series_that_the_champion_does_not_know_is_reason_enough() -> None:
    """A model that knows it takes over unless it is measurably worse on what both know."""
    knows = {"lstm": [BTC, ETH], "z": [BTC, ETH], "lstm 1m/1": [BTC]}
    standing = Standing("lstm", "lstm 1m/1", [ETH])
    as_good = reach_verdict(_measured({"lstm": 0.50, "z": 0.501, "lstm 1m/1": 0.50}, knows), standing)
    assert as_good.champion == "lstm"
    assert "it knows binance:ETH/USDT:1m, which that does not, and is not measurably worse" in as_good.reason
    worse = reach_verdict(_measured({"lstm": 0.40, "z": 0.40, "lstm 1m/1": 0.50}, knows), standing)
    assert worse.champion == "lstm 1m/1"


@pytest.mark.parametrize(
    ("count", "said"),
    [(1.0, "1 incident"), (0.2333, "0.233 incidents"), (2.0, "2 incidents"), (1.34, "1.34 incidents")],
)
def test_a_number_of_incidents_has_the_form_of_what_is_shown(count: float, said: str) -> None:
    """One is singular, and no fraction is."""
    assert incidents_in_words(count) == said


@pytest.mark.parametrize(
    ("loud", "told"),
    [
        ({"incidents": 30}, "30.0 incidents a week against a budget of 1"),
        ({"anomalies": 4_000}, "40% of the candles are anomalies, which run into one another"),
    ],
)
def test_a_model_far_above_the_budget_is_no_champion(loud: Mapping[str, int], told: str) -> None:
    """By incidents, or by candles where these run into one another; and the reason has the figure that decided."""

    def given(*names: str) -> Evaluation:
        found = _measured({"lstm": 0.50, "z": 0.70, "lstm 1m/1": 0.60})
        each = [
            Given(
                name,
                BTC,
                1.0,
                **({"incidents": 1, "anomalies": 9, "candles": 10_080} | (loud if name in names else {})),
            )
            for name in found.models
        ]
        return replace(found, given=tuple(each))

    new, old = Standing("lstm"), Standing("lstm", "lstm 1m/1")
    assert reach_verdict(given(), old).reason.startswith("The baseline z replaces lstm 1m/1: it is measurably better")
    first = reach_verdict(given("z", "lstm 1m/1"), new)
    assert first.champion == "lstm"
    left = f"Not considered: z ({told}); lstm 1m/1 ({told})."
    assert f"lstm has the highest VUS-PR, 0.500. {left}" in first.reason
    assert reach_verdict(given("z"), old).champion == "lstm 1m/1"
    replaced = reach_verdict(given("lstm 1m/1", "z"), old)
    assert replaced.champion == "lstm"
    assert (
        f"replaces lstm 1m/1, whose cut gave far more than the alert budget: on the test days {told}."
        in replaced.reason
    )
    stale = reach_verdict(given(), replace(old, overrun=told))
    assert stale.champion == "z"
    assert f"whose cut gave far more than the alert budget: since it was made {told}." in stale.reason
    assert reach_verdict(given("lstm", "z", "lstm 1m/1"), old).champion == "z", "of models that are all loud, the best"
