"""Laws of every scorer: no foresight, no neighbours, parts that survive; and what each one is about."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.errors import ArtifactError, InsufficientHistoryError
from models.blocks import BLOCK, CONTEXT, ROWS, STEPS
from models.features import FEATURES
from models.scorers import SCORERS, autoencoder, ewma_z, foretelling, isolation_forest, seasonal_z, sub_pca
from models.scorers.local import NEAR, localise
from models.scorers.scorer import Floats, Lesson, Parts, Progress, Study
from models.scorers.windows import draw_windows

EACH = pytest.mark.parametrize("name", SCORERS)
AT = {name: number for number, name in enumerate(FEATURES)}
QUIET = ("trades", "taker_share")
"""Features that many exchanges do not give."""
TOLD: list[Progress] = []


def market(count: int, seed: int, *, without: tuple[str, ...] = ()) -> Floats:
    """Return (count, len(FEATURES)) of a made-up market, on minutes, that is calm."""
    rng = np.random.default_rng(seed)
    drawn = dict(zip(FEATURES, rng.standard_t(6, (len(FEATURES), count)), strict=True))
    drawn["volume"] += drawn["range"]
    drawn["place"] = np.tanh(drawn["place"])
    walk = np.cumsum(drawn["return"])
    drawn["close"] = (walk - walk.mean()) / walk.std()
    angle = np.arange(count) % 1440 * (2 * np.pi / 1440)
    drawn["day_sin"], drawn["day_cos"] = np.sin(angle), np.cos(angle)
    drawn |= dict.fromkeys(without, np.full(count, np.nan))
    return np.stack([drawn[name] for name in FEATURES], axis=1).astype(np.float32)


def lessons(*, without: tuple[str, ...] = ()) -> list[Lesson]:
    """Return two series of one and a half days, in each of which some candles are not clean and very wild."""
    made = []
    for seed in (1, 2):
        values = market(2160, seed, without=without)
        is_clean = np.random.default_rng(seed).random(len(values)) > 0.002
        values[~is_clean] *= 1e4
        made.append(Lesson(values, is_clean))
    return made


def rows(count: int, seed: int, *, without: tuple[str, ...] = ()) -> Floats:
    """Return a batch: so many rows in which candles are held, the others empty."""
    batch = np.full((ROWS, STEPS, len(FEATURES)), np.nan, dtype=np.float32)
    for number in range(count):
        batch[number] = market(STEPS, seed + number, without=without)
    return batch


@pytest.fixture(autouse=True, scope="module")
def soon_trained() -> Iterator[None]:
    """Let the autoencoder learn from few windows: how well it draws is not at stake here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoencoder, "_MOST", 512)
        yield


@cache
def fitted(name: str, *, without: tuple[str, ...] = ()) -> Parts:
    """Let a scorer learn, once."""
    return SCORERS[name].fit(lessons(without=without), Study(epochs=1, watch=TOLD.append))


@EACH
def test_a_scorer_has_no_foresight_and_no_neighbours(name: str) -> None:
    """Whatever comes after a candle, and whatever other rows hold, its score stays as it is, to the last bit."""
    judge = SCORERS[name].load(fitted(name))
    before = rows(3, 10)
    before[0, 200:210], before[0, 300] = np.nan, np.nan
    scores = judge(before)

    @settings(max_examples=8, deadline=None)
    @given(st.integers(CONTEXT, STEPS - 1), st.integers(0, ROWS - 1), st.sampled_from([np.nan, 0.0, -1e6, 1.0]))
    def holds(last: int, place: int, factor: float) -> None:
        changed = market(STEPS * ROWS, last).reshape(ROWS, STEPS, -1)[: place + 2] * np.float32(factor)
        after = np.full_like(before, np.nan)
        after[: len(changed)] = changed[:ROWS]
        after[place, : last + 1] = before[0, : last + 1]
        np.testing.assert_array_equal(judge(after)[place, : last + 1 - CONTEXT], scores[0, : last + 1 - CONTEXT])

    holds()


@EACH
def test_parts_survive_a_journey(name: str) -> None:
    """Parts are plain numbers, JSON and bytes; what is loaded from a copy of them judges alike."""
    parts = fitted(name)
    for key, numbers in parts.numbers.items():
        assert re.fullmatch(r"[a-z0-9_]+", key)
        assert numbers.dtype.kind in "fiu"
    copied = Parts(
        {key: np.array(numbers) for key, numbers in parts.numbers.items()},
        json.loads(json.dumps(parts.facts)),
        copy.copy(parts.graph),
    )
    batch = rows(2, 20)
    here, there = SCORERS[name].load(parts)(batch), SCORERS[name].load(copied)(batch)
    assert here.shape == (ROWS, BLOCK, len(SCORERS[name].channels))
    assert here.dtype == np.float32
    np.testing.assert_array_equal(here, there)


