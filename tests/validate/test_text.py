"""A page is read by its text at once or value by value: both ways read the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.exchanges import BULK_LAYOUT, EXCHANGES, Layout
from etl.extract.kline_csv import csv_rows, without_header
from etl.series import TimeRange
from etl.timeframe import from_ms, to_ms
from etl.validate import ReceivedRows, clean
from etl.validate.text import read_texts
from tests.conftest import BTC
from tests.markets import START, kline

ORIGIN_MS = to_ms(START)
SPAN = TimeRange(START, from_ms(ORIGIN_MS + 60 * 60_000))
LATER_MS = SPAN.end_ms + 10**9
BINANCE, COINBASE = EXCHANGES["binance"].layout, EXCHANGES["coinbase"].layout

decimals = st.one_of(
    st.floats(0, 1e9).map(repr),
    st.decimals(0, 10**6, places=8).map(str),
    st.integers(0, 2**70).map(str),
    st.sampled_from(["1e-7", "5.", ".5", "007", "1E3", "1.7976931348623157e308", "0.1", "4.35", "9007199254740993"]),
)
odd = st.one_of(
    st.sampled_from(
        ["", "-0", "-1", "+1", "1_0", " 1", "1 ", "NaN", "inf", "1e999", "0x1", '1"2', "1,2", "],[", "1e", "-"]
    ),
    st.sampled_from([str(ORIGIN_MS), "0" * 20 + "7", "1" * 19, "1" * 400, "٣", "1e300"]),
    st.sampled_from([None, True, 0, -0.0, -1, 2**63, 10**18, 1e300, 0.5, [], [1], {}, 1.5e12]),
    st.floats(),
    st.text(max_size=3),
)


@st.composite
def pages(draw: st.DrawFn, rows: st.SearchStrategy[list[Any]]) -> list[list[Any]]:
    """Draw a page of plain rows with at most two odd values or widths in it."""
    page = draw(st.lists(rows, min_size=1, max_size=8))
    for _ in range(draw(st.integers(0, 2))):
        row = page[draw(st.integers(0, len(page) - 1))]
        place = draw(st.integers(0, max(0, len(row) - 1)))
        what = draw(st.sampled_from(["value", "value", "value", "short", "long"]))
        row[place:] = {"value": [draw(odd), *row[place + 1 :]], "short": [], "long": [*row[place:], "1"]}[what]
    return page


minutes = st.integers(-3, 62).map(lambda minute: ORIGIN_MS + minute * 60_000)
klines = st.builds(
    lambda at_ms, cells, trades: [at_ms, *cells[:5], at_ms + 59_999, cells[5], trades, *cells[6:]],
    minutes,
    st.lists(decimals, min_size=9, max_size=9),
    st.integers(0, 2**40),
)
coinbase_rows = st.builds(
    lambda at_ms, cells: [at_ms // 1000, *cells],
    minutes,
    st.lists(st.one_of(st.floats(0, 1e9), st.integers(0, 2**62)), min_size=5, max_size=5),
)


def both_ways(texts: list[str], rows: list[list[Any]], layout: Layout) -> None:
    """Clean the pages with and without their text, and compare everything that comes out."""
    by_text = [ReceivedRows(r, LATER_MS, layout, text=text) for r, text in zip(rows, texts, strict=True)]
    by_rows = [ReceivedRows(r, LATER_MS, layout) for r in rows]
    fast, slow = clean(by_text, BTC, SPAN), clean(by_rows, BTC, SPAN)
    assert fast.report == slow.report
    assert fast.refused == slow.refused
    assert fast.candles.equals(slow.candles)


@given(st.lists(pages(klines), min_size=1, max_size=3))
def test_binance_pages_read_alike(received: list[list[Any]]) -> None:
    """Whatever a page of decimal strings holds besides, its text and its rows give the same candles and refusals."""
    texts = [json.dumps(page, separators=(",", ":")) for page in received]
    both_ways(texts, [json.loads(text) for text in texts], BINANCE)


@given(st.lists(pages(coinbase_rows), min_size=1, max_size=3))
def test_coinbase_pages_read_alike(received: list[list[Any]]) -> None:
    """The same for a page of bare numbers."""
    texts = [json.dumps(page, separators=(",", ":")) for page in received]
    both_ways(texts, [json.loads(text) for text in texts], COINBASE)


@given(pages(klines), st.booleans(), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\n", "\n\n"]))
def test_files_read_alike(page: list[Any], is_us: bool, newline: str, end: str) -> None:
    """The same for a file, in milliseconds or microseconds, with or without its header."""
    unit = 1000 if is_us else 1
    rows = [[row[0] * unit, *row[1:]] if row and type(row[0]) is int else row for row in page]
    text = newline.join(",".join("" if cell is None else str(cell) for cell in row) for row in rows) + end
    both_ways([without_header(text)], [csv_rows(text)], BULK_LAYOUT)


PLAIN = json.dumps([kline(ORIGIN_MS), kline(ORIGIN_MS + 60_000)], separators=(",", ":"))


@pytest.mark.parametrize(
    "changes",
    [
        (str(ORIGIN_MS + 120_000), f'"{ORIGIN_MS + 120_000}"'),
        (str(ORIGIN_MS + 120_000), "-0"),
        (str(ORIGIN_MS + 120_000), "1.5"),
        (str(ORIGIN_MS + 120_000), "99999999999999999"),
        (",12,", ",-3,"),
        (",12,", ',"-0",'),
        (",12,", ',"12",'),
        (",12,", ",12.0,"),
        (",12,", f',"{10**18 + 1}",'),
        (",12,", f',"{"0" * 30}7",'),
        ('"5.5"', "1e305"),
        ('"5.5"', '"1e305"'),
        ('"5.5"', '"1e309"'),
        ('"5.5"', '"-0.0"'),
        ('"5.5"', '"-5"'),
        ('"5.5"', '"1,5"'),
        ('"5.5"', '"1],[2"'),
        ('"5.5"', '","'),
        ('"5.5"', '""'),
        ('"5.5"', '"5.5","5.5"'),
        ('"5.5",', ""),
        (',"0"]', "]"),
        (',"0"]', ',"0",1]'),
    ],
)
def test_traps(changes: tuple[str, str]) -> None:
    """Texts that one reader might take for a number and the other not: alone, amid plain rows, beside a plain page."""
    row = json.dumps(kline(ORIGIN_MS + 120_000), separators=(",", ":"))
    assert changes[0] in row
    row = row.replace(*changes, 1)
    for texts in ([f"[{row}]"], [f"{PLAIN[:-1]},{row}]"], [PLAIN, f"[{row}]", PLAIN]):
        both_ways(texts, [json.loads(text) for text in texts], BINANCE)


@pytest.mark.parametrize("text", ["1e305", "1e309", "-0.0", "2.5e-05", "12345678901234567890"])
def test_traps_of_bare_numbers(text: str) -> None:
    """The same for numbers that are no strings."""
    page = f"[[{ORIGIN_MS // 1000},1,{text},1,1,{text}]]"
    both_ways([page], [json.loads(page)], COINBASE)


@pytest.mark.parametrize(
    "changes",
    [
        {0: ORIGIN_MS * 1000},
        {0: ORIGIN_MS * 1000 + 1},
        {0: "-0"},
        {0: f"00{ORIGIN_MS}"},
        {8: "-0"},
        {8: ""},
        {5: ""},
        {6: ""},
        {6: "1e"},
        {11: "0,0"},
        {10: "1", 11: ""},
    ],
)
def test_traps_of_files(changes: dict[int, Any]) -> None:
    """The same for the lines of a file; among them rows of one value more, all alike."""
    row = [changes.get(place, cell) for place, cell in enumerate(kline(ORIGIN_MS))]
    text = ",".join(map(str, row)) + "\n"
    both_ways([text], [csv_rows(text)], BULK_LAYOUT)
    narrow = ",".join(map(str, row[:11])) + "\n"
    both_ways([narrow], [csv_rows(narrow)], BULK_LAYOUT)


@pytest.mark.parametrize(
    ("texts", "layout"),
    [
        ([json.dumps([kline(ORIGIN_MS + i * 60_000) for i in range(30)], separators=(",", ":"))] * 2, BINANCE),
        ([f"[[{ORIGIN_MS // 1000},1,2.5,1e-05,2,0.001]]"], COINBASE),
        ([",".join(map(str, kline(ORIGIN_MS))) + "\n"], BULK_LAYOUT),
        ([",".join(map(str, [ORIGIN_MS * 1000, *kline(ORIGIN_MS)[1:]]))], BULK_LAYOUT),
    ],
)
def test_plain_pages_are_read_at_once(texts: list[str], layout: Layout) -> None:
    """Pages that exchanges send day by day are never looked at row by row."""
    for columns in read_texts(texts, layout):
        assert columns is not None
        assert columns["open_time"][0] == ORIGIN_MS


def test_an_odd_page_does_not_slow_the_others() -> None:
    """Of three pages only the one with a null is read value by value."""
    plain = json.dumps([kline(ORIGIN_MS)], separators=(",", ":"))
    columns = read_texts([plain, plain.replace('"5.5"', "null"), None, plain], BINANCE)
    assert [each is None for each in columns] == [False, True, True, False]
