"""Coarse candles of years in which a market grew a thousandfold: few are anomalies, and a crash still is one."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from etl.learning import Learning
from etl.schema import from_columns, to_columns
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe, from_ms
from models.blocks import context_of
from models.calibration import find_cut
from models.features import Track, find_norm, to_track
from models.fitting import fit
from models.incidents import find_incidents, merge_at
from models.recent import reach_of, slots_before
from models.scorers.scorer import Study
from models.scoring import score, score_track
from tests.models.made_up import START_MS, walk

COUNT, HELD_OUT = 2500, 504
CRASH = 1500


def slots(first: int, end: int, timeframe: Timeframe) -> TimeRange:
    """Return a range by slots since the walk's start."""
    return TimeRange(from_ms(START_MS + first * timeframe.ms), from_ms(START_MS + end * timeframe.ms))


@cache
def grown(timeframe: Timeframe) -> Track:
    """Return a market whose volumes grow a thousandfold and whose moves halve; it is erratic while it is thin.

    At CRASH the price falls by ten usual ranges.
    """
    columns = {name: values.copy() for name, values in to_columns(walk(COUNT, seed=4, timeframe=timeframe)).items()}
    age, random = np.linspace(0, 1, COUNT), np.random.default_rng(4)
    size = 20 * np.exp(-0.7 * age)
    for name in ("open", "high", "low"):
        columns[name] = np.log(columns[name] / columns["close"]) * size
    moves = np.diff(np.log(columns["close"]), prepend=np.log(100.0)) * size
    moves[CRASH] = -10 * np.median(columns["high"] - columns["low"])
    columns["close"] = 100 * np.exp(np.cumsum(moves))
    for name in ("open", "high", "low"):
        columns[name] = columns["close"] * np.exp(columns[name])
    columns["open"][1:] = columns["close"][:-1]
    columns["high"] = np.maximum(columns["high"], np.maximum(columns["open"], columns["close"]))
    columns["low"] = np.minimum(columns["low"], np.minimum(columns["open"], columns["close"]))
    columns["volume"] = 1000**age * np.exp(random.normal(0, 1.5 - age))
    columns["taker_buy_volume"] = columns["volume"] * 0.5
    return to_track(from_columns(columns), timeframe, slots(0, COUNT, timeframe))


@pytest.mark.parametrize("timeframe", [Timeframe.H1, Timeframe.H4, Timeframe.H12, Timeframe.D1])
@pytest.mark.parametrize("scorer", ["seasonal_z", "ewma_z", "spectral_residual", "sub_pca", "isolation_forest"])
def test_years_of_growth_are_no_anomaly(scorer: str, timeframe: Timeframe) -> None:
    """Judged by a model of their end, with hindsight; and the years to come, by one of their beginning."""
    series, track = Series("binance", "BTC/USDT", timeframe), grown(timeframe)
    budget = Learning().budget_at(timeframe)
    for end, judged in ((COUNT, (0, COUNT)), (COUNT // 2, (COUNT // 2, COUNT))):
        learned, held_out = slots(0, end - HELD_OUT, timeframe), slots(end - HELD_OUT, end, timeframe)
        facts = {"scope": "all", "as_of": held_out.end, "data_hash": "", "budget": budget}
        artifact = fit(scorer, timeframe, {series: track}, learned, held_out, Study(), **facts)  # type: ignore[arg-type]
        is_anomaly = score_track(track, artifact, series, slots(*judged, timeframe)).is_anomaly
        weeks = len(is_anomaly) * timeframe.ms / (7 * 86_400_000)
        assert is_anomaly.mean() <= 0.09
        assert len(find_incidents(is_anomaly, merge_at(timeframe))) <= 2 * budget * weeks + 5
        # What stands out of a spectrum needs a longer crash than one candle.
        assert is_anomaly[CRASH - judged[0]] or scorer == "spectral_residual"


def test_what_was_usual_lately_is_the_same_whoever_asks() -> None:
    """A candle's score needs the candles that `context_of` names, and none before them; later ones change nothing."""
    candles, timeframe = walk(3000, seed=4, missing=0.1, timeframe=Timeframe.H4), Timeframe.H4
    series, track = Series("binance", "BTC/USDT", timeframe), to_track(candles, timeframe, slots(0, 3000, timeframe))
    learned, held_out = slots(0, 1500, timeframe), slots(1500, 2100, timeframe)
    facts = {"scope": "all", "as_of": held_out.end, "data_hash": "", "budget": 1.0}
    artifact = fit("seasonal_z", timeframe, {series: track}, learned, held_out, Study(), **facts)  # type: ignore[arg-type]
    whole = score_track(track, artifact, series, slots(0, 3000, timeframe))
    opened = to_columns(candles)["open_time"]
    for first, count in ((2200, 1), (2305, 300), (2047, 2)):
        span = slots(first, first + count, timeframe)
        context = context_of(timeframe, span)
        low, high = np.searchsorted(opened, (context.start_ms, context.end_ms))
        alone = score(candles.slice(low, high - low), artifact, series, span)
        np.testing.assert_array_equal(alone.by_channel, whole.by_channel[first : first + count])


def test_a_cut_is_kept_by_candles_too() -> None:
    """A budget of incidents is no licence for months in which each candle is an anomaly."""
    wild = np.random.default_rng(1).exponential(1.0, 600)
    wild[100:400] += 20.0
    cut = find_cut(wild, 7 / 30, Timeframe.D1)
    assert np.mean(wild >= cut) <= 1 / 30


def test_fine_candles_are_held_against_their_own_history() -> None:
    """Up to `30m`, where it is 90 days; nothing more is read for them."""
    assert [slots_before(one) for one in (Timeframe.M1, Timeframe.M30, Timeframe.H1, Timeframe.D1)] == [0, 0, 144, 128]
    assert reach_of(Timeframe.M1) == 0
    assert not find_norm(to_track(walk(3000), Timeframe.M1, slots(0, 3000, Timeframe.M1))).lately.any()
