"""Each fault does what it says, over real HTTP, in every protocol, and comes when it was asked for."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import time
import zipfile
from collections.abc import Callable, Iterator
from http.client import IncompleteRead, RemoteDisconnected
from typing import Any, NamedTuple

import orjson
import pytest

from etl.errors import ConfigError
from etl.extract.http import LISTING_BYTES
from etl.replay import FAULTS, Fault, FaultPlan, MadeUpMarket, ReplayServer

pytestmark = pytest.mark.enable_socket

MINUTE_MS = 60_000
NOW_MS = 1_717_590_860_000  # 2024-06-05 12:34:20
FORMING_MS = NOW_MS // MINUTE_MS * MINUTE_MS
ARCHIVE = "/data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-06-01.zip"


class Case(NamedTuple):
    """A route of rows: how it is asked, how its rows are found, and where what stands in them."""

    path: str
    params: dict[str, object]
    rows: Callable[[Any], list[Any]]
    time: int
    unit_ms: int
    low: int
    high: int
    close: int


CASES = {
    "binance": Case(
        "/api/v3/klines",
        {"symbol": "BTCUSDT", "interval": "1m", "startTime": FORMING_MS - 10 * MINUTE_MS, "endTime": FORMING_MS - 1},
        lambda body: body,
        *(0, 1, 3, 2, 4),
    ),
    "coinbase": Case(
        "/products/BTC-USDT/candles",
        {"granularity": 60, "start": "2024-06-05T12:24:00Z", "end": "2024-06-05T12:33:00.000Z"},
        lambda body: body,
        *(0, 1_000, 1, 2, 4),
    ),
    "kraken": Case(
        "/0/public/OHLC",
        {"pair": "XBTUSDT", "since": (FORMING_MS - 11 * MINUTE_MS) // 1_000},
        lambda body: body["result"]["XBTUSDT"],
        *(0, 1_000, 3, 2, 4),
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    """Serve a made-up market whose clock stands still."""
    faults = FaultPlan(hold_s=0.3, slow_s=0.3)
    with ReplayServer(MadeUpMarket(), faults=faults, limits=False, clock=lambda: NOW_MS) as running:
        yield running


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """One protocol's route of candles."""
    return CASES[request.param]


def _differing(rows: list[Any], sound: list[Any]) -> Any:
    """Return the one row that is not as it should be, and what it should be."""
    assert len(rows) == len(sound)
    [pair] = [(row, was) for row, was in zip(rows, sound, strict=True) if row != was]
    return pair


def _only(
    column: str, is_right: Callable[[Any, list[Any], Case], bool]
) -> Callable[[list[Any], list[Any], Case], bool]:
    """Return a check that one row differs, in `column` alone, as `is_right` says."""

    def check(rows: list[Any], sound: list[Any], case: Case) -> bool:
        row, was = _differing(rows, sound)
        number = getattr(case, column)
        return row[:number] + row[number + 1 :] == was[:number] + was[number + 1 :] and is_right(row[number], was, case)

    return check


def _has_forming(rows: list[Any], sound: list[Any], case: Case) -> bool:
    extra = [row for row in rows if row not in sound] or sound[-1:]
    ordered = sorted(rows, key=lambda row: row[0]) in (rows, rows[::-1])
    return ordered and len(rows) <= len(sound) + 1 and extra[0][case.time] * case.unit_ms == FORMING_MS


def _lacks_the_young(rows: list[Any], sound: list[Any], case: Case) -> bool:
    gone = {row[case.time] * case.unit_ms for row in sound} - {row[case.time] * case.unit_ms for row in rows}
    return gone == {FORMING_MS - MINUTE_MS, FORMING_MS - 2 * MINUTE_MS}


