"""Candles out of trades: paged without a loss, and the same as the exchange's own."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.errors import MalformedPayloadError
from etl.extract import Page, Route, to_candles
from etl.extract.trades import lead_windows, rest_of_trades
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe

KRAKEN = Series.parse("kraken:BTC/USD:1m")
T0_S = 1_700_000_040  # on the minute
SPAN = TimeRange.from_ms(T0_S * 1000, (T0_S + 600) * 1000)


def trade(number: int, at_s: float, price: str, volume: str) -> list[Any]:
    """Return a trade as Kraken prints it."""
    return [price, volume, at_s, "b", "m", "", number]


def page(trades: list[list[Any]], window: TimeRange = SPAN) -> Page:
    """Return an answer of Kraken's Trades."""
    body = json.dumps({"error": [], "result": {"XXBTZUSD": trades, "last": "0"}})
    return Page(KRAKEN, window, SPAN.end_ms, body, Route.TRADES)


def test_a_candle_is_the_sum_of_its_trades() -> None:
    """First, highest, lowest and last price, exact volume and count; a quiet minute repeats the last price."""
    trades = [
        trade(1, T0_S - 30.0, "99.5", "1.00000000"),  # before the range: what a quiet first minute repeats
        trade(2, T0_S + 61.0, "101.0", "0.10000000"),
        trade(3, T0_S + 61.0, "103.5", "0.20000000"),
        trade(4, T0_S + 119.9, "100.5", "0.00000001"),
        trade(5, T0_S + 600.0, "1.0", "9.00000000"),  # after the range
    ]
    rows = to_candles([page(trades)], Timeframe.M1, SPAN)
    assert [row[0] for row in rows] == list(range(T0_S, T0_S + 600, 60))
    assert rows[0][1:5] == ["99.5"] * 4
    assert rows[0][6:] == ["0.00000000", 0]
    assert rows[1][1:5] == ["101.0", "103.5", "100.5", "100.5"]
    assert rows[1][6:] == ["0.30000001", 3]
    assert rows[2][1:5] == ["100.5"] * 4


def test_what_was_never_traded_has_no_price() -> None:
    """Before the first trade ever there is nothing to repeat, so no candle is made up."""
    rows = to_candles([page([trade(1, T0_S + 130.0, "5", "1")])], Timeframe.M1, SPAN)
    assert rows[0][0] == T0_S + 120


@given(
    times=st.lists(st.integers(0, 599_999), min_size=1, max_size=60),
    size=st.integers(2, 20),
)
def test_answers_that_follow_one_another_lose_no_trade(times: list[int], size: int) -> None:
    """Whatever the size of an answer, asking on from where the last one ended gives every trade, and each once."""
    # As many trades in one millisecond as fill an answer cannot be paged past, and are refused: not the case here.
    every = [
        trade(n, (SPAN.start_ms + at) / 1000, str(100 + n), "0.1")
        for n, at in enumerate(sorted(times))
        if sorted(times)[max(0, n - size + 1) : n + 1].count(at) < size
    ]
    pages: list[Page] = []
    window: TimeRange | None = SPAN
    while window is not None:
        answer = [one for one in every if one[2] * 1000 >= window.start_ms - 0.5][:size]
        pages.append(page(answer, window))
        window = rest_of_trades(pages[-1])
        assert len(pages) < 200
    rows = to_candles(pages, Timeframe.M1, SPAN)
    assert sum(row[7] for row in rows) == len(every)
    assert sum(Decimal(row[6]) for row in rows) == Decimal("0.1") * len(every)


def test_an_answer_that_cannot_be_paged_past_is_an_error() -> None:
    """A thousand trades in one millisecond: no request leads past them, and that is said rather than skipped."""
    full = [trade(n, T0_S + 0.0001, "5", "1") for n in range(1000)]
    with pytest.raises(MalformedPayloadError, match="1000 trades in one millisecond"):
        rest_of_trades(page(full))


@pytest.mark.parametrize(
    "row", [["5", "1"], ["5", "NaN", 1.0, "b", "m", "", 1], [None, "1", 1.0, "b", "m", "", 1], {"price": 1}]
)
def test_what_is_no_trade_is_not_counted_as_one(row: Any) -> None:
    """A row that is no trade fails the partition by name, rather than making a wrong candle."""
    with pytest.raises(MalformedPayloadError, match="is no trade"):
        to_candles([page([trade(1, T0_S + 1.0, "5", "1"), row])], Timeframe.M1, SPAN)


def test_the_last_price_is_looked_for_further_and_further_back() -> None:
    """The windows before a range touch each other and reach back thirty days."""
    windows = lead_windows(SPAN.start_ms)
    assert [window.end_ms for window in windows] == [SPAN.start_ms, windows[0].start_ms, windows[1].start_ms]
    assert SPAN.start_ms - windows[-1].start_ms == 30 * 86_400_000
