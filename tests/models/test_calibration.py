"""Calibration of scores, and cuts by budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from etl.timeframe import Timeframe
from models.calibration import LEAST, Judged, calibrate, find_cut, join
from models.incidents import find_incidents

WEEK = 7 * 1440


def judged(raw: NDArray[np.float32]) -> Judged:
    """Return scores of candles that are all held."""
    return Judged(raw, np.ones(len(raw), dtype=np.bool_))


@pytest.mark.parametrize("tail", ["normal", "student", "exponential"])
def test_a_level_says_how_seldom_a_score_is_exceeded(tail: str) -> None:
    """A score of level four is exceeded by about one fresh candle in ten thousand; by fewer where tails are short."""
    random = np.random.default_rng(1)
    draw = {
        "normal": random.standard_normal,
        "student": lambda n: random.standard_t(4, n),
        "exponential": random.standard_exponential,
    }[tail]
    raw = draw(4 * WEEK).astype(np.float32)[:, np.newaxis]
    calibration = calibrate(judged(raw), 1.0, Timeframe.M1)
    fresh = draw(1_000_000).astype(np.float32)[:, np.newaxis]
    joined = join(fresh, calibration)[1]
    for level, least, most in ((1, 0.9, 1.1), (2, 0.8, 1.2), (3, 0.5, 1.5), (4, 0.1, 1.5)):
        assert least < (joined >= level).mean() * 10**level < most


@pytest.mark.parametrize("budget", [0.5, 1.0, 5.0])
def test_a_cut_gives_as_many_incidents_as_the_budget_allows(budget: float) -> None:
    """On weeks that come after, drawn alike and in clusters, incidents come as often as was asked for."""
    random = np.random.default_rng(2)

    def market(weeks: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        noise = random.standard_t(5, weeks * WEEK)
        return np.convolve(noise, [1, 0.7, 0.4], mode="same")  # what is strange stays so for a while

    cuts = [find_cut(market(3), budget, Timeframe.M1) for _ in range(20)]
    later = market(60)
    given_ = np.mean([len(find_incidents(later >= cut)) / 60 for cut in cuts])
    assert budget / 2 < given_ < budget * 1.6


@given(seed=st.integers(0, 1000), channels=st.integers(1, 4))
def test_levels_rise_with_scores_and_never_end(seed: int, channels: int) -> None:
    """A score above all that were seen is stranger by level too, however strange it is."""
    random = np.random.default_rng(seed)
    raw = random.standard_normal((2000, channels)).astype(np.float32)
    calibration = calibrate(judged(raw), 1.0, Timeframe.M5)
    wilder = np.linspace(-5, 500, 200, dtype=np.float32)[:, np.newaxis].repeat(channels, axis=1)
    by_channel, joined = join(wilder, calibration)
    assert (np.diff(by_channel, axis=0) >= 0).all()
    assert (np.diff(joined[wilder[:, 0] > 4]) > 0).all()
    assert (joined == by_channel.max(axis=1)).all()


def test_a_channel_that_says_nothing_has_no_say() -> None:
    """A feature that an exchange does not give, or that never changes, leaves the joined score to the others."""
    raw = np.random.default_rng(3).standard_normal((1000, 3)).astype(np.float32)
    raw[:, 1], raw[:, 2] = np.nan, 7.0
    calibration = calibrate(judged(raw), 1.0, Timeframe.M5)
    by_channel, joined = join(raw, calibration)
    assert np.isnan(by_channel[:, 1:]).all()
    assert (joined == by_channel[:, 0]).all()
    assert np.isfinite(calibration.cut)


def test_a_common_value_is_not_strange() -> None:
    """Of many equal scores each is as common as all of them; absent candles are not judged at all."""
    raw = np.r_[np.zeros(900), np.random.default_rng(4).random(100)].astype(np.float32)[:, np.newaxis]
    by_channel = join(raw, calibrate(judged(raw), 1.0, Timeframe.M5))[0]
    assert (by_channel[:900] == 0).all()


def test_too_few_scores_raise_no_incident() -> None:
    """Nothing is an anomaly if nothing can be told of a tail."""
    raw = np.random.default_rng(5).random((LEAST - 1, 1)).astype(np.float32)
    assert calibrate(judged(raw), 1.0, Timeframe.D1).cut == np.inf


def test_a_score_in_steps_is_not_strange_for_being_barely_beyond_the_last() -> None:
    """As returns of one tick over what is usual: nearly alike, and none of them rare. Far beyond is far."""
    random = np.random.default_rng(5)
    steps = random.integers(0, 2, 2000) * random.normal(1.0, 0.01, 2000)
    calibration = calibrate(judged(steps.astype(np.float32)[:, np.newaxis]), 1.0, Timeframe.M15)
    barely, far = join(np.array([[steps.max() * 1.02], [10.0]], dtype=np.float32), calibration)[1]
    assert barely < 3
    assert far > 5


def test_the_budget_is_kept_in_wilder_years_before_and_in_calmer_ones() -> None:
    """The channel that went farther then is measured by then; the budget is kept in both ranges."""
    random = np.random.default_rng(3)
    calm, wild, two = (random.exponential(1.0, (1200, 2)).astype(np.float32) for _ in range(3))
    wild[:, 0] *= 4
    alone = calibrate(judged(calm), 7 / 30, Timeframe.D1)
    after = calibrate(judged(calm), 7 / 30, Timeframe.D1, judged(wild))
    assert (join(wild, alone)[1] >= alone.cut).mean() > 0.2
    assert 0.01 < (join(wild, after)[1] >= after.cut).mean() <= 1 / 30
    np.testing.assert_array_equal(after.knots[1], max((alone.knots[1], _fit(wild)[1]), key=lambda knots: knots[-1]))
    calmer = calibrate(judged(wild), 7 / 30, Timeframe.D1, judged(calm))
    assert 0.01 < (join(wild, calmer)[1] >= calmer.cut).mean() <= 1 / 30
    few = calibrate(judged(two), 7 / 30, Timeframe.D1, judged(two[:10]))
    assert few.cut == calibrate(judged(two), 7 / 30, Timeframe.D1).cut


def _fit(raw: NDArray[np.float32]) -> NDArray[np.float64]:
    return calibrate(judged(raw), 7 / 30, Timeframe.D1).knots
