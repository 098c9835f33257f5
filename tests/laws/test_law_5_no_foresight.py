"""Law 5, no foresight: a decision on a candle depends only on what closed at or before it, and on a bounded past."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from etl.exchanges import EXCHANGES
from etl.rules import Rules
from etl.schema import COMPUTED_FLAGS
from etl.series import TimeRange
from etl.timeframe import Timeframe, from_ms, to_ms
from etl.validate import FLAGGING, Cleaned, ReceivedRows, clean, flag_candles, flag_names
from tests.conftest import BTC
from tests.markets import START, kline
from tests.validate.wild import MINUTE_MS, to_table, wild

COUNT = 160
# So strict that a third of all candles is flagged, and any value that counts wrongly shows.
RULES = Rules(
    lookback=20,
    lookback_slots=50,
    price_limit=1,
    price_floor_pct=0.001,
    volume_limit=1,
    volume_floor=1,
    frozen_after=4,
    zero_volume_after=5,
)
SPLIT_MS = COUNT // 3 * MINUTE_MS  # when another coin gets the name
ORIGIN_MS = to_ms(START)
HOUR = TimeRange.from_ms(ORIGIN_MS, ORIGIN_MS + Timeframe.H1.ms)

seeds = st.integers(0, 2**32)
rows = st.builds(
    lambda minute, price, changes: kline(ORIGIN_MS + minute * MINUTE_MS, price, **changes),
    st.integers(0, 59),
    st.sampled_from([100.0, 100.5, 101.0]),
    st.sampled_from([{}, {}, {"low": "-1"}, {"high": "1"}, {"close": None}, {"high": "100.45"}]),
)


def flags_of(columns: dict[str, Any]) -> dict[int, int]:
    """Return open_time_ms to flags."""
    flags = flag_candles(to_table(columns), Timeframe.M1, RULES, [SPLIT_MS])
    return dict(zip(columns["open_time"].tolist(), flags.tolist(), strict=True))


def within(columns: dict[str, Any], start_ms: int, end_ms: int) -> dict[str, Any]:
    """Return the candles that open in `[start_ms, end_ms)`."""
    inside = (columns["open_time"] >= start_ms) & (columns["open_time"] < end_ms)
    return {name: values[inside] for name, values in columns.items()}


@given(seed=seeds, other=seeds, cut=st.integers(0, COUNT))
def test_no_flag_looks_ahead(seed: int, other: int, cut: int) -> None:
    """Another future, or none, leaves every flag of the past as it was."""
    columns, cut_ms = wild(COUNT, seed), cut * MINUTE_MS
    past, future = within(columns, 0, cut_ms), within(wild(COUNT, other), cut_ms, COUNT * MINUTE_MS)
    elsewhere = {name: np.concatenate((past[name], future[name])) for name in past}
    expected = {at_ms: flags for at_ms, flags in flags_of(columns).items() if at_ms < cut_ms}
    assert flags_of(past) == expected
    assert {at_ms: flags for at_ms, flags in flags_of(elsewhere).items() if at_ms < cut_ms} == expected


@given(seed=seeds, start=st.integers(0, COUNT))
def test_flags_need_no_more_than_the_lookback(seed: int, start: int) -> None:
    """The flags of a range are exact given `lookback` slots, and as many traded candles within `lookback_slots`."""
    columns, start_ms = wild(COUNT, seed), start * MINUTE_MS
    traded_ms = columns["open_time"][(columns["volume"] > 0) & (columns["open_time"] < start_ms)]
    reach_ms = start_ms - RULES.lookback_slots * MINUTE_MS
    if len(traded_ms) >= RULES.lookback:
        reach_ms = max(reach_ms, min(int(traded_ms[-RULES.lookback]), start_ms - RULES.lookback * MINUTE_MS))
    with_context = within(columns, reach_ms, COUNT * MINUTE_MS)
    expected = {at_ms: flags for at_ms, flags in flags_of(columns).items() if at_ms >= start_ms}
    assert {at_ms: flags for at_ms, flags in flags_of(with_context).items() if at_ms >= start_ms} == expected


def test_the_candles_of_these_tests_break_every_rule() -> None:
    """Else the laws above would say nothing of it; and no rule sets a bit that is another's or no rule's."""
    found = np.bitwise_or.reduce([flags for seed in range(30) for flags in flags_of(wild(COUNT, seed)).values()])
    assert found == COMPUTED_FLAGS
    assert flag_names(int(found)) == tuple(rule.name for rule in FLAGGING)


@given(received=st.lists(rows, max_size=40), cut=st.integers(1, 59), late=st.lists(rows, max_size=20))
def test_cleaning_does_not_look_ahead(received: list[list[Any]], cut: int, late: list[list[Any]]) -> None:
    """The fate of a candle's rows does not depend on the rows of later candles."""
    cut_ms = ORIGIN_MS + cut * MINUTE_MS

    def decided(rows: list[list[Any]]) -> tuple[Any, ...]:
        page = ReceivedRows(rows, HOUR.end_ms + 10**9, EXCHANGES["binance"].layout)
        cleaned: Cleaned = clean([page], BTC, HOUR)
        accepted = [row for row in cleaned.candles.to_pylist() if row["open_time"] < from_ms(cut_ms)]
        return accepted, [row for row in cleaned.refused if (row.open_time_ms or 0) < cut_ms]

    past = [row for row in received if row[0] < cut_ms]
    future = [row for row in late if row[0] >= cut_ms]
    assert decided(received) == decided(past) == decided(past + future)
