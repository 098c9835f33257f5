"""Meaning of a page."""

from __future__ import annotations

import json
from dataclasses import replace

from etl.exchanges import Order
from etl.extract import Page
from etl.extract.reading import read
from tests.extract.venue import BTC, NOW_MS, TRAITS, WINDOW, rows


def test_an_answer_that_reaches_beyond_its_window_is_not_cut_short() -> None:
    """Full and lacking a candle, it would be halved; but it goes on past the window's end, so that is all there is."""
    minutes = [*range(4), *range(5, 11)]
    page = Page(BTC, WINDOW, NOW_MS, json.dumps(rows(minutes)))
    reading = read(page, TRAITS)
    assert (reading.rows, reading.rest, reading.is_poor) == (10, (), True)
    cut = Page(BTC, WINDOW, NOW_MS, json.dumps(rows([0, 0, *range(8)])))
    halves = read(cut, TRAITS)
    assert [half.count(BTC.timeframe) for half in halves.rest] == [5, 5]
    assert not halves.is_poor


def test_what_is_odd_is_said_by_the_order_of_the_exchange() -> None:
    """Newest first is the usual order of some, and disorder at others; a quiet minute is only at some a lack."""
    backwards = Page(BTC, WINDOW, NOW_MS, json.dumps(rows(range(9))[::-1]))
    assert read(backwards, TRAITS).oddities == ("the rows are out of order",)
    assert read(backwards, TRAITS).missing == 1
    coinbase = replace(TRAITS, order=Order.DESCENDING, prints_empty=False)
    assert read(backwards, coinbase).oddities == ()
    assert read(backwards, replace(coinbase, dialect="ccxt")).oddities == ("the rows are out of order",)
