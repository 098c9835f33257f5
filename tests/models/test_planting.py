from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from etl.schema import CANDLE_SCHEMA, Flag, from_columns, to_columns
from etl.series import Series, TimeRange
from models.planting import APART, SHAPES, SPACING, Kind, Planted, Size, plant
from tests.models.made_up import START_MS, walk

BTC = Series.parse("binance:BTC/USDT:1m")
MINUTE_MS = BTC.timeframe.ms
BEFORE = 300
MARKETS = st.tuples(st.integers(0, 50), st.sampled_from((0.0, 0.02, 0.2)), st.integers(1, 30))


def after(slot: int, count: int) -> TimeRange:
    """Return `count` slots from `slot` of the made-up market on."""
    return TimeRange.from_ms(START_MS + slot * MINUTE_MS, START_MS + (slot + count) * MINUTE_MS)


def planted_into(market: int, missing: float, seed: int) -> tuple[pa.Table, pa.Table, tuple[Planted, ...]]:
    """Plant into a made-up market, behind its first candles."""
    candles = walk(BEFORE + 6 * SPACING, market, missing)
    return candles, *plant(candles, BTC, after(BEFORE, 6 * SPACING), seed)


@settings(max_examples=30)
@given(MARKETS)
def test_candles_stay_sane(case: tuple[int, float, int]) -> None:
    """Whatever is planted, prices are above zero, and lie between low and high; volumes are numbers."""
    _, changed, planted = planted_into(*case)
    columns = to_columns(changed)
    assert planted
    assert changed.schema.equals(CANDLE_SCHEMA)
    for name in ("open", "close"):
        assert (columns["low"] <= columns[name]).all()
        assert (columns[name] <= columns["high"]).all()
    assert (columns["low"] > 0).all()
    assert (np.isfinite(columns["volume"]) & (columns["volume"] >= 0)).all()


@settings(max_examples=30)
@given(MARKETS)
def test_labels_are_where_values_changed(case: tuple[int, float, int]) -> None:
    """Nothing changes outside the labels, but prices in proportion behind a level shift; each label holds a change."""
    candles, changed, planted = planted_into(*case)
    before, columns = to_columns(candles), to_columns(changed)
    slots = (before["open_time"] - START_MS) // MINUTE_MS - BEFORE
    label = np.full(len(slots), -1)
    for number, one in enumerate(planted):
        label[(slots >= one.first_slot) & (slots <= one.last_slot)] = number
    shifted = np.ones(len(slots))
    for one in planted:
        if one.kind is Kind.LEVEL_SHIFT:
            first = int(np.searchsorted(slots, one.last_slot + 1))
            shifted[first:] *= columns["close"][first] / before["close"][first] / shifted[first]
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(columns[name][label < 0], (before[name] * shifted)[label < 0], rtol=1e-12)
    for name in ("open_time", "volume", "trades", "taker_buy_volume", "flags", "source"):
        assert (columns[name][label < 0] == before[name][label < 0]).all()
    differs = _differs(before, columns)
    assert all(differs[label == number].any() for number in range(len(planted)))


def _differs(before: dict[str, NDArray[Any]], columns: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    changed = [columns[name] != before[name] for name in ("open", "high", "low", "close", "volume")]
    return np.logical_or.reduce(changed)


@settings(max_examples=20)
@given(MARKETS)
def test_what_comes_later_changes_nothing_before(case: tuple[int, float, int]) -> None:
    """With other candles from a moment on, what lies before that moment is planted all the same."""
    market, missing, seed = case
    candles, changed, _ = planted_into(*case)
    columns = to_columns(candles)
    middle = START_MS + (BEFORE + 3 * SPACING) * MINUTE_MS
    later = columns["open_time"] >= middle
    wild = from_columns({n: np.where(later, v * 3, v) if n in {"volume"} else v for n, v in columns.items()})
    again, _ = plant(wild, BTC, after(BEFORE, 6 * SPACING), seed)
    is_before = ~later
    for name in ("open", "high", "low", "close", "volume"):
        assert (to_columns(again)[name][is_before] == to_columns(changed)[name][is_before]).all()


def test_the_seed_and_the_name_say_it_all() -> None:
    """The same seed plants the same; another seed, or another series, something else."""
    candles, time_range = walk(BEFORE + 12 * SPACING), after(BEFORE, 12 * SPACING)
    first, second = plant(candles, BTC, time_range, 1), plant(candles, BTC, time_range, 1)
    assert first[0].equals(second[0])
    assert first[1] == second[1]
    assert plant(candles, BTC, time_range, 2)[1] != first[1]
    assert plant(candles, Series.parse("binance:ETH/USDT:1m"), time_range, 1)[1] != first[1]


def test_kinds_and_sizes_are_planted_alike_and_well_apart() -> None:
    """In so many stretches as there are kinds and sizes, each is planted once, and nothing close to another."""
    cells = len(Kind) * len(Size)
    _, planted = plant(walk(BEFORE + cells * SPACING), BTC, after(BEFORE, cells * SPACING), 3)
    assert set(Counter((one.kind, one.size) for one in planted).values()) == {1}
    assert len(planted) == cells
    assert all(b.first_slot - a.last_slot > APART for a, b in zip(planted, planted[1:], strict=False))
    assert all(one.last_slot - one.first_slot + 1 == SHAPES[one.kind][one.size].slots for one in planted)


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_looks_like_what_it_is_called(kind: Kind) -> None:
    """Each kind looks as a person would see it on a chart."""
    candles = walk(BEFORE + 18 * SPACING)
    changed, planted = plant(candles, BTC, after(BEFORE, 18 * SPACING), 5)
    before, now = to_columns(candles), to_columns(changed)
    [one] = [each for each in planted if each.kind is kind and each.size is Size.LARGE]
    here = slice(BEFORE + one.first_slot, BEFORE + one.last_slot + 1)
    last = now["close"][here.start - 1]
    width = (now["high"] - now["low"]) / now["close"]
    usual, volume = np.median(width[:BEFORE]), np.median(before["volume"][:BEFORE])
    looks = {
        Kind.SPIKE: width[here][0] > 20 * usual and abs(now["close"][here][0] / last - 1) < 10 * usual,
        Kind.CRASH: now["low"][here].min() < last * (1 - 25 * usual) and abs(now["close"][here][-1] / last - 1) < 0.01,
        Kind.LEVEL_SHIFT: abs(now["close"][here.stop + 30] / last - 1) > 15 * usual,
        Kind.FROZEN_PRICE: (now["high"][here] == last).all() and (now["low"][here] == last).all(),
        Kind.VOLUME_BURST: (now["volume"][here] > 100 * volume).all(),
        Kind.WASH_VOLUME: (now["volume"][here] > 10 * volume).all() and width[here].mean() < 0.5 * usual,
    }
    assert looks[kind]


def test_nothing_is_planted_where_nothing_is_held() -> None:
    """Filled candles are none, and without candles before nobody knows what is usual."""
    columns = to_columns(walk(BEFORE + 4 * SPACING))
    filled = from_columns(columns | {"flags": np.full(len(columns["flags"]), int(Flag.FILLED), dtype=np.int16)})
    assert plant(filled, BTC, after(BEFORE, 4 * SPACING), 1)[1] == ()
    fresh, planted = plant(from_columns(columns), BTC, after(0, SPACING), 1)
    assert all(one.first_slot >= 32 for one in planted)
    assert fresh.num_rows == len(columns["flags"])