ROW_FAULTS: dict[str, Callable[[list[Any], list[Any], Case], bool]] = {
    "null": _only("close", lambda close, was, case: close is None),
    "nan": _only("close", lambda close, was, case: math.isnan(close)),
    "nan_string": _only("close", lambda close, was, case: close == "NaN"),
    "negative_price": _only("low", lambda low, was, case: float(low) == -float(was[case.low])),
    "high_below_low": _only("high", lambda high, was, case: 0 < float(high) < float(was[case.low])),
    "off_grid": _only("time", lambda opened, was, case: (opened - was[case.time]) * case.unit_ms == 7_000),
    "changed": _only("close", lambda close, was, case: close == was[case.low]),
    "forming": _has_forming,
    "wrong_order": lambda rows, sound, case: rows == sound[::-1] != sound,
    "duplicate_page": lambda rows, sound, case: rows == [row for row in sound for _ in range(2)],
    "missing": lambda rows, sound, case: rows == sound[:3] + sound[4:],
    "no_rows": lambda rows, sound, case: rows == [],
    "late": _lacks_the_young,
}
STATUSES = {"http_429": 429, "http_429_bare": 429, "http_418": 418, "http_500": 500, "http_503": 503}
GATEWAYS = {"http_403": 403, "http_404": 404, "http_451": 451, "http_502": 502, "http_504": 504}
EMPTY = {"empty_object": {}, "empty_list": [], "null_body": None}
FILES = {"wrong_checksum", "file_differs", "file_cut"}
NO_JSON = ("truncated", "nan", "empty_200", "nested")
OTHERS = {"html", "reset", "timeout", "slow", "maintenance", "error_200", "empty_listing", "wrong_encoding", "hang_up"}
OTHERS |= {"bomb", "redirect"}


def test_every_fault_is_tried_here() -> None:
    """A new fault needs its test."""
    assert {*ROW_FAULTS, *STATUSES, *GATEWAYS, *EMPTY, *NO_JSON, *FILES, *OTHERS} == set(FAULTS)


@pytest.mark.parametrize("name", ROW_FAULTS)
def test_a_row_fault_changes_what_it_says_and_no_more(server: ReplayServer, ask: Any, case: Case, name: str) -> None:
    """The page is as ever but for the fault, in kind too: text stays text. The next page is sound."""
    sound = case.rows(ask(server, case.path, **case.params).json)
    server.faults.add(name)
    faulty = ask(server, case.path, **case.params)
    assert faulty.status == 200
    rows = case.rows(json.loads(faulty.body))
    assert ROW_FAULTS[name](rows, sound, case)
    if name not in {"null", "nan", "nan_string", "no_rows"}:
        assert {type(row[case.low]) for row in rows} == {type(row[case.low]) for row in sound}
    assert case.rows(ask(server, case.path, **case.params).json) == sound


@pytest.mark.parametrize("name", STATUSES)
def test_a_status_fault_has_the_exchanges_words(server: ReplayServer, ask: Any, case: Case, name: str) -> None:
    """The status, a body in the exchange's form, and Retry-After with those that ask for patience."""
    server.faults.add(name)
    answer = ask(server, case.path, **case.params)
    assert answer.status == STATUSES[name]
    assert set(answer.json) in ({"code", "msg"}, {"message"}, {"error"})
    assert answer.headers.get("Retry-After") == {"http_429": "1", "http_418": "2"}.get(name)


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_answers_with_a_web_page(server: ReplayServer, ask: Any, case: Case, name: str) -> None:
    """A gateway before an exchange speaks no JSON."""
    server.faults.add(name)
    answer = ask(server, case.path, **case.params)
    assert (answer.status, answer.headers["Content-Type"]) == (GATEWAYS[name], "text/html")


def test_maintenance_is_said_as_each_exchange_does(server: ReplayServer, ask: Any) -> None:
    """Kraken's comes with HTTP 200."""
    server.faults.add("maintenance", 3)
    answers = {name: ask(server, case.path, **case.params) for name, case in CASES.items()}
    assert [answer.status for answer in answers.values()] == [503, 503, 200]
    assert answers["kraken"].json == {"error": ["EService:Unavailable"]}
    assert "maintenance" in answers["coinbase"].json["message"]


def test_a_web_page_comes_with_status_200(server: ReplayServer, ask: Any, case: Case) -> None:
    """A proxy in between would answer so."""
    server.faults.add("html")
    answer = ask(server, case.path, **case.params)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html")
    assert answer.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("name", NO_JSON)
def test_strict_json_refuses_it(server: ReplayServer, ask: Any, case: Case, name: str) -> None:
    """Half a document, a bare NaN, nothing and too many lists all arrive whole, as HTTP sees it, and are no JSON."""
    server.faults.add(name)
    answer = ask(server, case.path, **case.params)
    assert answer.status == 200
    with pytest.raises(orjson.JSONDecodeError):
        _ = answer.json


@pytest.mark.parametrize("name", EMPTY)
def test_an_answer_may_say_nothing(server: ReplayServer, ask: Any, case: Case, name: str) -> None:
    """JSON, with status 200, of the wrong form or without a word."""
    server.faults.add(name)
    answer = ask(server, case.path, **case.params)
    assert (answer.status, answer.json) == (200, EMPTY[name])


