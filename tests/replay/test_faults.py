"""Each fault does what it says, over real HTTP, and comes when it was asked for."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from http.client import IncompleteRead
from typing import Any

import orjson
import pytest

from etl.errors import ConfigError
from etl.replay import FAULTS, Fault, FaultPlan, MadeUpMarket, ReplayServer

pytestmark = pytest.mark.enable_socket

MINUTE_MS = 60_000
NOW_MS = 1_717_590_860_000  # 2024-06-05 12:34:20
WINDOW = {
    "symbol": "BTCUSDT",
    "interval": "1m",
    "startTime": 1_717_545_600_000,
    "endTime": 1_717_545_600_000 + 10 * MINUTE_MS - 1,
}


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    """Serve a made-up market whose clock stands still."""
    with ReplayServer(MadeUpMarket(), faults=FaultPlan(hold_s=0.3), limits=False, clock=lambda: NOW_MS) as running:
        yield running


def _differing(rows: list[Any], sound: list[Any]) -> Any:
    """Return the one row that is not as it should be, and what it should be."""
    assert len(rows) == len(sound)
    [pair] = [(row, was) for row, was in zip(rows, sound, strict=True) if row != was]
    return pair


def _only(number: int, is_right: Callable[[Any, list[Any]], bool]) -> Callable[[list[Any], list[Any]], bool]:
    """Return a check that one row differs, in column `number` alone, as `is_right` says."""

    def check(rows: list[Any], sound: list[Any]) -> bool:
        row, was = _differing(rows, sound)
        return row[:number] + row[number + 1 :] == was[:number] + was[number + 1 :] and is_right(row[number], was)

    return check


ROW_FAULTS: dict[str, Callable[[list[Any], list[Any]], bool]] = {
    "null": _only(4, lambda close, was: close is None),
    "nan": _only(4, lambda close, was: math.isnan(close)),
    "nan_string": _only(4, lambda close, was: close == "NaN"),
    "negative_price": _only(3, lambda low, was: float(low) == -float(was[3])),
    "high_below_low": _only(2, lambda high, was: 0 < float(high) < float(was[3])),
    "off_grid": _only(0, lambda opened, was: opened == was[0] + 7_000),
    "changed": _only(4, lambda close, was: close == was[3]),
    "forming": lambda rows, sound: rows[:-1] == sound and rows[-1][0] < NOW_MS < rows[-1][6],
    "wrong_order": lambda rows, sound: rows == sound[::-1] != sound,
    "duplicate_page": lambda rows, sound: rows == [row for row in sound for _ in range(2)],
    "missing": lambda rows, sound: rows == sound[:3] + sound[4:],
}
STATUSES = {"http_429": 429, "http_418": 418, "http_500": 500, "http_503": 503}


def test_every_fault_is_tried_here() -> None:
    """A new fault needs its test."""
    assert {*ROW_FAULTS, *STATUSES, "html", "truncated", "reset", "timeout"} == set(FAULTS)


@pytest.mark.parametrize("name", ROW_FAULTS)
def test_a_row_fault_changes_what_it_says_and_no_more(server: ReplayServer, ask: Any, name: str) -> None:
    """The page is as ever but for the fault, and the next one is sound."""
    sound = ask(server, "klines", **WINDOW).json
    server.faults.add(name)
    faulty = ask(server, "klines", **WINDOW)
    assert faulty.status == 200
    assert ROW_FAULTS[name](json.loads(faulty.body), sound)
    assert ask(server, "klines", **WINDOW).json == sound


@pytest.mark.parametrize("name", STATUSES)
def test_a_status_fault_answers_as_binance_does(server: ReplayServer, ask: Any, name: str) -> None:
    """The status, Binance's body, and Retry-After with those that ask for patience."""
    server.faults.add(name)
    answer = ask(server, "klines", **WINDOW)
    assert answer.status == STATUSES[name]
    assert answer.json["code"] < 0
    assert answer.headers.get("Retry-After") == {"http_429": "1", "http_418": "2"}.get(name)


def test_a_web_page_comes_with_status_200(server: ReplayServer, ask: Any) -> None:
    """What a proxy in between would answer."""
    server.faults.add("html")
    answer = ask(server, "klines", **WINDOW)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html")
    assert answer.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("name", ["truncated", "nan"])
def test_strict_json_refuses_it(server: ReplayServer, ask: Any, name: str) -> None:
    """Half a document and a bare NaN both arrive whole, as HTTP sees it, and are no JSON."""
    server.faults.add(name)
    answer = ask(server, "klines", **WINDOW)
    assert answer.status == 200
    with pytest.raises(orjson.JSONDecodeError):
        _ = answer.json


def test_a_reset_ends_the_body_early(server: ReplayServer, ask: Any) -> None:
    """The client is promised more than it gets, and the next request finds a server."""
    server.faults.add("reset")
    with pytest.raises(IncompleteRead):
        ask(server, "klines", **WINDOW)
    assert ask(server, "klines", **WINDOW).status == 200


def test_a_timeout_holds_the_answer(server: ReplayServer, ask: Any) -> None:
    """As long as the plan says, for whoever waits."""
    server.faults.add("timeout")
    began = time.monotonic()
    assert ask(server, "klines", **WINDOW).status == 200
    assert time.monotonic() - began >= 0.3


def test_faults_come_as_often_as_asked_for_and_to_whom() -> None:
    """First some pass, then so many are hit; another symbol's requests do not count."""
    plan = FaultPlan.parse(["null:2@1", "html:*"])
    plan.add("missing", after=1, symbol="ETH/USDT")
    taken = [plan.take("BTC/USDT") for _ in range(4)]
    assert taken == [("html",), ("null", "html"), ("null", "html"), ("html",)]
    assert [plan.take("ETH/USDT") for _ in range(3)] == [("html",), ("html", "missing"), ("html",)]
    assert plan.given == {"null": 2, "html": 7, "missing": 1}
    plan.clear()
    assert plan.take("BTC/USDT") == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("http_500", Fault("http_500")),
        ("http_429:2", Fault("http_429", 2)),
        ("null:1@3", Fault("null", 1, 3)),
        ("html:*@1", Fault("html", None, 1)),
        ("missing@2", Fault("missing", 1, 2)),
    ],
)
def test_faults_are_read_from_text(text: str, fault: Fault) -> None:
    """Name, times, and how many pass before."""
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(("text", "message"), [("http_42", "nearest: http_429"), ("null:often", "such as null:1@3")])
def test_an_unknown_fault_is_refused(text: str, message: str) -> None:
    """With the nearest one that there is, or the form."""
    with pytest.raises(ConfigError, match=message):
        FaultPlan.parse([text])
