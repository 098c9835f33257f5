"""Cleaning: each received row is accepted, refused under its rule, repeated or outside; nothing else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.exchanges import EXCHANGES
from etl.rules import FLAG_NAMES, Rules
from etl.schema import VALUE_COLUMNS, Flag, to_columns
from etl.series import TimeRange
from etl.timeframe import from_ms, to_ms
from etl.validate import FLAGGING, REFUSING, ReceivedRows, clean, find_absences
from etl.validate.numbers import to_floats, to_integers
from tests.conftest import BTC
from tests.markets import START, kline

ORIGIN_MS = to_ms(START)
SPAN = TimeRange(START, from_ms(ORIGIN_MS + 60 * 60_000))
LATER_MS = SPAN.end_ms + 10**9

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["NaN", "1_000", "1e999"]),
)
sound = st.integers(-5, 65).map(lambda minute: kline(ORIGIN_MS + minute * 60_000, 100.0 + minute % 3))
spoilt = st.tuples(sound, st.integers(0, 11), anything).map(
    lambda parts: [*parts[0][: parts[1]], parts[2], *parts[0][parts[1] + 1 :]]
)
misshapen = st.one_of(anything, st.lists(anything, max_size=8))


def judge(*rows: Any) -> Any:
    """Clean rows that arrived on one page, long after they closed."""
    return clean([ReceivedRows(rows, LATER_MS, EXCHANGES["binance"].layout)], BTC, SPAN)


@given(st.lists(st.one_of(sound, sound, spoilt, misshapen), max_size=30))
def test_no_row_is_lost(rows: list[Any]) -> None:
    """Whatever arrives, every row is in one of four places, and what is accepted is a table of sound candles."""
    cleaned = judge(*rows)
    report = cleaned.report
    assert report.rows == len(rows)
    assert report.rows == report.accepted + report.repeated + report.outside + len(cleaned.refused)
    candles = to_columns(cleaned.candles)
    times = candles["open_time"]
    assert (np.diff(times) > 0).all()
    assert ((times >= SPAN.start_ms) & (times < SPAN.end_ms) & (times % 60_000 == 0)).all()
    assert (candles["low"] > 0).all()
    assert (candles["low"] <= candles["high"]).all()
    assert (candles["low"] <= 1.002 * np.minimum(candles["open"], candles["close"])).all()
    assert (candles["high"] >= 0.998 * np.maximum(candles["open"], candles["close"])).all()
    assert (candles["volume"] >= 0).all()
    assert np.isfinite(candles["high"] + candles["volume"]).all()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"close": None}, "not_a_number"),
        ({"volume": "NaN"}, "not_a_number"),
        ({"high": "1e999"}, "not_a_number"),
        ({"open": "1_000"}, "not_a_number"),
        ({"low": "0"}, "not_positive"),
        ({"high": "99"}, "ohlc"),
        ({"low": "102"}, "ohlc"),
        ({"volume": "-0.1"}, "negative_amount"),
    ],
)
def test_a_row_is_refused_by_its_rule(changes: dict[str, Any], rule: str) -> None:
    """Each defect is refused under its own name, with the row as received and the values that the rule saw."""
    good, bad = kline(ORIGIN_MS), kline(ORIGIN_MS + 60_000, **changes)
    cleaned = judge(good, bad)
    (refused,) = cleaned.refused
    assert (refused.rule, refused.open_time_ms) == (rule, ORIGIN_MS + 60_000)
    assert next(iter(changes)) in refused.evidence
    assert cleaned.candles.num_rows == 1


@pytest.mark.parametrize(
    ("changes", "tolerance_pct", "is_accepted"),
    [
        ({"high": "100.05"}, 0.1, True),
        ({"high": "99.9"}, 0.1, False),
        ({"high": "99.9"}, 1.0, True),
        ({"low": "100.05"}, 0.1, True),
        ({"low": "100.2"}, 0.1, False),
        ({"low": "100.05"}, 0.0, False),
        ({"low": "100.05", "high": "100.04", "close": "100.04"}, 10.0, False),
    ],
)
def test_how_far_high_and_low_may_miss(changes: dict[str, Any], tolerance_pct: float, is_accepted: bool) -> None:
    """Within the tolerance a row is accepted as it is, beyond it refused; high below low is refused always."""
    rows = [kline(ORIGIN_MS, **changes)]
    page = ReceivedRows(rows, LATER_MS, EXCHANGES["binance"].layout)
    cleaned = clean([page], BTC, SPAN, Rules(ohlc_tolerance_pct=tolerance_pct))
    assert cleaned.report.refused == ({} if is_accepted else {"ohlc": 1})


def test_every_rule_has_a_name_of_its_own_and_a_reason() -> None:
    """Names stand in quarantine and flags; a rule's docstring is what a user can read of it."""
    rules = [*REFUSING, *FLAGGING]
    assert len({rule.name for rule in rules}) == len(rules)
    assert {rule.name for rule in FLAGGING} == set(FLAG_NAMES)
    assert all((rule.finds.__doc__ or "").strip() for rule in rules)


