"""What can be wrong with a page, by name, and the plan of what shall go wrong when.

A fault takes the page about to be sent and returns another one. A new one is a function and a line in `FAULTS`.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import orjson

from etl.errors import ConfigError
from etl.replay.binance import RefusedError, banned, too_much_weight
from etl.settings import nearest

JSON = "application/json;charset=UTF-8"
_OPEN_TIME, _HIGH, _LOW, _CLOSE = 0, 2, 3, 4
_TEXT = re.compile(r"(?P<name>\w+)(:(?P<times>\d+|\*))?(@(?P<after>\d+))?")

WireRow = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer about to be sent.

    Attributes:
        rows: The candles as they go over the wire.
        forming: The candle that is forming now, where there is one.
        now_ms: The exchange's clock.
        hold_s: How long a fault that holds an answer holds it.
        body: What is sent instead of the rows.
        wait_s: How long the answer is held back.
        is_cut: Whether the connection closes in the middle of the body.
    """

    rows: tuple[WireRow, ...]
    forming: WireRow | None
    now_ms: int
    hold_s: float
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    body: bytes | None = None
    wait_s: float = 0.0
    is_cut: bool = False

    def encode(self) -> bytes:
        """Return the body."""
        return orjson.dumps(self.rows) if self.body is None else self.body


def http_429(page: Page) -> Page:
    """Too many requests, with Retry-After."""
    return _refuse(page, too_much_weight(retry_after_s=1))


def http_418(page: Page) -> Page:
    """A ban, with Retry-After."""
    return _refuse(page, banned(page.now_ms + 2_000, page.now_ms))


def http_500(page: Page) -> Page:
    """An error of the exchange's own."""
    return _refuse(page, RefusedError(-1000, "An unknown error occurred while processing the request.", status=500))


def http_503(page: Page) -> Page:
    """Maintenance."""
    return _refuse(page, RefusedError(-1008, "Server is currently overloaded with other requests.", status=503))


def html(page: Page) -> Page:
    """A web page with status 200, as proxies and captive portals answer."""
    return replace(page, content_type="text/html", body=b"<!DOCTYPE html><html><body><h1>Just a moment...</h1></body>")


