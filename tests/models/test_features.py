"""Features of candles for models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.schema import Flag, from_columns, to_columns
from etl.series import TimeRange
from etl.timeframe import Timeframe
from models.features import FEATURES, REACH, find_norm, normalise, to_track
from tests.models.made_up import START_MS, walk

MINUTE = Timeframe.M1
AT = {name: number for number, name in enumerate(FEATURES)}


def minutes(first: int, end: int) -> TimeRange:
    """Return a range by minutes since the walk's start."""
    return TimeRange.from_ms(START_MS + first * MINUTE.ms, START_MS + end * MINUTE.ms)


def test_candles_come_to_lie_on_their_grid() -> None:
    """A slot without a candle is empty; the return over a gap is over its root; one that is too long has none."""
    columns = to_columns(walk(400))
    is_held = np.ones(400, dtype=np.bool_)
    is_held[10:14] = is_held[100 : 101 + REACH] = False
    track = to_track(from_columns({n: v[is_held] for n, v in columns.items()}), MINUTE, minutes(0, 400))
    assert (track.is_held == is_held).all()
    norm = find_norm(track)
    values = normalise(track, norm)
    assert np.isnan(values[10:14]).all()
    move = np.log(columns["close"][14] / columns["close"][9]) / np.sqrt(5)
    assert values[14, AT["return"]] == pytest.approx(move / norm.scale[AT["return"]], rel=1e-5)
    assert np.isnan(values[101 + REACH, AT["return"]])
    assert not np.isnan(values[101 + REACH, AT["range"]])


def test_what_is_flagged_or_made_up_is_not_learned_from() -> None:
    """A flagged candle is held and not clean; one that was filled in is neither."""
    columns = to_columns(walk(300))
    flags = columns["flags"].copy()
    flags[5], flags[6], flags[7] = Flag.PRICE_OUTLIER, Flag.FILLED, Flag.REVISED
    track = to_track(from_columns({**columns, "flags": flags}), MINUTE, minutes(0, 300))
    assert track.is_held[5:8].tolist() == [True, False, True]
    assert track.is_clean[5:8].tolist() == [False, False, True]


def test_series_become_comparable() -> None:
    """Whatever a series costs and however much of it is traded, its features are the same."""
    columns = to_columns(walk(3000))
    prices = {name: columns[name] * 1e-4 for name in ("open", "high", "low", "close")}
    cheap = from_columns(
        {**columns, **prices, "volume": columns["volume"] * 1e6, "taker_buy_volume": np.full(3000, np.nan)}
    )
    one, other = (to_track(c, MINUTE, minutes(0, 3000)) for c in (walk(3000), cheap))
    values, others = (normalise(track, find_norm(track)) for track in (one, other))
    same = [AT[name] for name in FEATURES if name != "taker_share"]
    np.testing.assert_allclose(others[:, same], values[:, same], rtol=1e-3, atol=1e-3)
    assert np.isnan(others[:, AT["taker_share"]]).all()
    centre, spread = np.nanmedian(values, axis=0), np.nanstd(values, axis=0)
    assert np.abs(centre[: AT["close"]]).max() < 0.3
    assert (spread[: AT["close"]] > 0.4).all() and (spread[: AT["close"]] < 3).all()


def test_volume_is_held_against_its_hour_of_the_week() -> None:
    """A series that trades ten times as much each Monday at nine has no strange volume then."""
    columns = to_columns(walk(3 * 7 * 1440))
    hour = (columns["open_time"] // 3_600_000 - 4 * 24) % 168
    busy = hour == 9
    volume = np.where(busy, columns["volume"] * 10, columns["volume"])
    track = to_track(from_columns({**columns, "volume": volume}), MINUTE, minutes(0, 3 * 7 * 1440))
    values = normalise(track, find_norm(track))[:, AT["volume"]]
    assert abs(np.median(values[busy]) - np.median(values[~busy])) < 0.1


@given(first=st.integers(-200, 400), length=st.integers(1, 500), missing=st.sampled_from([0.0, 0.2]))
def test_a_cut_is_what_would_have_been_made(first: int, length: int, missing: float) -> None:
    """Cutting a track equals making one of that range, also where it reaches beyond."""
    candles = walk(400, missing=missing)
    span = minutes(first, first + length)
    cut, made = to_track(candles, MINUTE, minutes(0, 400)).cut(span), to_track(candles, MINUTE, span)
    assert cut.start_ms == made.start_ms
    for name in ("is_held", "is_clean", "open", "close", "volume", "trades", "gone", "last"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(made, name), err_msg=name)


def test_a_constant_market_is_survived() -> None:
    """Prices that never move and volumes that are zero give finite features."""
    columns = to_columns(walk(2000))
    flat = {name: np.full(2000, 5.0) for name in ("open", "high", "low", "close")}
    track = to_track(from_columns({**columns, **flat, "volume": np.zeros(2000)}), MINUTE, minutes(0, 2000))
    values = normalise(track, find_norm(track))
    assert not np.isinf(values).any()
    assert np.isfinite(values[1:, AT["return"]]).all()
