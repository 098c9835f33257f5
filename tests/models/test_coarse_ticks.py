"""Markets whose prices are so low that each move is one of a few ticks: features, and incidents within the budget."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from etl.schema import from_columns, to_columns
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe, from_ms
from models.features import FEATURES, LEAST_RETURN, Track, find_norm, normalise, tick_of, to_track
from models.fitting import fit, recalibrate
from models.incidents import find_incidents
from models.scorers.scorer import Study
from models.scoring import score_track
from tests.models.made_up import START_MS, walk

M15 = Timeframe.M15
TINY = Series.parse("binance:TINY/USDT:15m")
DAY = 96
DAYS = 62
LEARNED, CALM = (0, 41), (41, 62)
AT = {name: number for number, name in enumerate(FEATURES)}


def days(first: int, end: int) -> TimeRange:
    """Return whole days of a market."""
    return TimeRange(from_ms(START_MS + first * DAY * M15.ms), from_ms(START_MS + end * DAY * M15.ms))


def in_ticks(closes: NDArray[np.int64], tick: float) -> pa.Table:
    """Return CANDLE_SCHEMA of candles that open at the last close, by closes in ticks."""
    columns = to_columns(walk(len(closes), seed=2, timeframe=M15))
    opens = np.concatenate((closes[:1], closes[:-1]))
    prices = {"open": opens, "high": np.maximum(opens, closes), "low": np.minimum(opens, closes), "close": closes}
    return from_columns({**columns, **{name: np.round(ticks * tick, 10) for name, ticks in prices.items()}})


def steps(seed: int = 1) -> NDArray[np.int64]:
    """Return closes, in ticks, of a market that moves by one tick or none; for five days it costs a fifth."""
    random = np.random.default_rng(seed)
    moves = random.integers(-1, 2, DAYS * DAY)
    level = np.full(len(moves), 40)
    level[20 * DAY : 25 * DAY] = 8
    off = np.zeros(len(moves), dtype=np.int64)
    for slot, move in enumerate(moves[1:], 1):
        off[slot] = np.clip(off[slot - 1] + move, -4, 4)
    return level + off


def tracked(closes: NDArray[np.int64], tick: float = 1e-8) -> Track:
    """Return candles of `in_ticks` on their grid."""
    return to_track(in_ticks(closes, tick), M15, days(0, -(-len(closes) // DAY)))


@pytest.mark.parametrize("tick", [1e-8, 0.05, 2.0])
def test_the_tick_is_found_though_a_print_is_finer(tick: float) -> None:
    """One price in a hundred may be off; prices without any step have no tick."""
    closes = steps()[: 10 * DAY]
    candles = to_columns(in_ticks(closes, tick))
    candles["low"][::200] -= tick / 3
    assert tick_of(to_track(from_columns(candles), M15, days(0, 10))) == pytest.approx(tick)
    free = to_track(walk(2000, timeframe=M15), M15, days(0, 20))
    assert tick_of(free) == 0.0
    assert find_norm(free).tick == 0.0


def test_a_move_of_one_tick_is_as_large_at_any_price() -> None:
    """Each move counts one; if moves are of many ticks, they are shares of the price as ever."""
    closes = steps()[: 20 * DAY]
    low, high = tracked(closes), tracked(closes + 60)
    norm = find_norm(low)
    assert norm.tick == pytest.approx(1e-8)
    moves = [AT[name] for name in ("return", "range", "body", "place")]
    np.testing.assert_allclose(normalise(high, norm)[:, moves], normalise(low, norm)[:, moves], rtol=1e-4, atol=1e-5)
    moved = normalise(low, norm)[:, AT["return"]]
    assert {round(abs(float(one)), 4) for one in moved[~np.isnan(moved)]} == {0.0, LEAST_RETURN}
    fine = tracked(closes * 1000 + np.random.default_rng(3).integers(-900, 900, len(closes)))
    assert find_norm(fine).tick == 0.0


@pytest.mark.parametrize(
    ("scorer", "seed"),
    [
        ("lstm", 1),
        *((one, seed) for one in ("ewma_z", "sub_pca", "seasonal_z", "spectral_residual") for seed in (1, 2, 4)),
    ],
)
def test_coarse_ticks_give_no_more_than_twice_the_budget(scorer: str, seed: int) -> None:
    """Over all weeks, also those in which a tick is five times the share of the price; a jump of ten ticks is seen."""
    closes = steps(seed)
    jumped = closes.copy()
    jumped[60 * DAY :] += 10
    tracks = {TINY: tracked(closes)}
    artifact = fit(
        scorer,
        M15,
        tracks,
        days(*LEARNED),
        days(*CALM),
        Study(epochs=2),
        scope="all",
        as_of=days(*CALM).end,
        data_hash="",
        budget=1.0,
    )
    artifact = recalibrate(artifact, tracks, days(*CALM))
    found = find_incidents(score_track(tracks[TINY], artifact, TINY, days(0, DAYS)).is_anomaly)
    assert len(found) <= 2 * DAYS / 7
    scores = score_track(tracked(jumped), artifact, TINY, days(60, 61))
    assert scores.is_anomaly[0]
