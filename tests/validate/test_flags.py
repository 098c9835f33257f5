"""Flagging: what is strange is found where it begins, and what is merely lively is left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from etl.rules import FLAGS_VERSION, Rules
from etl.schema import RULE_FLAGS, Flag
from etl.timeframe import Timeframe, to_ms
from etl.validate import FLAGGING, flag_candles
from tests.validate.wild import MINUTE_MS, calm, to_table, wild

AT = 400
RULES = Rules()
Columns = dict[str, NDArray[Any]]


def plant(columns: Columns, kind: str, at: int) -> Columns:
    """Return columns with one thing wrong from candle `at` on, which lies in a quiet minute."""
    changed = {name: values.copy() for name, values in columns.items()}
    close = changed["close"]
    if kind == "wick of 2 %":
        changed["low"][at] = close[at - 1] * 0.98
    elif kind == "a thousand times the volume":
        changed["volume"][at] = 1000 * np.median(changed["volume"][at - 60 : at])
    elif kind == "jump of 5 %":
        for name in ("open", "high", "low", "close"):
            changed[name][at:] *= 1.05
    elif kind == "30 frozen minutes":
        for name in ("open", "high", "low", "close"):
            changed[name][at : at + 30] = close[at - 1]
        changed["volume"][at : at + 30] += 1e-3
    elif kind == "90 minutes without volume":
        for name in ("open", "high", "low", "close"):
            changed[name][at : at + 90] = close[at - 1]
        changed["volume"][at : at + 90] = 0.0
    elif kind == "high below close":
        changed["high"][at] = changed["low"][at] = close[at] * 0.9995
    return changed


PLANTED = {
    "wick of 2 %": (Flag.PRICE_OUTLIER, AT, AT + 1),
    "a thousand times the volume": (Flag.VOLUME_OUTLIER, AT, AT + 1),
    "jump of 5 %": (Flag.JUMP | Flag.PRICE_OUTLIER, AT, AT + 1),
    "30 frozen minutes": (Flag.FROZEN_PRICE, AT + RULES.frozen_after - 1, AT + 30),
    "90 minutes without volume": (Flag.ZERO_VOLUME_RUN, AT + RULES.zero_volume_after - 1, AT + 90),
    "high below close": (Flag.OHLC_TOLERATED, AT, AT + 1),
}


def found(columns: Columns, timeframe: Timeframe = Timeframe.M1, rules: Rules = RULES) -> NDArray[np.int16]:
    """Return what the rules find strange, (n,) bits."""
    return flag_candles(to_table(columns), timeframe, rules) & np.int16(RULE_FLAGS)


def test_what_was_flagged_by_another_version_is_told_by_its_name() -> None:
    """It is not held to today's rules: who changes what they find raises FLAGS_VERSION, and writes the hash here."""
    tables = [to_table(make(3000, seed)) for make in (calm, wild) for seed in (1, 2)]
    strict = Rules(price_limit=4, volume_limit=2, volume_floor=2)
    bits = b"".join(flag_candles(table, Timeframe.M1, strict).tobytes() for table in tables)
    assert (FLAGS_VERSION, sha256(bits).hexdigest()[:16]) == (2, "fcccf33ecbd45d1a")
    others = [RULES.flagging([60_000]), Rules(jump_pct=3).flagging([]), Rules(off=frozenset({"jump"})).flagging([])]
    assert len({RULES.flagging([]), *others}) == 4
    assert Rules().flagging([]) == RULES.flagging([])


@pytest.mark.parametrize("kind", PLANTED)
def test_what_is_planted_is_flagged_and_nothing_else(kind: str) -> None:
    """In a quiet market each defect is flagged, a run from where it is long enough, and no candle around it."""
    flag, start, end = PLANTED[kind]
    expected = np.zeros(600, dtype=np.int16)
    expected[start:end] = flag
    assert found(plant(calm(600), kind, AT)).tolist() == expected.tolist()


