"""What can be wrong with an answer, by name.

A mishap takes the answer about to be sent and returns another one. A new one is a function and a line in one of the
tables at the end, which say what kind of answer it can befall. Columns are found through the answer's layout, so that
each works in every protocol.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import orjson

from etl.replay.wire import HTML, JSON, TEXT, Answer, Layout, Trouble, WireRow

_OFF_MS = 7_000
_LATE_MS = 120_000
_GATEWAY = b"<html><head><title>%b</title></head><body><center><h1>%b</h1></center></body></html>"


@dataclass(frozen=True, slots=True)
class Page:
    """An answer about to be sent, taken apart.

    Attributes:
        answer: What would be sent if all were well.
        rows: Its rows as they go over the wire.
        now_ms: The exchange's clock.
        words: Says a trouble in the exchange's words.
        maintenance_status: The HTTP status under which it says maintenance.
        hold_s: How long a mishap that holds an answer holds it.
        slow_s: How long a mishap that dribbles an answer takes over it.
        body: What is sent instead of the rows.
        wait_s: How long the answer is held back.
        dribble_s: Over how long the body is sent in pieces.
        is_cut: Whether the connection closes in the middle of the body.
    """

    answer: Answer
    rows: tuple[WireRow, ...]
    now_ms: int
    words: Callable[[Trouble, int], bytes]
    maintenance_status: int = 503
    hold_s: float = 30.0
    slow_s: float = 1.0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    body: bytes | None = None
    wait_s: float = 0.0
    dribble_s: float = 0.0
    is_cut: bool = False

    def encode(self) -> bytes:
        """Return the body."""
        if self.body is not None:
            return self.body
        if self.answer.layout is None:
            return self.answer.head
        return b"".join((self.answer.head, orjson.dumps(self.rows), self.answer.tail))


Mishap = Callable[[Page], Page]


def http_429(page: Page) -> Page:
    """Too many requests, with Retry-After."""
    return _refuse(page, 429, Trouble.RATE_LIMIT, retry_after_s=1)


def http_429_bare(page: Page) -> Page:
    """Too many requests, and no word of when to come back."""
    return _refuse(page, 429, Trouble.RATE_LIMIT)


def http_418(page: Page) -> Page:
    """A ban, with Retry-After."""
    return _refuse(page, 418, Trouble.BAN, retry_after_s=2)


def http_500(page: Page) -> Page:
    """An error of the exchange's own."""
    return _refuse(page, 500, Trouble.INTERNAL)


def http_502(page: Page) -> Page:
    """A gateway that cannot reach the exchange: a web page."""
    return _gateway(page, 502, b"502 Bad Gateway")


def http_503(page: Page) -> Page:
    """An exchange that has too much to do."""
    return _refuse(page, 503, Trouble.OVERLOADED)


def http_504(page: Page) -> Page:
    """A gateway that waited for the exchange in vain: a web page."""
    return _gateway(page, 504, b"504 Gateway Time-out")


def maintenance(page: Page) -> Page:
    """Maintenance, as the exchange says it: not always with an HTTP status of its own."""
    return _refuse(page, page.maintenance_status, Trouble.MAINTENANCE)


def html(page: Page) -> Page:
    """A web page with status 200, as proxies and captive portals answer."""
    return replace(page, content_type=HTML, body=b"<!DOCTYPE html><html><body><h1>Just a moment...</h1></body>")


def empty_200(page: Page) -> Page:
    """Nothing at all, with status 200."""
    return replace(page, body=b"")


def truncated(page: Page) -> Page:
    """A body that ends in the middle, with status 200."""
    body = page.encode()
    return replace(page, body=body[: max(1, len(body) // 2)])


def reset(page: Page) -> Page:
    """A connection that closes in the middle of the body."""
    return replace(page, is_cut=True)


def timeout(page: Page) -> Page:
    """An answer that is a long time coming."""
    return replace(page, wait_s=page.hold_s)


def slow(page: Page) -> Page:
    """A body that comes in dribbles."""
    return replace(page, dribble_s=page.slow_s)


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


def late(page: Page) -> Page:
    """What closed within the last two minutes is not there yet."""
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


def wrong_checksum(page: Page) -> Page:
    """A checksum that differs in its first digit from what the file has."""
    body = page.encode()
    return replace(page, body=(b"1" if body[:1] == b"0" else b"0") + body[1:])


def _table(*mishaps: Mishap) -> Mapping[str, Mishap]:
    return MappingProxyType({mishap.__name__: mishap for mishap in mishaps})


OF_ANSWERS = _table(
    http_429,
    http_429_bare,
    http_418,
    http_500,
    http_502,
    http_503,
    http_504,
    maintenance,
    html,
    empty_200,
    truncated,
    reset,
    timeout,
    slow,
)
OF_ROWS = _table(null, nan, nan_string, negative_price, off_grid, wrong_order, duplicate_page, missing, late)
OF_CANDLES = _table(high_below_low, changed, forming)
OF_CHECKSUMS = _table(wrong_checksum)

MISHAPS: Mapping[str, Mishap] = MappingProxyType({**OF_ANSWERS, **OF_ROWS, **OF_CANDLES, **OF_CHECKSUMS})


def fitting(answer: Answer) -> Mapping[str, Mishap]:
    """Return the mishaps that can befall an answer of this kind."""
    if answer.layout is None:
        return {**OF_ANSWERS, **(OF_CHECKSUMS if answer.content_type == TEXT else {})}
    return {**OF_ANSWERS, **OF_ROWS, **({} if answer.layout.low is None else OF_CANDLES)}


def _refuse(page: Page, status: int, trouble: Trouble, retry_after_s: int | None = None) -> Page:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return replace(page, status=status, headers=headers, body=page.words(trouble, page.now_ms), content_type=JSON)


def _gateway(page: Page, status: int, title: bytes) -> Page:
    return replace(page, status=status, content_type=HTML, body=_GATEWAY % (title, title))


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