def test_an_error_may_come_with_status_200(server: ReplayServer, ask: Any, case: Case) -> None:
    """In the exchange's words."""
    server.faults.add("error_200")
    answer = ask(server, case.path, **case.params)
    assert (answer.status, set(answer.json) <= {"code", "msg", "message", "error"}) == (200, True)


@pytest.mark.parametrize(
    ("path", "entries"),
    [
        ("exchangeInfo", lambda answer: answer["symbols"]),
        ("/products", lambda answer: answer),
        ("/0/public/AssetPairs", lambda answer: answer["result"]),
    ],
)
def test_a_list_of_symbols_may_be_empty(
    server: ReplayServer, ask: Any, path: str, entries: Callable[[Any], Any]
) -> None:
    """In its usual form; what is no list of symbols is left alone."""
    server.faults.add("empty_listing", None, route="*")
    sound = ask(server, "time").json
    empty = ask(server, path).json
    server.faults.clear()
    full = ask(server, path).json
    assert "serverTime" in sound
    assert (len(entries(empty)), len(entries(full)) > 0, type(empty)) == (0, True, type(full))


def test_a_fault_of_every_route_befalls_refusals_too(server: ReplayServer, ask: Any) -> None:
    """A gateway answers for an exchange whatever it was asked; without it the exchange refuses as ever."""
    server.faults.add("html", None, route="*")
    paths = ("time", "exchangeInfo", "/products", "/products/NO-ONE/candles", "/0/public/Time", ARCHIVE)
    assert {ask(server, path).headers["Content-Type"] for path in paths} == {"text/html"}
    server.faults.clear()
    assert ask(server, "/products/NO-ONE/candles").status == 404


@pytest.mark.parametrize(("name", "rows", "wrong"), [("file_differs", 24, 1), ("file_cut", 8, 0)])
def test_a_file_may_be_wrong_and_agree_with_its_checksum(
    server: ReplayServer, ask: Any, name: str, rows: int, wrong: int
) -> None:
    """It unpacks, its checksum is its own, and some of its candles are others or are not there."""

    def lines_of(file: bytes) -> list[str]:
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            return archive.read(archive.namelist()[0]).decode().splitlines()

    sound = lines_of(ask(server, ARCHIVE).body)
    server.faults.add(name, None)
    file, stated = ask(server, ARCHIVE).body, ask(server, f"{ARCHIVE}.CHECKSUM").body.decode()
    server.faults.clear()
    assert stated.split() == [hashlib.sha256(file).hexdigest(), ARCHIVE.rpartition("/")[2]]
    lines = lines_of(file)
    assert (len(lines), sum(line not in sound for line in lines)) == (rows, wrong)


def test_a_reset_ends_the_body_early(server: ReplayServer, ask: Any, case: Case) -> None:
    """The client is promised more than it gets, and the next request finds a server."""
    server.faults.add("reset")
    with pytest.raises(IncompleteRead):
        ask(server, case.path, **case.params)
    assert ask(server, case.path, **case.params).status == 200


def test_a_body_is_not_packed_as_its_header_says(server: ReplayServer, ask: Any, case: Case) -> None:
    """Whoever unpacks it fails."""
    server.faults.add("wrong_encoding")
    answer = ask(server, case.path, **case.params)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.body[:2] != b"\x1f\x8b"


def test_a_body_unpacks_to_a_thousand_times_its_size(server: ReplayServer, ask: Any, case: Case) -> None:
    """It is sound gzip, all blanks, and far above what any answer may have."""
    server.faults.add("bomb")
    packed = ask(server, case.path, **case.params).body
    assert len(packed) < LISTING_BYTES / 100
    with gzip.open(io.BytesIO(packed)) as unpacked:
        pieces = iter(lambda: unpacked.read(1 << 20), b"")
        assert sum(len(piece) for piece in pieces if not piece.strip()) > 4 * LISTING_BYTES


def test_a_redirect_leads_to_another_host(server: ReplayServer, ask: Any, case: Case) -> None:
    """A client that follows it would ask what only this machine may ask."""
    server.faults.add("redirect")
    answer = ask(server, case.path, **case.params)
    assert answer.status == 302
    assert not answer.headers["Location"].startswith(server.url)