def test_a_refused_row_is_shown_as_it_was_received() -> None:
    """Also when the page was read by its text, and begins with rows that belong to another partition."""
    rows = [kline(ORIGIN_MS - 60_000), kline(ORIGIN_MS), kline(ORIGIN_MS + 60_000, low="0")]
    text = json.dumps(rows, separators=(",", ":"))
    cleaned = clean([ReceivedRows(lambda: rows, LATER_MS, EXCHANGES["binance"].layout, text=text)], BTC, SPAN)
    assert [json.loads(row.row) for row in cleaned.refused] == rows[2:]
    assert (cleaned.report.rows, cleaned.report.accepted, cleaned.report.outside) == (3, 1, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quote_volume", "many"),
        ("quote_volume", "-1"),
        ("quote_volume", "NaN"),
        ("trades", -3),
        ("trades", "7.5"),
        ("taker_buy_volume", "-0.5"),
        ("taker_buy_quote_volume", "1e999"),
    ],
)
def test_a_bad_optional_value_is_dropped_and_the_candle_kept(name: str, value: Any) -> None:
    """The value becomes null and the candle says so by a flag; the others of the row are as they were."""
    cleaned = judge(kline(ORIGIN_MS), kline(ORIGIN_MS + 60_000, **{name: value}))
    sound, flagged = cleaned.candles.to_pylist()
    assert cleaned.refused == ()
    assert (sound["flags"], flagged["flags"]) == (0, Flag.VALUE_DROPPED)
    assert flagged[name] is None
    kept = [column for column in VALUE_COLUMNS if column != name]
    assert [flagged[column] for column in kept] == [sound[column] for column in kept]


def test_what_the_exchange_does_not_give_is_null() -> None:
    """Null is refused where a candle needs a number, and kept as null where exchanges may have none."""
    cleaned = judge(kline(ORIGIN_MS, quote_volume=None, trades=None))
    (row,) = cleaned.candles.to_pylist()
    assert row["quote_volume"] is None
    assert row["trades"] is None
    assert row["taker_buy_volume"] == 2.5


def test_the_later_of_two_different_rows_counts() -> None:
    """Of two rows for one candle the later is accepted and the earlier kept in quarantine; equal ones are one."""
    old, new = kline(ORIGIN_MS, 100.0), kline(ORIGIN_MS, 101.0)
    cleaned = judge(new, old, new)
    assert cleaned.candles.column("open").to_pylist() == [101.0]
    assert [row.rule for row in cleaned.refused] == ["superseded"]
    assert cleaned.report.repeated == 1
    broken = kline(ORIGIN_MS, 102.0, high="1")
    assert judge(old, broken).candles.column("open").to_pylist() == [100.0], "a refused row supersedes nothing"


@given(
    st.lists(st.one_of(anything, st.floats().map(repr), st.decimals(allow_nan=False, allow_infinity=False).map(str)))
)
def test_numbers_are_read_exactly_or_refused(values: list[Any]) -> None:
    """A value is the float that Python reads, or is called bad; nothing else passes for a number."""
    numbers, is_bad = to_floats(values)
    for value, number, bad in zip(values, numbers, is_bad, strict=True):
        if value is None:
            assert np.isnan(number)
            assert not bad
        elif bad:
            assert np.isnan(number) or np.isinf(number)
        else:
            assert not isinstance(value, bool)
            assert number == float(value)
            assert "_" not in str(value)


@given(st.lists(anything))
def test_counts_are_whole_and_not_negative(values: list[Any]) -> None:
    """A count is a whole number from 0 up, is not given, or is bad."""
    numbers, is_bad = to_integers(values)
    for value, number, bad in zip(values, numbers, is_bad, strict=True):
        assert bad == (value is not None and number < 0)
        assert number < 0 or number == int(value)


@given(st.sets(st.integers(-10, 70)), st.integers(0, 59), st.integers(1, 60))
def test_absences_are_what_the_grid_lacks(held: set[int], first: int, count: int) -> None:
    """Held and absent slots together are the grid of the range; absences do not touch."""
    span = TimeRange.from_ms(ORIGIN_MS + first * 60_000, ORIGIN_MS + (first + count) * 60_000)
    times = np.array(sorted(ORIGIN_MS + minute * 60_000 for minute in held), dtype=np.int64)
    absent = find_absences(times, span, BTC.timeframe)
    minutes = {(at - ORIGIN_MS) // 60_000 for one in absent for at in range(one.start_ms, one.end_ms, 60_000)}
    assert minutes == set(range(first, first + count)) - held
    assert all(one.end < other.start for one, other in zip(absent, absent[1:], strict=False))


def test_a_bad_row_that_is_received_twice_is_refused_once() -> None:
    """A page that was asked for again brings its bad rows again: one row in quarantine, counted once."""
    bad = kline(SPAN.start_ms, low="-1")
    page = ReceivedRows([bad, kline(SPAN.start_ms + 60_000)], LATER_MS, EXCHANGES["binance"].layout)
    cleaned = clean([page, page], BTC, SPAN)
    assert [row.rule for row in cleaned.refused] == ["not_positive"]
    assert (cleaned.report.rows, cleaned.report.accepted, cleaned.report.repeated) == (4, 1, 2)