def test_a_volatile_hour_is_held_to_its_own_measure() -> None:
    """A move of 2 % is strange in a quiet market, and not where every minute moves by one."""
    columns = calm(600)
    stirred = 1 + 0.01 * np.random.default_rng(1).random(600)
    columns["high"], columns["low"] = columns["high"] * stirred, columns["low"] / stirred
    columns["high"][AT] = columns["close"][AT - 1] * 1.02
    assert not found(columns).any()


def test_minutes_without_trades_do_not_make_the_others_strange() -> None:
    """The few minutes that trade are not held to the stillness of the rest."""
    columns = calm(600)
    is_empty = np.arange(600) % 10 < 6
    columns["volume"][is_empty] = 0.0
    for name in ("open", "high", "low", "close"):
        columns[name] = np.full(600, 100.0)
    columns["high"][~is_empty] = 102.5
    assert not found(columns).any()


@pytest.mark.parametrize("lookback_slots", [22, 45, 1000])
@pytest.mark.parametrize(("lookback", "width"), [(20, 9), (21, 10), (22, 10)])
def test_a_candle_is_held_to_those_before_it_and_not_to_itself(lookback: int, width: int, lookback_slots: int) -> None:
    """Outliers are what their definition says, candle by candle: a value looks back, and its deviation as far again.

    Both together, with the last close before the first value, fit into the lookback.
    """
    assert 2 * width + 1 <= lookback
    rules = Rules(
        lookback=lookback,
        lookback_slots=lookback_slots,
        volume_limit=1.0,
        volume_floor=1.0,
        volume_ceiling=50.0,
        frozen_after=5,
        zero_volume_after=5,
    )
    for seed in range(5):
        columns = wild(200, seed)
        traded = columns["volume"] > 0
        times, logs = columns["open_time"][traded] // MINUTE_MS, np.log(columns["volume"][traded])
        reach = (lookback_slots - 1) // 2
        excess = [logs[k] - median_before(logs, times, k, width, reach) for k in range(len(logs))]
        spread = [1.4826 * median_before(np.abs(excess), times, k, width, reach) for k in range(len(logs))]
        strange = {k for k, off in enumerate(excess) if off > np.log(50) or (off > 0 and off > spread[k])}
        flags = flag_candles(to_table(columns), Timeframe.M1, rules)
        assert set(np.flatnonzero(flags[traded] & Flag.VOLUME_OUTLIER).tolist()) == strange
        assert (flags[traded] & Flag.UNJUDGED != 0).tolist() == np.isnan(spread).tolist()
        assert not (flags[~traded] & Flag.UNJUDGED).any(), "what was not traded needs no judging"


def median_before(values: Any, times: Any, at: int, width: int, reach: int) -> float:
    """Return the median of the `width` values before `at` within `reach` slots, of which half must be known."""
    before = range(max(0, at - width), at)
    known = [values[k] for k in before if times[at] - times[k] <= reach and not np.isnan(values[k])]
    return float(np.median(known)) if 2 * len(known) >= width else float("nan")


@pytest.mark.parametrize("silent_pct", [50, 90, 98])
@pytest.mark.parametrize("prints_empty", [False, True])
def test_a_thin_market_is_judged_by_its_last_candles(silent_pct: int, prints_empty: bool) -> None:
    """However far back they are: a wick and a burst are found where most minutes are silent, printed or not."""
    count = 600 * 100 // (100 - silent_pct)
    columns = calm(count, seed=silent_pct)
    trades = np.random.default_rng(1).permutation(count)[:600]
    is_silent = ~np.isin(np.arange(count), trades)
    last = columns["close"][np.maximum.accumulate(np.where(is_silent, 0, np.arange(count)))]
    for name in ("open", "high", "low", "close"):
        columns[name][is_silent] = last[is_silent]
    columns["volume"][is_silent] = 0.0
    at = np.flatnonzero(~is_silent)[AT]
    columns["low"][at] = min(columns["open"][at], columns["close"][at]) * 0.96
    columns["volume"][at] = 1000 * np.median(columns["volume"][~is_silent])
    kept = {name: values if prints_empty else values[~is_silent] for name, values in columns.items()}
    flags = flag_candles(to_table(kept), Timeframe.M1, Rules(zero_volume_after=120, jump_pct=50))
    traded = flags[kept["volume"] > 0]
    assert traded[AT] & Flag.PRICE_OUTLIER
    assert traded[AT] & Flag.VOLUME_OUTLIER
    assert np.flatnonzero(traded & Flag.UNJUDGED).tolist() == list(range(60))
    assert not (flags[kept["volume"] == 0] & Flag.UNJUDGED).any()