def test_a_connection_closes_without_an_answer(server: ReplayServer, ask: Any, case: Case) -> None:
    """The next request finds a server."""
    server.faults.add("hang_up")
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        ask(server, case.path, **case.params)
    assert ask(server, case.path, **case.params).status == 200


@pytest.mark.parametrize("name", ["timeout", "slow"])
def test_an_answer_takes_its_time(server: ReplayServer, ask: Any, case: Case, name: str) -> None:
    """As long as the plan says, for whoever waits, and then it is sound."""
    sound = ask(server, case.path, **case.params)
    server.faults.add(name)
    began = time.monotonic()
    assert ask(server, case.path, **case.params).body == sound.body
    assert time.monotonic() - began >= 0.3


def test_trades_can_be_spoilt_too(server: ReplayServer, ask: Any) -> None:
    """A fault that makes sense for trades befalls them; one that needs a candle passes them by and waits for one."""
    params = {"pair": "XBTUSDT", "since": NOW_MS // 1_000 - 600}
    sound = ask(server, "/0/public/Trades", **params).json["result"]
    server.faults.add("changed", route="Trades")
    assert ask(server, "/0/public/Trades", **params).json["result"] == sound
    server.faults.clear()
    server.faults.add("missing", route="trades")
    spoilt = ask(server, "/0/public/Trades", **params).json["result"]
    assert spoilt["last"] == sound["last"]
    assert 0 < len(spoilt["XBTUSDT"]) < len(sound["XBTUSDT"])


def test_a_fault_without_a_route_leaves_all_but_rows_alone(server: ReplayServer, ask: Any) -> None:
    """The time, the listings and the archives answer, unless a fault names their route."""
    server.faults.add("http_500", None)
    assert ask(server, "klines", **CASES["binance"].params).status == 500
    assert ask(server, "time").status == ask(server, "exchangeInfo").status == ask(server, ARCHIVE).status == 200
    server.faults.clear()
    server.faults.add("http_500", None, route="time")
    server.faults.add("http_503", None, route="bulk")
    assert ask(server, "klines", **CASES["binance"].params).status == 200
    assert [ask(server, path).status for path in ("time", "/time", "/0/public/Time", ARCHIVE)] == [500, 500, 500, 503]
    server.faults.clear()


def test_a_wrong_checksum_comes_with_the_next_checksum(server: ReplayServer, ask: Any) -> None:
    """The file beside it is sound, and does not use the fault up."""
    sound = ask(server, f"{ARCHIVE}.CHECKSUM").body
    server.faults.add("wrong_checksum")
    assert ask(server, ARCHIVE).body[:2] == b"PK"
    wrong = ask(server, f"{ARCHIVE}.CHECKSUM").body
    assert len(wrong) == len(sound)
    assert sum(a != b for a, b in zip(wrong, sound, strict=True)) == 1
    assert ask(server, f"{ARCHIVE}.CHECKSUM").body == sound


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


def test_a_share_is_drawn_and_the_draws_are_the_plans_own() -> None:
    """About one request in twenty, the same ones whenever the plan is run, others with another seed."""

    def draws(seed: int) -> list[bool]:
        plan = FaultPlan.parse(["reset:5%@10"], seed=seed)
        return [bool(plan.take("BTC/USDT")) for _ in range(4_000)]

    assert not any(draws(0)[:10])
    assert 130 < sum(draws(0)) < 270
    assert draws(0) == draws(0) != draws(1)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("http_500", Fault("http_500")),
        ("http_429:2", Fault("http_429", 2)),
        ("null:1@3", Fault("null", 1, 3)),
        ("html:*@1", Fault("html", None, 1)),
        ("missing@2", Fault("missing", 1, 2)),
        ("reset:5%/klines", Fault("reset", None, share=0.05, route="klines")),
        ("http_503:*@2/time", Fault("http_503", None, 2, route="time")),
        ("late/OHLC", Fault("late", route="OHLC")),
    ],
)
def test_faults_are_read_from_text(text: str, fault: Fault) -> None:
    """Name, times or a share, how many pass before, and the route."""
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [("http_42", "nearest: http_429"), ("null:often", "such as null:1@3"), ("reset:200%", "between 0 and 1")],
)
def test_an_unknown_fault_is_refused(text: str, message: str) -> None:
    """With the nearest one that there is, or the form."""
    with pytest.raises(ConfigError, match=message):
        FaultPlan.parse([text])
