"""The chart of candles in the terminal: its shape, whatever the prices."""

from __future__ import annotations

import re
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.schema import from_columns, to_columns
from etl.series import TimeRange
from etl.show.candlesticks import DOWN, UP, Mark, draw_candles
from etl.timeframe import Timeframe, from_ms
from tests.candles import candle_tables
from tests.markets import START as MARKET_START
from tests.models.made_up import START_MS, walk

START = from_ms(START_MS)
MINUTE = timedelta(minutes=1)
HEIGHT, BELOW = 16, 4  # lines of prices; three of volume and one of times


def _prices(*candles: tuple[float, float, float, float], volume: float = 1.0) -> pa.Table:
    """Return candles of these prices: open, high, low, close; a minute each."""
    columns = to_columns(walk(len(candles)))
    for place, name in enumerate(("open", "high", "low", "close")):
        columns[name] = np.array([one[place] for one in candles])
    return from_columns({**columns, "volume": np.full(len(candles), volume)})


def _draw(candles: pa.Table, minutes: int, *, width: int = 100, mark: Mark | None = None) -> list[str]:
    chart = draw_candles(candles, Timeframe.M1, TimeRange(START, START + minutes * MINUTE), mark, width=width)
    return chart.plain.split("\n")


def _column(lines: list[str], place: int) -> str:
    return "".join(line.ljust(place + 1)[place] for line in lines[:HEIGHT])


def test_a_candle_is_a_body_and_two_wicks() -> None:
    """The body from open to close, wicks to the extremes, each of its share; rising and falling differ."""
    lines = _draw(_prices((100.0, 132.0, 100.0, 116.0), (116.0, 116.0, 100.0, 108.0)), 2)
    assert len(lines) == HEIGHT + BELOW
    rising, falling = _column(lines, 0), _column(lines, 1)
    assert re.fullmatch(r"│{7,8}[▄█]█{7,8}", rising), rising
    assert re.fullmatch(r" {7,8}[▄█]?█{3,4}[▀▄█│]?│{3,4}", falling), falling
    chart = draw_candles(_prices((1, 2, 1, 2), (2, 2, 1, 1)), Timeframe.M1, TimeRange(START, START + 2 * MINUTE))
    assert {UP, DOWN} <= {str(span.style) for span in chart.spans}


@pytest.mark.parametrize("price", [1e-8, 1.0, 123456.789, 1e15])
def test_prices_that_are_all_one_lie_in_the_middle(price: float) -> None:
    """With the one price beside them, in full."""
    lines = _draw(_prices((price, price, price, price)), 1)
    marks = [row for row in range(HEIGHT) if lines[row].strip()]
    assert min(marks) >= HEIGHT // 2 - 1
    assert max(marks) <= HEIGHT // 2
    (label,) = [line[1:].strip() for line in lines[:HEIGHT] if line[1:].strip()]
    assert float(label.replace(",", "")) == price


def test_labels_tell_small_prices_apart() -> None:
    """The highest and the lowest stand where they are; those between have digits enough to differ."""
    lines = _draw(_prices((1.1e-8, 1.9e-8, 1.0e-8, 1.5e-8)), 1)
    labels = [line[1:].strip() for line in lines[:HEIGHT] if line[1:].strip()]
    assert len(set(labels)) == len(labels) == 5
    assert (float(labels[0]), float(labels[-1])) == (1.9e-8, 1.0e-8)


def test_what_is_marked_is_marked_beneath_its_candles() -> None:
    """The range as a line, the peak as an arrow, between prices and volume."""
    mark = Mark(TimeRange(START + 3 * MINUTE, START + 7 * MINUTE), START + 5 * MINUTE)
    lines = _draw(walk(10), 10, mark=mark)
    assert lines[HEIGHT] == "   ━━▲━"
    wide = _draw(walk(10), 1000, mark=mark, width=80)
    assert "▲" in wide[HEIGHT]


def test_absent_candles_are_empty_columns() -> None:
    """A gap is seen as one, and no volume is made up in it."""
    candles = walk(20)
    lines = _draw(pa.concat_tables([candles.slice(0, 5), candles.slice(12)]), 20)
    for place in range(5, 12):
        assert {line.ljust(20)[place] for line in lines[: HEIGHT + 3]} == {" "}
    assert all(_column(lines, place).strip() for place in (*range(5), *range(12, 20)))


def test_several_candles_share_a_column_where_it_is_narrow() -> None:
    """Their first open, their extremes, their last close and all of their volume; and it is said."""
    four = _prices((10.0, 12.0, 9.0, 11.0), (11.0, 20.0, 10.0, 12.0), (12.0, 13.0, 1.0, 2.0), (2.0, 4.0, 1.5, 3.0))
    many = pa.concat_tables([four, *[_later(four, 4 * each) for each in range(1, 25)]])
    lines = _draw(many, 100, width=44)
    assert lines[-1] == "a column is 4 candles"
    assert len({_column(lines, place) for place in range(25)}) == 1
    assert re.fullmatch(r"│{8,9}[▄█]█{4,5}[▀█]?│{1,2}", _column(lines, 0))
    assert "4 volume" in lines[HEIGHT]


def test_days_are_told_by_their_dates() -> None:
    """Round times, the date where it changes; a timeframe of days has dates alone."""
    hours = _draw(walk(600), 600, width=120)[-2]
    assert re.findall(r"\d\d\d\d-\d\d-\d\d \d\d:\d\d", hours) == ["2023-11-14 00:00"]
    assert re.findall(r" (\d\d:\d\d)", hours)[1:] == ["02:00", "04:00", "06:00", "08:00"]
    days = draw_candles(
        walk(60, timeframe=Timeframe.D1), Timeframe.D1, TimeRange(START, START + timedelta(days=60)), width=120
    )
    assert re.findall(r"\S+", days.plain.split("\n")[-1])[0].count("-") == 2


def test_nothing_held_is_said() -> None:
    """No axis is made up for it."""
    assert _draw(walk(1).slice(0, 0), 10) == ["no candle of it is held in the warehouse"]


@settings(max_examples=60)
@given(candles=candle_tables(), width=st.integers(1, 130), height=st.integers(2, 30))
def test_any_candles_give_lines_that_fit(candles: pa.Table, width: int, height: int) -> None:
    """Whatever the prices and the width of the terminal: so many lines, none wider than asked unless that is absurd."""
    span = TimeRange(MARKET_START, MARKET_START + 40 * MINUTE)
    chart = draw_candles(candles, Timeframe.M1, span, Mark(span, MARKET_START), width=width, height=height)
    lines = chart.plain.split("\n")
    if not candles.num_rows:
        assert len(lines) == 1
        return
    assert height + BELOW + 1 <= len(lines) <= height + BELOW + 2
    assert max(map(len, lines[: height + 5])) <= max(width, 40)


def _later(candles: pa.Table, minutes: int) -> pa.Table:
    columns = to_columns(candles)
    return from_columns({**columns, "open_time": columns["open_time"] + minutes * 60_000})
