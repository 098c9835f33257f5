"""Faults in the rows of an answer.

Columns are found through the answer's layout, so that each works in every protocol.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from etl.replay.page import Page, table
from etl.replay.wire import Layout, WireRow

_OFF_MS = 7_000
_LATE_MS = 120_000


def null(page: Page) -> Page:
    """A candle without a close, a trade without a price."""
    return _change(page, lambda row, layout: {layout.close: None})


def nan(page: Page) -> Page:
    """A close that is a bare NaN, so that the body is not strict JSON."""
    page = _change(page, lambda row, layout: {layout.close: float("nan")})
    rows = json.dumps(page.rows, separators=(",", ":")).encode()
    return replace(page, body=b"".join((page.answer.head, rows, page.answer.tail)))


def nan_string(page: Page) -> Page:
    """A close that is the text NaN."""
    return _change(page, lambda row, layout: {layout.close: "NaN"})


def negative_price(page: Page) -> Page:
    """A price below zero: a candle's low, which no relation between the prices forbids."""

    def values(row: WireRow, layout: Layout) -> Mapping[int, Any]:
        column = layout.close if layout.low is None else layout.low
        return {column: _like(row[column], f"-{row[column]}")}

    return _change(page, values)


def off_grid(page: Page) -> Page:
    """A time seven seconds past its own."""
    return _change(page, lambda row, layout: {layout.time: row[layout.time] + _OFF_MS // layout.unit_ms})


def wrong_order(page: Page) -> Page:
    """The rows in reverse."""
    return replace(page, rows=page.rows[::-1])


def duplicate_page(page: Page) -> Page:
    """Every row twice."""
    return replace(page, rows=tuple(row for row in page.rows for _ in range(2)))


def missing(page: Page) -> Page:
    """A tenth of the rows left out, in the middle; at least one."""
    start = len(page.rows) // 3
    return replace(page, rows=page.rows[:start] + page.rows[start + max(1, len(page.rows) // 10) :])


def no_rows(page: Page) -> Page:
    """A page in its usual form without a row."""
    return replace(page, rows=())


def late(page: Page) -> Page:
    """Leave out what closed within the last two minutes."""
    window, layout = page.answer.window, page.answer.layout
    if layout is None:
        return page
    width_ms = window.timeframe.ms if window is not None and window.timeframe is not None else 0

    def is_there(row: WireRow) -> bool:
        closed_ms = row[layout.time] * layout.unit_ms + width_ms
        return not page.now_ms - _LATE_MS < closed_ms <= page.now_ms

    return replace(page, rows=tuple(filter(is_there, page.rows)))


def high_below_low(page: Page) -> Page:
    """A high that is half the low."""

    def values(row: WireRow, layout: Layout) -> Mapping[int, Any]:
        high, low = layout.high, layout.low
        return {} if high is None or low is None else {high: _like(row[low], f"{float(row[low]) / 2:.8f}")}

    return _change(page, values)


def changed(page: Page) -> Page:
    """A candle that closed at its low: sound by itself, but not what is served another time."""
    return _change(page, lambda row, layout: {} if layout.low is None else {layout.close: row[layout.low]})


def forming(page: Page) -> Page:
    """The candle that is forming now on the page, asked for or not, where the newest one stands."""
    newest, layout = page.answer.forming(), page.answer.layout
    if newest is None or layout is None or newest in page.rows:
        return page
    return replace(page, rows=(newest, *page.rows) if layout.is_newest_first else (*page.rows, newest))


OF_ROWS = table(null, nan, nan_string, negative_price, off_grid, wrong_order, duplicate_page, missing, no_rows, late)
OF_CANDLES = table(high_below_low, changed, forming)


def _like(sample: object, text: str) -> object:
    """Return `text` as the kind of thing that stands there: a string or a bare number."""
    return text if isinstance(sample, str) else float(text)


def _change(page: Page, values_of: Callable[[WireRow, Layout], Mapping[int, Any]]) -> Page:
    """Return the page with other values in its middle row."""
    layout = page.answer.layout
    if not page.rows or layout is None:
        return page
    middle = len(page.rows) // 2
    values = values_of(page.rows[middle], layout)
    row = tuple(values.get(number, value) for number, value in enumerate(page.rows[middle]))
    return replace(page, rows=(*page.rows[:middle], row, *page.rows[middle + 1 :]))
