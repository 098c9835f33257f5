"""Law 5, no foresight: what a model makes of a candle depends only on what closed at or before it.

Features, what normalises them, what is learned, what scores mean, thresholds and scores: each is made twice, in worlds
that differ in what comes later, and must be the same to the last bit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.schema import to_column
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.artifact import ALL, Artifact
from models.features import FEATURES, find_norm, normalise, to_track
from models.fitting import fit
from models.scorers import SCORERS
from models.scorers.lstm import to_graph
from models.scorers.recurrent import shapes
from models.scorers.scorer import Parts, Scorer, Study
from models.scoring import Scores, score
from tests.models.made_up import START_MS, walk

SERIES = Series.parse("binance:BTC/USDT:1m")
MINUTE = Timeframe.M1
COUNT = 3000
LEARN_UNTIL, CALIBRATE_UNTIL = 1200, 2000
PROMPT = ("lstm", "seasonal_z", "ewma_z", "spectral_residual", "sub_pca", "isolation_forest")
"""The autoencoder takes seconds to learn; that it looks at no later step is in tests/models/test_scorers.py."""

cuts = st.integers(1, COUNT - 1)
seeds = st.integers(0, 2**16)


def minutes(first: int, end: int) -> TimeRange:
    """Return a range by minutes since the walk's start."""
    return TimeRange.from_ms(START_MS + first * MINUTE.ms, START_MS + end * MINUTE.ms)


def world(cut: int, seed: int) -> pa.Table:
    """Return candles that are the same in all worlds before the cut; from there on other ones, some of them missing."""
    past, future = walk(COUNT, missing=0.03), walk(COUNT, seed=seed + 2, missing=0.1)
    first, other = (
        int(np.searchsorted(to_column(candles, "open_time"), START_MS + cut * MINUTE.ms)) for candles in (past, future)
    )
    return pa.concat_tables([past.slice(0, first), future.slice(other)]).combine_chunks()


@cache
def untaught() -> Parts:
    """Return what an LSTM has learned that nobody taught: what it sees is what counts here."""
    random = np.random.default_rng(1)
    weights = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes().items()}
    return Parts(numbers=weights, graph=to_graph(weights))


def trained(name: str, candles: pa.Table) -> Artifact:
    """Return a model of the scorer, from what opens before CALIBRATE_UNTIL."""
    own = SCORERS[name]
    bare = Scorer(own.name, own.doc, own.channels, lambda lessons, study: untaught(), own.load)
    tracks = {SERIES: to_track(candles, MINUTE, minutes(0, COUNT))}
    learned, held_out = minutes(0, LEARN_UNTIL), minutes(LEARN_UNTIL, CALIBRATE_UNTIL)
    with patch.dict("models.fitting.SCORERS", {"lstm": bare if name == "lstm" else SCORERS["lstm"]}):
        return fit(
            name,
            MINUTE,
            tracks,
            learned,
            held_out,
            Study(),
            scope=ALL,
            as_of=datetime(2024, 1, 1, tzinfo=UTC),
            data_hash="0" * 64,
            budget=1.0,
        )


@cache
def model(name: str) -> Artifact:
    """Return a model for scoring."""
    return trained(name, world(COUNT, 0))


def scored(name: str, candles: pa.Table) -> Scores:
    """Return the scores of all candles."""
    return score(candles, model(name), SERIES, minutes(0, COUNT))


@given(cut=cuts, seed=seeds)
def test_no_feature_looks_ahead(cut: int, seed: int) -> None:
    """Another future, or none, leaves every feature of the past as it was; normalised by itself or not."""
    norm = find_norm(to_track(world(COUNT, 0), MINUTE, minutes(0, COUNT)))
    here, there = (
        normalise(to_track(c, MINUTE, minutes(0, COUNT)), norm)[:cut] for c in (world(COUNT, 0), world(cut, seed))
    )
    np.testing.assert_array_equal(here, there)
    cut_off = to_track(world(cut, seed), MINUTE, minutes(0, cut))
    np.testing.assert_array_equal(normalise(cut_off, norm), here)
    assert here.shape == (cut, len(FEATURES))


@settings(max_examples=20)
@given(cut=cuts, seed=seeds, name=st.sampled_from(PROMPT))
def test_no_score_looks_ahead(cut: int, seed: int, name: str) -> None:
    """Another future leaves every score of the past as it was, in all channels."""
    here, there = scored(name, world(COUNT, 0)), scored(name, world(cut, seed))
    np.testing.assert_array_equal(here.joined[:cut], there.joined[:cut])
    np.testing.assert_array_equal(here.by_channel[:cut], there.by_channel[:cut])


@settings(max_examples=10)
@given(seed=seeds, name=st.sampled_from(PROMPT))
def test_what_is_learned_and_normalises_is_from_before_it_is_used(seed: int, name: str) -> None:
    """Other candles after the learned range change neither what is learned nor what normalises."""
    here, there = trained(name, world(COUNT, 0)), trained(name, world(LEARN_UNTIL, seed))
    for part in ("centre", "scale", "floor", "usual"):
        np.testing.assert_array_equal(getattr(here.norms[SERIES], part), getattr(there.norms[SERIES], part))
    assert here.parts.numbers.keys() == there.parts.numbers.keys()
    for number in here.parts.numbers:
        np.testing.assert_array_equal(here.parts.numbers[number], there.parts.numbers[number])
    assert (here.parts.facts, here.parts.graph) == (there.parts.facts, there.parts.graph)


@settings(max_examples=10)
@given(seed=seeds, name=st.sampled_from(PROMPT))
def test_no_threshold_looks_ahead(seed: int, name: str) -> None:
    """Other candles after the held-out range change neither what scores mean nor the cut."""
    here, there = trained(name, world(COUNT, 0)), trained(name, world(CALIBRATE_UNTIL, seed))
    one, other = here.calibrations[SERIES], there.calibrations[SERIES]
    np.testing.assert_array_equal(one.knots, other.knots)
    np.testing.assert_array_equal(one.tails, other.tails)
    assert one.cut == other.cut