def test_what_lies_too_far_back_judges_nothing() -> None:
    """Candles a day apart at `1m` are too few within the limit: each is counted as not judged, and none flagged."""
    columns = calm(300)
    columns["open_time"] = columns["open_time"] * 1440
    columns["volume"][200] *= 10_000
    assert flag_candles(to_table(columns), Timeframe.M1, RULES).tolist() == [Flag.UNJUDGED] * 300
    near = flag_candles(to_table(columns), Timeframe.M1, Rules(lookback_slots=100_000))
    assert not near[60:200].any(), "the reach is a setting"
    off = Rules(off=frozenset({"price_outlier", "volume_outlier"}))
    assert not flag_candles(to_table(columns), Timeframe.M1, off).any(), "nothing is left unjudged by what is off"


def test_a_wide_candle_of_a_wide_timeframe_is_no_outlier() -> None:
    """The limit of a strange move grows with the square root of the timeframe."""
    columns = plant(calm(600), "wick of 2 %", AT)
    columns["open_time"] = columns["open_time"] * 60
    assert not found(columns, Timeframe.H1).any()


def test_a_rule_that_is_off_flags_nothing() -> None:
    """The others still do."""
    columns = plant(calm(600), "jump of 5 %", AT)
    flags = found(columns, rules=Rules(off=frozenset({"jump"})))
    assert set(flags.tolist()) == {0, Flag.PRICE_OUTLIER}


def test_years_between_two_stretches_cost_nothing_and_mean_nothing() -> None:
    """Stretches far apart are flagged as each would be alone: no jump, no run across them."""
    one, other = plant(calm(300), "wick of 2 %", 200), plant(calm(300, seed=2), "jump of 5 %", 200)
    alone = [flag_candles(to_table(each), Timeframe.M1, RULES).tolist() for each in (one, other)]
    other["open_time"] = other["open_time"] + 10**9 * MINUTE_MS
    for name in ("open", "high", "low", "close"):
        other[name] = other[name] * 1000
    both = to_table({name: np.concatenate((one[name], other[name])) for name in one})
    assert flag_candles(both, Timeframe.M1, RULES).tolist() == alone[0] + alone[1]


@pytest.mark.parametrize("count", [0, 1, 2, 29, 30, 59, 60])
def test_a_few_candles_are_judged_by_few(count: int) -> None:
    """A series may be as short as it likes."""
    assert flag_candles(to_table(calm(count)), Timeframe.M1, RULES).tolist() == [Flag.UNJUDGED] * count


def recorded(path: Path) -> Columns:
    """Return a recording as columns, in order, the later of two rows for one candle."""
    table = pq.read_table(path)
    columns = {name: table.column(name).to_numpy() for name in ("open", "high", "low", "close", "volume")}
    times = table.column("open_time").cast(pa.int64()).to_numpy()
    last = len(times) - 1 - np.unique(times[::-1], return_index=True)[1]
    return {"open_time": times[last], **{name: values[last] for name, values in columns.items()}}


