"""The market page's server, as browsers and scripts find it: who may do what, and what nonsense comes to."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from sqlalchemy import select

from etl.feeds_file import load_settings
from etl.settings import Settings
from etl.warehouse import Warehouse, known_series, open_warehouse, read_incident_changes, refresh_quality
from etl.warehouse.incident_tables import alerts
from tests.integration.airflow.airflow_process import REPOSITORY, AirflowProcess, fresh_databases
from tests.made_incidents import BTC, START, candles, found, have, hold
from tests.patience import PATIENCE_S

FEEDS = """
[feeds.majors]
exchange = "binance"
symbols = ["BTC/USDT"]
timeframes = ["1m"]
start = 2021-01-01

[feeds.others]
exchange = "kraken"
symbols = ["ETH/USD"]
timeframes = ["1m"]
start = 2021-01-01
"""
TOKEN = "for-prometheus"  # noqa: S105  # of this server alone
DAY = START.date().isoformat()
RANGE = {"series": str(BTC), "start": f"{DAY}T00:00", "end": f"{DAY}T23:59"}
READ = {
    "/chandler/market": {},
    "/chandler/static/market.js": {},
    "/chandler/static/lightweight-charts.mjs": {},
    "/chandler/api/me": {},
    "/chandler/api/series": {},
    "/chandler/api/coverage": {"end": DAY},
    "/chandler/api/day": {"series": str(BTC), "day": DAY},
    "/chandler/api/candles": RANGE,
    "/chandler/api/marks": RANGE,
    "/chandler/api/incidents": {},
    "/chandler/api/models": {},
    "/chandler/api/exchanges": {},
    "/chandler/metrics": {},
    "/chandler/quality": RANGE,
    "/chandler/incidents": {},
    "/chandler/incident": {"id": "1"},
}
ACT = {"/chandler/api/incidents/1/acknowledge": {"note": "seen"}, "/chandler/api/incidents/1/judge": {"is_false": True}}
TAKES = {
    "market": "dag",
    "api/coverage": "start end dag",
    "api/day": "series day",
    "api/candles": "series start end most as_of",
    "api/marks": "series start end",
    "api/incidents": "series severity kind scope state history acknowledged false limit offset",
    "quality": "series start end",
    "incidents": "series",
    "incident": "id",
    "models/report": "model",
}
OURS = {"X-Chandler": "1", "Content-Type": "application/json"}
NONSENSE = (
    "'; DROP TABLE candles; --",
    "binance:BTC/USDT:1m' OR '1'='1",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "\x00",
    "%00",
    "<script>alert(1)</script>",
    "9" * 400,
    "-1",
    "NaN",
    "1e999",
    "0001-01-01",
    "9999-12-31",
    "0001-01-01T00:00+05:00",
    "9999-12-31T12:00",
    "2021-02-30",
    "١٢٣",
    "{{7*7}}",
    "${jndi:ldap://127.0.0.1/x}",
)


@dataclass(frozen=True, slots=True)
class Served:
    """A server with a crash in its warehouse.

    Attributes:
        crash: The number of the incident.
    """

    airflow: AirflowProcess
    warehouse: Warehouse
    settings: Settings
    crash: int

    def get(self, path: str, user: str | None = "viewer", **query: str) -> Any:
        """Return what a page answers that is asked for in earnest."""
        answer = self.airflow.send(f"{path}?{urlencode(query)}", user)
        assert answer["status"] == 200, answer["body"]
        return json.loads(answer["body"])

    def post(self, path: str, user: str | None, body: Any, **headers: str) -> int:
        """Return the status of what somebody does."""
        sent = json.dumps(body)
        return int(self.airflow.send(path, user, method="POST", headers=OURS | headers, body=sent)["status"])


@pytest.fixture(scope="module")
def served(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Four hours of candles with a crash, and nothing of the other feed."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {"CHANDLER_METRICS_TOKEN": TOKEN}
    with fresh_databases(postgres, 1) as [url], AirflowProcess(home, FEEDS, url, environment) as airflow:
        settings = load_settings(home / "feeds.toml", home=home, warehouse_url=url)
        with open_warehouse(settings) as warehouse:
            hold(warehouse)
            crash = have(warehouse, found(), is_told=True)
            with warehouse.begin() as connection:
                refresh_quality(connection, known_series(connection)[BTC], BTC.timeframe, found().time_range)
            yield Served(airflow, warehouse, settings, crash)


@pytest.mark.parametrize("path", READ)
def test_who_is_not_logged_in_sees_nothing(served: Served, path: str) -> None:
    """401, whatever is asked for; 403 for who is logged in and may look at nothing; a viewer gets an answer."""
    page = f"{path}?{urlencode(READ[path])}"
    assert served.airflow.send(page, None)["status"] == 401
    assert served.airflow.send(page, "nobody")["status"] == 403
    assert served.airflow.send(page, "viewer")["status"] == 200


def test_every_address_asks_who_it_is(served: Served) -> None:
    """A route that somebody adds one day, and forgets to guard, fails here: each that is mounted answers 401."""
    routes = served.airflow.routes()
    assert len(routes) > len(READ)
    for method, path in routes:
        filled = path.replace("{incident}", "1").replace("{name}", "market.js")
        assert served.airflow.send(filled, None, method=method, headers=OURS, body="{}")["status"] == 401, path


@pytest.mark.parametrize("path", ACT)
def test_viewers_look_and_users_act(served: Served, path: str) -> None:
    """Nobody: 401. Who may only look: 403, and nothing has happened. Who may start runs: done, and on record."""
    own = path.replace("/1/", f"/{served.crash}/")
    before = changes(served)
    assert [served.post(own, user, ACT[path]) for user in (None, "nobody", "viewer")] == [401, 403, 403]
    assert changes(served) == before
    assert served.post(own, "user", ACT[path]) == 200
    assert len(changes(served)) == len(before) + 1
    assert changes(served)[-1].run == "market page, user"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"X-Chandler": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_another_site_cannot_act_for_somebody(served: Served, headers: dict[str, str]) -> None:
    """A form or a script elsewhere that a browser lends the login is refused, and nothing has happened."""
    before = changes(served)
    assert served.post(f"/chandler/api/incidents/{served.crash}/judge", "admin", {"is_false": True}, **headers) == 403
    assert changes(served) == before
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    asked = served.airflow.send("/chandler/api/incidents/1/judge", "admin", method="OPTIONS", headers=preflight)
    assert "access-control-allow-origin" not in asked["headers"]


@pytest.mark.parametrize("place", TAKES)
def test_nonsense_in_a_parameter_is_nonsense(served: Served, place: str) -> None:
    """It is refused or found to be nothing; the database is never given it, and no page shows it as its own."""
    path, names = f"/chandler/{place}", TAKES[place]
    for name, text in itertools.product(names.split(), NONSENSE):
        answer = served.airflow.send(f"{path}?{urlencode(READ.get(path, {}) | {name: text})}", "viewer")
        assert answer["status"] in {200, 404, 422}, (text, answer["body"])
        assert "root:" not in answer["body"]
        if answer["headers"]["content-type"].startswith("text/html"):
            assert "<script>alert(1)" not in answer["body"]
    with served.warehouse.begin() as connection:
        assert known_series(connection), "the tables stand"


@pytest.mark.parametrize(
    ("page", "status", "said"),
    [
        ("api/coverage?dag=nope", 404, "DAG 'nope' loads no series"),
        ("api/coverage?dag=ingest_nope", 404, "feeds.toml has a DAG of that name"),
        ("api/coverage?start=2021-02-30", 422, "start: '2021-02-30' is no day; write 2024-01-31"),
        ("api/incidents?offset=99999", 422, "offset=99999 is beyond the last of 1 incident; begin at 0"),
        ("api/incidents?offset=x", 422, "offset: 'x' is no whole number"),
        ("api/incidents?limit=0&offset=-1", 422, "limit: '0' is below 1; offset: '-1' is below 0"),
        ("api/incidents?severity=grave", 422, "severity: 'grave' is none of 'low'"),
        (f"api/candles?{urlencode(RANGE)}&as_of=garbage", 422, "as_of: 'garbage' is no moment; write 2024-01-31"),
        ("api/day?series=binance:BTC/USDT:1m", 422, "day: is missing"),
    ],
)
def test_what_cannot_be_meant_is_told_in_words(served: Served, page: str, status: int, said: str) -> None:
    """The parameter by its name, what is wrong with it, and never an answer to something else."""
    answer = served.airflow.send(f"/chandler/{page}", "viewer")
    assert answer["status"] == status
    assert said in json.loads(answer["body"])["detail"]


def test_a_browser_is_told_on_a_page_with_a_way_on(served: Served) -> None:
    """A visitor who is not logged in any more finds the login, which leads back; others the market page."""
    html = {"Accept": "text/html,application/xhtml+xml"}
    asked = f"/chandler/incident?{urlencode({'id': served.crash})}"
    gone = served.airflow.send(asked, None, headers=html)
    assert gone["status"] == 401
    assert "Your session has ended" in gone["body"]
    assert f"/api/v2/auth/login?next={quote(asked, safe='')}" in gone["body"]
    for page, status in (("incident?id=999", 404), ("incident?id=x", 422), ("models/report?model=9", 404)):
        answer = served.airflow.send(f"/chandler/{page}", "viewer", headers=html)
        assert (answer["status"], answer["headers"]["content-type"]) == (status, "text/html; charset=utf-8")
        assert '<a href="/chandler/market">' in answer["body"]


def test_no_page_shows_more_than_a_browser_can(served: Served) -> None:
    """Neither decades, nor years of many series."""
    years = {"start": "2001-01-01", "end": "2020-01-01"}
    for asked in (
        [("series", str(BTC)), ("start", "2001-01-01"), ("end", "2031-01-01")],
        [*(("series", f"binance:X{number}/USDT:1m") for number in range(3)), *years.items()],
    ):
        assert served.airflow.send(f"/chandler/quality?{urlencode(asked)}", "viewer")["status"] == 422
    assert served.airflow.send(f"/chandler/quality?{urlencode(RANGE | years)}", "viewer")["status"] == 200


def test_what_is_locked_is_not_waited_for(served: Served) -> None:
    """Nobody keeps a thread of the server for longer than seconds."""
    with served.warehouse.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE incidents")
        assert served.post(f"/chandler/api/incidents/{served.crash}/judge", "user", {"is_false": True}) == 503


def test_paths_lead_nowhere_else(served: Served) -> None:
    """Of files, those that belong to the page; of incidents, numbers that there can be."""
    for name in (*NONSENSE, "../gate.py", "%2e%2e%2fgate.py", "..%5cgate.py", "package.json", "market.js%00.css"):
        answer = served.airflow.send(f"/chandler/static/{quote(name, safe='%.')}", "viewer")
        assert answer["status"] in {404, 405}, (name, answer["body"][:200])
        wanted = f"/chandler/api/incidents/{quote(name, safe='%.')}/acknowledge"
        assert served.airflow.send(wanted, "admin", method="POST", headers=OURS, body="{}")["status"] in {404, 405, 422}


@pytest.mark.parametrize(
    "body",
    [
        *("", "[]", "null", "{", "[" * 9999),
        *('{"is_false": "yes"}', '{"is_false": 1}', '{"is_false": true, "run": "x"}'),
        *('{"is_false": true, "note": "\\u0000"}', '{"is_false": true, "note": "\\ud800"}'),
    ],
)
def test_nonsense_that_is_sent_changes_nothing(served: Served, body: str) -> None:
    """It is refused in words."""
    before = changes(served)
    page = f"/chandler/api/incidents/{served.crash}/judge"
    assert served.airflow.send(page, "admin", method="POST", headers=OURS, body=body)["status"] in {400, 422}
    assert served.post(page, "admin", {"is_false": True, "note": "x" * 1001}) == 422
    assert served.post("/chandler/api/incidents/999999/judge", "admin", {"is_false": True}) == 404
    assert changes(served) == before


def test_a_long_body_is_refused_before_anybody_asks_who_sends_it(served: Served) -> None:
    """Not read, and so not parsed: neither of who is not logged in, nor of an admin."""
    page = f"/chandler/api/incidents/{served.crash}/judge"
    body = json.dumps({"is_false": True, "note": "x" * (64 << 10)})
    for user in (None, "nobody", "admin"):
        answer = served.airflow.send(page, user, method="POST", headers=OURS, body=body)
        assert answer["status"] == 413, user
        assert json.loads(answer["body"]) == {"detail": "what is sent here has 64 kB at most"}


def test_every_answer_says_what_a_browser_may_do_with_it(served: Served) -> None:
    """No script but ours, no other host, no frame elsewhere, nothing kept; a module is sent once."""
    for path, query in READ.items():
        headers = served.airflow.send(f"{path}?{urlencode(query)}", "viewer")["headers"]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "http:" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["cache-control"] in {"no-store", "private, no-cache"}
    module = served.airflow.send("/chandler/static/market.js", "viewer")["headers"]
    again = served.airflow.send("/chandler/static/market.js", "viewer", headers={"If-None-Match": module["etag"]})
    assert again["status"] == 304


def test_no_secret_is_in_any_answer(served: Served) -> None:
    """Neither the warehouse's address nor a token, also when it cannot be read."""
    for path, query in READ.items():
        body = served.airflow.send(f"{path}?{urlencode(query)}", "viewer")["body"]
        assert TOKEN not in body
        assert str(served.settings.warehouse_url) not in body
        assert str(REPOSITORY) not in body