@EACH
def test_a_seed_fixes_what_is_learned(name: str) -> None:
    """The same lessons and seed give the same parts, bit for bit."""
    once, again = fitted(name), SCORERS[name].fit(lessons(), Study(epochs=1))
    assert once.graph == again.graph
    assert once.facts == again.facts
    assert once.numbers.keys() == again.numbers.keys()
    for key in once.numbers:
        np.testing.assert_array_equal(once.numbers[key], again.numbers[key])


@EACH
def test_a_spike_is_stranger_than_all_calm_candles(name: str) -> None:
    """A candle that leaps, wide and with a burst of volume, is told by some channel before every candle before it."""
    batch = rows(1, 30)
    at = BLOCK - 20
    for feature, size in (("return", 60), ("body", 60), ("range", 12), ("volume", 15), ("trades", 15), ("close", 60)):
        batch[0, CONTEXT + at, AT[feature]] += size
    scores = SCORERS[name].load(fitted(name))(batch)[0]
    assert (scores[at] > scores[:at].max(axis=0)).any()


@EACH
def test_what_is_not_known_hurts_nobody(name: str) -> None:
    """Absent candles, columns that no exchange gives and wild values: every candle that is held has a finite score."""
    judge = SCORERS[name].load(fitted(name, without=QUIET))
    batch = rows(2, 40, without=QUIET)
    batch[0, 100:400], batch[0, 450], batch[1, 300] = np.nan, np.nan, batch[1, 300] * 1e6
    scores = judge(batch)
    is_held = ~np.isnan(batch[:, -BLOCK:]).all(axis=-1)
    is_held[0, 400 - CONTEXT : 420 - CONTEXT] = False  # so soon after a gap nothing need be said
    assert np.isfinite(scores[is_held]).any(axis=-1).all()
    assert not np.isinf(scores).any()


@EACH
def test_parts_of_another_scorer_are_refused(name: str) -> None:
    """A scorer does not load what another one learned."""
    for other in SCORERS:
        if other != name and (fitted(other).numbers or fitted(other).graph):
            with pytest.raises(ArtifactError):
                SCORERS[name].load(fitted(other))


def test_numbers_that_cannot_be_are_refused() -> None:
    """Deviations of zero and numbers that are none do not make a judge."""
    parts = fitted("seasonal_z")
    for wrong in (0.0, np.nan):
        with pytest.raises(ArtifactError, match="deviation"):
            seasonal_z.load(Parts(dict(parts.numbers) | {"deviation": parts.numbers["deviation"] * wrong}))


@EACH
def test_too_little_to_learn_from_is_said(name: str) -> None:
    """Without a clean candle nothing is learned, where there is something to learn."""
    if not fitted(name).numbers and fitted(name).graph is None:
        return
    dirty = [Lesson(lesson.values, np.zeros_like(lesson.is_clean)) for lesson in lessons()]
    with pytest.raises(InsufficientHistoryError):
        SCORERS[name].fit(dirty, Study(epochs=1))


def test_windows_to_learn_from_hold_clean_candles_only() -> None:
    """Windows are whole, in their order, and touch no candle that is held, but not clean."""
    numbered = np.repeat(np.arange(400, dtype=np.float32)[:, np.newaxis], len(FEATURES), axis=1)
    is_clean = np.random.default_rng(1).random(400) > 0.05
    lesson = Lesson(numbered, is_clean)
    windows, ages = draw_windows([lesson, lesson], 7, 10_000, np.random.default_rng(2))
    slots = windows[..., 0].astype(int)
    assert (np.diff(slots, axis=1) == 1).all()
    assert is_clean[slots].all()
    assert len(slots) == 2 * sum(is_clean[k : k + 7].all() for k in range(394))
    np.testing.assert_allclose(ages, slots[:, -1] / 400)


