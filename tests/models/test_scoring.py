"""Scores of a range and of its newest candle."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.errors import InsufficientHistoryError, ModelError
from etl.schema import to_column
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.artifact import ALL, Artifact
from models.blocks import context_of
from models.features import to_track
from models.fitting import fit, recalibrate
from models.scorers import SCORERS
from models.scorers.lstm import to_graph
from models.scorers.recurrent import shapes
from models.scorers.scorer import Parts, Study
from models.scoring import score
from tests.models.made_up import START_MS, walk

BTC, ETH = (Series.parse(f"binance:{base}/USDT:1m") for base in ("BTC", "ETH"))
MINUTE = Timeframe.M1
COUNT = 4000
CANDLES = walk(COUNT, missing=0.05)
LEARNED, HELD_OUT = (
    TimeRange.from_ms(START_MS + first * MINUTE.ms, START_MS + end * MINUTE.ms)
    for first, end in ((0, 1500), (1500, 2500))
)


def random_parts(seed: int = 1) -> Parts:
    """Return what an LSTM has learned that nobody taught."""
    random = np.random.default_rng(seed)
    weights = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes().items()}
    return Parts(numbers=weights, graph=to_graph(weights))


@cache
def model(scorer: str) -> Artifact:
    """Return a model that knows BTC."""
    whole = TimeRange(LEARNED.start, HELD_OUT.end)
    tracks = {BTC: to_track(CANDLES, MINUTE, whole)}
    with pytest.MonkeyPatch.context() as patch:
        if scorer == "lstm":
            own = SCORERS["lstm"]
            bare = type(own)(own.name, own.doc, own.channels, lambda lessons, study: random_parts(), own.load)
            patch.setattr("models.fitting.SCORERS", {**SCORERS, "lstm": bare})
        moment = datetime(2024, 1, 1, tzinfo=UTC)
        facts = {"scope": ALL, "as_of": moment, "data_hash": "0" * 64, "budget": 1.0}
        return fit(scorer, MINUTE, tracks, LEARNED, HELD_OUT, Study(epochs=1), **facts)  # type: ignore[arg-type]


def within(span: TimeRange):  # type: ignore[no-untyped-def]  # pyarrow has no types
    """Return the candles that open in a range."""
    times = to_column(CANDLES, "open_time")
    first, end = np.searchsorted(times, [span.start_ms, span.end_ms])
    return CANDLES.slice(first, end - first)


@settings(max_examples=25)
@given(
    first=st.integers(1, COUNT - 2),
    length=st.integers(1, 700),
    scorer=st.sampled_from(["lstm", "seasonal_z", "sub_pca"]),
)
def test_the_same_numbers_whoever_asks(first: int, length: int, scorer: str) -> None:
    """A candle has the same score, to the last bit, in a pass over all and when it is asked for alone."""
    span = TimeRange.from_ms(START_MS + first * MINUTE.ms, START_MS + min(first + length, COUNT) * MINUTE.ms)
    whole = _whole(scorer)
    alone = score(within(context_of(MINUTE, span)), model(scorer), BTC, span)
    here = slice(first, first + len(alone.joined))
    np.testing.assert_array_equal(alone.joined, whole.joined[here])
    np.testing.assert_array_equal(alone.by_channel, whole.by_channel[here])
    np.testing.assert_array_equal(alone.open_time_ms, whole.open_time_ms[here])


@cache
def _whole(scorer: str):  # type: ignore[no-untyped-def]
    whole = TimeRange.from_ms(START_MS, START_MS + COUNT * MINUTE.ms)
    return score(CANDLES, model(scorer), BTC, whole)


def test_each_candle_that_is_held_has_a_score_and_no_other() -> None:
    """One number for each slot, NaN where none is held; the strangest channel is the joined score."""
    scores = _whole("lstm")
    is_held = np.isin(scores.open_time_ms, to_column(CANDLES, "open_time"))
    assert (~np.isnan(scores.joined) == is_held).all()
    assert scores.channels == SCORERS["lstm"].channels
    np.testing.assert_array_equal(np.nanmax(scores.by_channel[is_held], axis=1), scores.joined[is_held])
    assert (scores.is_anomaly == (scores.joined >= scores.threshold)).all()


def test_a_series_that_a_model_has_never_seen_is_told_so() -> None:
    """The norm of the series is not known: no score is made up."""
    with pytest.raises(ModelError, match="never seen this series"):
        score(CANDLES, model("seasonal_z"), ETH, HELD_OUT)


def test_too_little_history_names_the_series() -> None:
    """A series with hardly a candle to learn from is an error that names it."""
    short = TimeRange.from_ms(START_MS, START_MS + 50 * MINUTE.ms)
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    with pytest.raises(InsufficientHistoryError, match=r"binance:BTC/USDT:1m .* clean candles, and 200 are needed"):
        tracks = {BTC: to_track(CANDLES, MINUTE, short)}
        facts = {"scope": ALL, "as_of": moment, "data_hash": "0" * 64, "budget": 1.0}
        fit("seasonal_z", MINUTE, tracks, short, HELD_OUT, Study(), **facts)  # type: ignore[arg-type]


def test_recalibrating_changes_cuts_and_nothing_else() -> None:
    """A model is held against other candles: it judges as before, and cuts elsewhere."""
    before = model("seasonal_z")
    later = TimeRange(HELD_OUT.end, TimeRange.from_ms(START_MS, START_MS + COUNT * MINUTE.ms).end)
    after = recalibrate(before, {BTC: to_track(CANDLES, MINUTE, TimeRange(LEARNED.start, later.end))}, later)
    assert (after.held_out, after.parts, after.norms) == (later, before.parts, before.norms)
    assert after.calibrations[BTC].cut != before.calibrations[BTC].cut