def test_prometheus_needs_its_token_or_a_login(served: Served) -> None:
    """The token opens the metrics and nothing else; another one opens nothing."""

    def ask(path: str, token: str) -> int:
        return int(served.airflow.send(path, None, headers={"Authorization": f"Bearer {token}"})["status"])

    assert ask("/chandler/metrics", TOKEN) == 200
    assert ask("/chandler/metrics", "another") in {401, 403}
    assert ask("/chandler/metrics", "") in {401, 403}
    assert ask("/chandler/api/series", TOKEN) in {401, 403}


def test_the_page_is_answered_what_the_warehouse_holds(served: Served) -> None:
    """Series with their feeds, the account of the day, candles, the crash among the marks and in the list."""
    [series] = served.get("/chandler/api/series")
    assert (series["series"], series["feeds"]) == (str(BTC), ["majors"])
    coverage = served.get("/chandler/api/coverage", end=DAY, start=DAY)
    assert [one["series"] for one in coverage["series"]] == [str(BTC)]
    assert served.get("/chandler/api/coverage", end=DAY, dag="ingest_others")["series"] == []
    day = served.get("/chandler/api/day", series=str(BTC), day=DAY)
    assert day["quality"]["stored"] == candles().num_rows
    assert [one["id"] for one in day["incidents"]] == [served.crash]
    assert day["feeds"] == [{"dag_id": "ingest_majors", "history_dag_id": "history_majors", "start": "2021-01-01"}]
    found = served.get("/chandler/api/candles", **RANGE)
    assert (found["width"], len(found["time_s"])) == ("1m", candles().num_rows)
    assert [one["id"] for one in served.get("/chandler/api/marks", **RANGE)["incidents"]] == [served.crash]
    listed = served.get("/chandler/api/incidents", kind="crash")
    assert (listed["total"], listed["incidents"][0]["id"]) == (1, served.crash)
    assert served.get("/chandler/api/incidents", kind="spread")["total"] == 0
    assert served.get("/chandler/api/me") == {"name": "viewer", "faults": []}
    assert "1m takes 28 days (40,320 candles)" in served.get("/chandler/api/models")["next"]