@pytest.mark.parametrize(
    "name",
    [
        *("binance/BTC-USDT/1m", "binance/BTC-USDT/5m", "binance/ETH-USDT/1m", "binance/XRP-USDT/1m"),
        *("bitfinex/BTC-USD/1m", "bitfinex/ETH-USD/1m", "bitfinex/LTC-USD/1m", "bitfinex/XRP-USD/1m"),
    ],
)
def test_of_real_candles_few_are_flagged(real_data: Path, name: str) -> None:
    """Fewer than one in two thousand, crashes included; and yet what is planted in a quiet minute is found."""
    timeframe = Timeframe(name[-2:])
    columns = recorded(real_data / f"{name}.parquet")
    flags = found(columns, timeframe)
    counts = [int(((flags & Flag[rule.name.upper()]) != 0).sum()) for rule in FLAGGING]
    assert 0 < sum(counts) < 0.0005 * len(flags)
    if timeframe is Timeframe.M1:
        at = quiet_minute(columns)
        for kind, (flag, *_) in PLANTED.items():
            here = {key: values[at - 300 : at + 200] for key, values in columns.items()}
            after = found(plant(here, kind, 300), timeframe)[300:]
            assert (after & flag == flag).any(), kind


def quiet_minute(columns: Columns) -> int:
    """Return a place amid 500 minutes without a gap, after two hours that are calm in price and more so in volume."""
    reach, volume = np.log(columns["high"] / columns["low"]), np.log(columns["volume"])
    unrest = np.abs(np.diff(volume, prepend=volume[0]))
    places = np.flatnonzero(columns["open_time"][500:] - columns["open_time"][:-500] == 500 * MINUTE_MS) + 300
    places = places[:: len(places) // 500]
    return int(min(places, key=lambda at: np.median(reach[at - 120 : at]) * np.median(unrest[at - 120 : at]) ** 3))


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("binance/BTC-USDT/1m", "2021-12-04T05:03"),
        ("binance/ETH-USDT/1m", "2024-08-05T01:10"),
        ("binance/XRP-USDT/1m", "2021-12-04T05:03"),
        ("bitfinex/XRP-USD/1m", "2018-04-25T10:30"),
        ("bitfinex/BTC-USD/1m", "2018-01-19T08:06"),
        ("bitfinex/BTC-USD/1m", "2018-03-10T03:08"),
    ],
)
def test_crashes_are_flagged(real_data: Path, name: str, moment: str) -> None:
    """The crashes in the history of these markets are price outliers."""
    columns = recorded(real_data / f"{name}.parquet")
    place = np.searchsorted(columns["open_time"], to_ms(datetime.fromisoformat(moment).replace(tzinfo=UTC)))
    assert flag_candles(to_table(columns), Timeframe.M1, RULES)[place] & Flag.PRICE_OUTLIER


@pytest.mark.parametrize("late", [0, 3])
def test_another_coin_under_the_same_name_begins_anew(late: int) -> None:
    """Its first candle is flagged, and its candles are judged as if nothing had been before them."""
    old, new = calm(400), calm(400)
    prices = ("open", "high", "low", "close")
    new = {**new, **{name: new[name] / 40 for name in prices}, "open_time": new["open_time"] + 400 * 60_000}
    both = {name: np.concatenate([old[name], new[name][late:]]) for name in old}
    split_ms = int(new["open_time"][0])
    unaware = flag_candles(to_table(both), Timeframe.M1, RULES)
    assert late or unaware[400] & Flag.JUMP, "which is what the split is there for"
    flags = flag_candles(to_table(both), Timeframe.M1, RULES, [split_ms])
    assert flags[400] == Flag.NEW_COIN | Flag.UNJUDGED
    alone = flag_candles(to_table({name: values[late:] for name, values in new.items()}), Timeframe.M1, RULES)
    assert flags[401:].tolist() == alone[1:].tolist()
    assert flags[:400].tolist() == flag_candles(to_table(old), Timeframe.M1, RULES).tolist()
    # From wherever they are judged, with the lookback before them, it is the same.
    for first in range(390, 420):
        start = max(first - RULES.lookback, 0)
        part = {name: values[start:] for name, values in both.items()}
        assert flag_candles(to_table(part), Timeframe.M1, RULES, [split_ms])[first - start] == flags[first]