def truncated(page: Page) -> Page:
    """JSON that ends in the middle, with status 200."""
    body = page.encode()
    return replace(page, body=body[: max(1, len(body) // 2)])


def reset(page: Page) -> Page:
    """A connection that closes in the middle of the body."""
    return replace(page, is_cut=True)


def timeout(page: Page) -> Page:
    """An answer that is a long time coming."""
    return replace(page, wait_s=page.hold_s)


def null(page: Page) -> Page:
    """A candle without a close."""
    return _change(page, lambda row: {_CLOSE: None})


def nan(page: Page) -> Page:
    """A close that is a bare NaN, so that the body is not strict JSON."""
    page = _change(page, lambda row: {_CLOSE: float("nan")})
    return replace(page, body=json.dumps(page.rows, separators=(",", ":")).encode())


def nan_string(page: Page) -> Page:
    """A close that is the text NaN."""
    return _change(page, lambda row: {_CLOSE: "NaN"})


def negative_price(page: Page) -> Page:
    """A low below zero, which no relation between the prices forbids."""
    return _change(page, lambda row: {_LOW: f"-{row[_LOW]}"})


def high_below_low(page: Page) -> Page:
    """A high that is half the low."""
    return _change(page, lambda row: {_HIGH: f"{float(row[_LOW]) / 2:.8f}"})


def off_grid(page: Page) -> Page:
    """An open time seven seconds past the grid."""
    return _change(page, lambda row: {_OPEN_TIME: row[_OPEN_TIME] + 7_000})


def changed(page: Page) -> Page:
    """A candle that closed at its low: sound by itself, but not what is served another time."""
    return _change(page, lambda row: {_CLOSE: row[_LOW]})


def forming(page: Page) -> Page:
    """The candle that is forming now at the end of the page, asked for or not."""
    if page.forming is None or page.forming in page.rows:
        return page
    return replace(page, rows=(*page.rows, page.forming))


def wrong_order(page: Page) -> Page:
    """Newest first."""
    return replace(page, rows=page.rows[::-1])


def duplicate_page(page: Page) -> Page:
    """Every row twice."""
    return replace(page, rows=tuple(row for row in page.rows for _ in range(2)))


def missing(page: Page) -> Page:
    """A tenth of the rows left out, in the middle; at least one."""
    start = len(page.rows) // 3
    return replace(page, rows=page.rows[:start] + page.rows[start + max(1, len(page.rows) // 10) :])


FAULTS: Mapping[str, Callable[[Page], Page]] = MappingProxyType(
    {
        "http_429": http_429,
        "http_418": http_418,
        "http_500": http_500,
        "http_503": http_503,
        "html": html,
        "truncated": truncated,
        "reset": reset,
        "timeout": timeout,
        "null": null,
        "nan": nan,
        "nan_string": nan_string,
        "negative_price": negative_price,
        "high_below_low": high_below_low,
        "off_grid": off_grid,
        "changed": changed,
        "forming": forming,
        "wrong_order": wrong_order,
        "duplicate_page": duplicate_page,
        "missing": missing,
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to come.

    Attributes:
        name: One of `FAULTS`.
        times: How many matching requests it befalls; None for all.
        after: How many matching requests pass before it begins.
        symbol: The symbol whose requests match (ccxt's form); None for every one.

    Raises:
        ConfigError: There is no such fault.
    """

    name: str
    times: int | None = 1
    after: int = 0
    symbol: str | None = None

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ConfigError(f"no fault {self.name!r}{nearest(self.name, FAULTS)}")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read `http_500` (once), `http_429:2` (twice), `html:*` (always), `null:1@3` (once, from the fourth request).

        Raises:
            ConfigError: `text` is not of that form, or there is no such fault.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ConfigError(f"{text!r} is no fault; write name, name:times or name:times@after, such as null:1@3")
        times = None if match["times"] == "*" else int(match["times"] or 1)
        return cls(match["name"], times, int(match["after"] or 0))


class FaultPlan:
    """What shall go wrong with which of the requests to come. May be changed while a server runs.

    Args:
        faults: The first entries.
        hold_s: How long `timeout` holds an answer.

    Attributes:
        given: How often each fault has befallen a request.
    """

    def __init__(self, *faults: Fault, hold_s: float = 30.0) -> None:
        self.hold_s = hold_s
        self.given: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._entries: list[tuple[Fault, list[int]]] = [(fault, [0]) for fault in faults]

    @classmethod
    def parse(cls, texts: Iterable[str], *, hold_s: float = 30.0) -> FaultPlan:
        """Read a plan from texts such as `null:1@3`; see `Fault.parse`.

        Raises:
            ConfigError: One of them names no fault.
        """
        return cls(*map(Fault.parse, texts), hold_s=hold_s)

    def add(self, name: str, times: int | None = 1, after: int = 0, symbol: str | None = None) -> None:
        """Let `name` befall the next `times` matching requests, once `after` of them have passed.

        Raises:
            ConfigError: There is no such fault.
        """
        with self._lock:
            self._entries.append((Fault(name, times, after, symbol), [0]))

    def clear(self) -> None:
        """Let nothing go wrong from now on."""
        with self._lock:
            self._entries.clear()

    def take(self, symbol: str) -> tuple[str, ...]:
        """Count a request for `symbol` and return the faults that befall it."""
        names = []
        with self._lock:
            for fault, seen in self._entries:
                if fault.symbol in {None, symbol}:
                    seen[0] += 1
                    if seen[0] > fault.after and (fault.times is None or seen[0] <= fault.after + fault.times):
                        names.append(fault.name)
            self.given.update(names)
        return tuple(names)


def _refuse(page: Page, answer: RefusedError) -> Page:
    return replace(page, status=answer.status, headers=answer.headers, body=answer.body)


def _change(page: Page, values_of: Callable[[WireRow], Mapping[int, Any]]) -> Page:
    """Return the page with other values in its middle row."""
    if not page.rows:
        return page
    middle = len(page.rows) // 2
    values = values_of(page.rows[middle])
    row = tuple(values.get(number, value) for number, value in enumerate(page.rows[middle]))
    return replace(page, rows=(*page.rows[:middle], row, *page.rows[middle + 1 :]))