def test_an_hour_is_judged_by_itself() -> None:
    """A move that is common in a wild hour is strange in a quiet one."""
    values = market(14400, 3)
    is_wild = np.arange(14400) // 60 % 24 == 5
    values[is_wild, AT["return"]] *= 10
    parts = seasonal_z.fit([Lesson(values, np.ones(14400, np.bool_))], Study())
    batch = rows(1, 50)
    batch[0, :, AT["return"]] = 10.0
    returns = seasonal_z.load(parts)(batch)[0, :, 0]
    hours = np.arange(CONTEXT, STEPS) // 60 % 24
    assert returns[hours == 6].min() > 5 * returns[hours == 5].max()


def test_a_candle_does_not_widen_what_it_is_judged_by() -> None:
    """EWMA: a return twice as large is twice as strange, but for a tick; the next one is less strange."""
    judge = ewma_z.load(fitted("ewma_z"))
    batch = rows(1, 60)
    batch[0, 400, 0] = 5.0
    once = judge(batch)[0, :, 0]
    batch[0, 400, 0] = 10.0
    twice = judge(batch)[0, :, 0]
    at = 400 - CONTEXT
    assert 2 * once[at] <= twice[at] < 2.01 * once[at]
    assert twice[at + 1] < once[at + 1]


def test_a_half_life_is_as_long_as_calm_candles_need() -> None:
    """EWMA: a volatility that lasts is followed closely, one that turns every few minutes is not."""
    found = []
    for calm in (20, 4000):
        rng = np.random.default_rng(4)
        values = market(20_000, 4)
        values[:, 0] = rng.normal(size=20_000) * np.where(np.arange(20_000) // calm % 2, 8.0, 1.0)
        lesson = Lesson(values, np.ones(20_000, np.bool_))
        found.append(ewma_z.fit([lesson], Study()).numbers["half_life"][0])
    assert found[0] > found[1]


def test_the_forest_is_scikit_learns() -> None:
    """Trees kept as a graph score as scikit-learn scores them."""
    points = np.random.default_rng(5).normal(size=(ROWS * BLOCK, 11)).astype(np.float32)
    forest = isolation_forest.grow(points, seed=3)
    run = isolation_forest.graphs.run(isolation_forest.to_graph(forest))
    np.testing.assert_allclose(np.exp2(run(points)[0][:, 0]), -forest.score_samples(points), rtol=1e-5)


def test_distance_is_weighed_by_what_varies() -> None:
    """Sub-PCA: with nothing clipped it is the distance of Mahalanobis, per candle of the window."""
    values = np.clip(market(4000, 6), -7, 7)
    lesson = Lesson(values, np.ones(4000, np.bool_))
    windows, _ = draw_windows([lesson], sub_pca.LENGTH, 10_000, np.random.default_rng(0))
    batch = rows(1, 70)
    score = sub_pca.load(sub_pca.fit([lesson], Study()))(batch)[0, -1, 0]
    returns = windows[..., 0].astype(np.float64) - windows[..., 0].mean()
    off = batch[0, -sub_pca.LENGTH :, 0] - windows[..., 0].mean()
    squared = off @ np.linalg.inv(returns.T @ returns / len(returns)) @ off
    assert score == pytest.approx(np.sqrt(squared / sub_pca.LENGTH), rel=1e-4)


def test_the_autoencoder_goes_on_where_it_stopped_and_judges_as_keras_does() -> None:
    """The graph's errors are Keras', from the weights that a next training begins with; each epoch is told."""
    model = autoencoder._model(Study(begin_with=fitted("autoencoder")))
    batch = rows(1, 80)
    windows = np.lib.stride_tricks.sliding_window_view(batch[0, :, AT["close"]], autoencoder.LENGTH)[-BLOCK:, :, None]
    errors = np.abs(np.asarray(model(windows)) - windows).mean(axis=(1, 2))
    np.testing.assert_allclose(autoencoder.load(fitted("autoencoder"))(batch)[0, :, 0], errors, atol=1e-5)
    assert TOLD[-1].epochs == 1
    assert TOLD[-1].loss is not None


def test_a_leap_is_told_between_neighbours_alone() -> None:
    """Over slots without a candle a price moves and no body shows it: its return is judged by their count, no leap."""
    values = market(STEPS, seed=3)[np.newaxis].copy()
    gap = slice(STEPS - 40, STEPS - 30)
    values[:, gap] = np.nan
    aims = foretelling.aim(localise(values, NEAR))[0]
    told = dict(zip((head.channel for head in foretelling.HEADS), aims.T, strict=True))
    assert np.isnan(told["leap"][gap.stop])
    assert np.isfinite(told["return"][gap.stop])
    assert np.isfinite(told["leap"][gap.stop + 1 :]).all()