def test_a_broken_feeds_file_is_told_as_such_and_hides_nothing(served: Served) -> None:
    """Page, metrics and alerts go on without the feed, and say what is wrong with it, and not with the warehouse."""
    path = served.airflow.home / "feeds.toml"
    path.write_text(FEEDS.replace('"ETH/USD"', '"ETHUSD"'), encoding="utf-8")
    try:
        mistake = f"{path}: feeds.others: 'ETHUSD' is no symbol; write BASE/QUOTE, such as BTC/USDT; nearest: ETH/USD"
        deadline = time.monotonic() + PATIENCE_S  # the server looks again only after seconds
        while not (faults := served.get("/chandler/api/me")["faults"]) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert faults == [mistake]
        for page, query in READ.items():
            assert served.airflow.send(f"{page}?{urlencode(query)}", "viewer")["status"] == 200, page
        assert escape(mistake) in served.airflow.send("/chandler/market", "viewer")["body"]
        metrics = served.airflow.send("/chandler/metrics", "viewer")["body"]
        assert 'chandler_settings_faults{table="feeds.others"} 1.0' in metrics
        run = served.airflow.run("deliver_alerts", datetime(2026, 1, 1, tzinfo=UTC))
        assert run.state == "success", run.log
        with served.warehouse.begin() as connection:
            told = connection.execute(select(alerts.c.kind).where(alerts.c.incident_id.is_(None))).scalars().all()
        assert told == ["faulty_settings"], run.log
    finally:
        path.write_text(FEEDS, encoding="utf-8")


def test_a_refused_question_is_answered_in_our_words(served: Served) -> None:
    """The answer says where, what, and what to ask for instead; nothing of how the server checks it."""
    for name, text, said in (
        ("start", "garbage", "start: 'garbage' is no moment; write 2024-01-31 or 2024-01-31T12:00"),
        ("most", "1e9", "most: '1e9' is no whole number"),
        ("most", "3", "most: '3' is below 10"),
    ):
        answer = served.airflow.send(f"/chandler/api/candles?{urlencode(RANGE | {name: text})}", "viewer")
        assert json.loads(answer["body"])["detail"] == said


def changes(served: Served) -> list[Any]:
    """Return what became of the crash so far."""
    with served.warehouse.begin() as connection:
        return read_incident_changes(connection, served.crash)
