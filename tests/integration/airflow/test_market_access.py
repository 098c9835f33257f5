"""Roles and routes: each row of the market page is for who may look at the DAG that it belongs to, and for nobody else.

Two series have a feed each, a third has none. The users of FabAuthManager are granted single DAGs; to SimpleAuthManager
a user may look at all DAGs, act on all, or neither.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from etl.feeds_file import load_settings
from etl.series import Series
from etl.warehouse import Warehouse, open_warehouse, read_incident_changes
from tests.integration.airflow.airflow_process import AirflowProcess, fresh_databases
from tests.integration.airflow.test_market_api import DAY, FEEDS, OURS
from tests.made_incidents import BTC, found, have, hold

ETH = Series.parse("kraken:ETH/USD:1m")
OLD = Series.parse("binance:OLD/USDT:1m")
"""Stored, and of no feed any more."""

MANAGER = "AIRFLOW__CORE__AUTH_MANAGER"
MANAGERS = {
    "fab": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "simple": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
}
READ, EDIT = "can_read", "can_edit"
RUNS = [["can_read", "DAG Runs"], ["can_create", "DAG Runs"]]
"""Without the DAG itself they open nothing."""


def of(*dags: str, action: str = READ) -> list[list[str]]:
    """Return the permissions on single DAGs."""
    return [[one, f"DAG:{dag}"] for dag in dags for one in {READ, action}]


GRANTED: dict[str, dict[str, list[Any]]] = {
    "nothing": {"roles": [], "permissions": []},
    "foreign": {"roles": [], "permissions": [*RUNS, *of("payroll", action=EDIT)]},
    "runs": {"roles": [], "permissions": RUNS},
    "reads": {"roles": [], "permissions": of("ingest_majors")},
    "history": {"roles": [], "permissions": [*RUNS, *of("history_majors")]},
    "edits": {"roles": [], "permissions": [*RUNS, *of("ingest_majors", action=EDIT)]},
    "scores": {"roles": [], "permissions": [*RUNS, *of("score_anomalies", action=EDIT)]},
    "trains": {"roles": [], "permissions": of("train_models")},
    "viewer": {"roles": ["Viewer"], "permissions": []},
    "op": {"roles": ["Op"], "permissions": []},
}


@dataclass(frozen=True, slots=True)
class Rights:
    """Rights of a user.

    Attributes:
        sees: The series.
        acts_on: Those whose incidents they may judge.
        models: Whether they see models.
        is_all: Whether they see what is about everything.
    """

    sees: frozenset[Series] = frozenset()
    acts_on: frozenset[Series] = frozenset()
    models: bool = False
    is_all: bool = False

    @property
    def is_let_in(self) -> bool:
        """True if there is something for them."""
        return bool(self.sees or self.models)


ALL = frozenset({BTC, ETH, OLD})
OUT = Rights()
RIGHTS = {
    "fab": {
        "nothing": OUT,
        "foreign": OUT,
        "runs": OUT,
        "reads": Rights(frozenset({BTC})),
        "history": Rights(frozenset({BTC})),
        "edits": Rights(frozenset({BTC}), frozenset({BTC})),
        "scores": Rights(frozenset({OLD}), frozenset({OLD})),
        "trains": Rights(models=True),
        "viewer": Rights(ALL, models=True, is_all=True),
        "op": Rights(ALL, ALL, models=True, is_all=True),
    },
    "simple": {
        "nobody": OUT,
        "viewer": Rights(ALL, models=True, is_all=True),
        "user": Rights(ALL, ALL, models=True, is_all=True),
    },
}


@dataclass(frozen=True, slots=True)
class Served:
    """A server with three series and an incident of each.

    Attributes:
        incidents: Their numbers.
    """

    airflow: AirflowProcess
    warehouse: Warehouse
    incidents: dict[Series, int]

    def status(self, path: str, user: str | None, **query: Any) -> int:
        """Return the status of an answer."""
        return int(self.airflow.send(f"/chandler/{path}?{urlencode(query)}", user)["status"])

    def get(self, path: str, user: str, **query: Any) -> Any:
        """Return an answer that is one."""
        answer = self.airflow.send(f"/chandler/{path}?{urlencode(query)}", user)
        assert answer["status"] == 200, answer["body"]
        return json.loads(answer["body"])

    def act(self, verdict: str, user: str | None, series: Series) -> int:
        """Return the status of what somebody does with the incident of a series."""
        body = json.dumps({"is_false": True} if verdict == "judge" else {})
        path = f"/chandler/api/incidents/{self.incidents[series]}/{verdict}"
        return int(self.airflow.send(path, user, method="POST", headers=OURS, body=body)["status"])


@pytest.fixture(scope="module", params=MANAGERS)
def served(request: pytest.FixtureRequest, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Airflow with one of its auth managers, and who there is to it."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {MANAGER: MANAGERS[request.param]}
    with fresh_databases(postgres, 1) as [url], AirflowProcess(home, FEEDS, url, environment) as airflow:
        if request.param == "fab":
            airflow.grant(GRANTED)
        with open_warehouse(load_settings(home / "feeds.toml", home=home, warehouse_url=url)) as warehouse:
            incidents = {}
            for series in sorted(ALL):
                hold(warehouse, series)
                incidents[series] = have(warehouse, found(series=series))
            yield Served(airflow, warehouse, incidents)


@pytest.fixture
def users(served: Served, request: pytest.FixtureRequest) -> dict[str, Rights]:
    """Return the rights of each user of the auth manager."""
    return RIGHTS[request.node.callspec.params["served"]]


@pytest.mark.parametrize("path", ["api/day", "api/candles", "api/marks", "api/incidents", "quality", "incidents"])
def test_a_series_is_for_who_may_look_at_what_loads_it(served: Served, users: dict[str, Rights], path: str) -> None:
    """By a feed that has it or, where none has, by the DAG that judges everything."""
    bounds = {"day": DAY} if path == "api/day" else {"start": f"{DAY}T00:00", "end": f"{DAY}T12:00"}
    for user, rights in users.items():
        for series in ALL:
            query = {"series": str(series)} | ({} if path.endswith("incidents") else bounds)
            assert served.status(path, user, **query) == (200 if series in rights.sees else 403), (user, series)


@pytest.mark.parametrize("path", ["market", "static/market.js", "api/me"])
def test_the_page_is_for_who_finds_something_on_it(served: Served, users: dict[str, Rights], path: str) -> None:
    """A login that opens nothing of ours opens nothing here."""
    for user, rights in users.items():
        assert served.status(path, user) == (200 if rights.is_let_in else 403), user
    assert served.status(path, None) == 401


def test_lists_have_what_a_user_may_see(served: Served, users: dict[str, Rights]) -> None:
    """Series, coverage, incidents, exchanges: rows of what is theirs, and the count of these."""
    for user, rights in users.items():
        if not rights.is_let_in:
            lists = ("api/series", "api/coverage", "api/incidents", "api/exchanges", "incidents")
            assert {served.status(path, user) for path in lists} == {403}
            continue
        seen = sorted(map(str, rights.sees))
        assert [one["series"] for one in served.get("api/series", user)] == seen, user
        assert [one["series"] for one in served.get("api/coverage", user, end=DAY)["series"]] == seen, user
        listed = served.get("api/incidents", user)
        assert (listed["total"], sorted(one["series"] for one in listed["incidents"])) == (len(seen), seen), user
        assert {one["series"] for one in listed["incidents"] if one["may_act"]} == set(map(str, rights.acts_on)), user
        page = served.airflow.send("/chandler/incidents", user)["body"]
        assert {str(series) for series in ALL if str(series) in page} == set(seen), user
        fed = {series.exchange for series in rights.sees - {OLD}}
        names = {one["exchange"] for one in served.get("api/exchanges", user)["exchanges"]}
        assert names == ({"binance", "kraken"} if rights.is_all else fed), user


def test_siblings_are_those_that_a_user_may_see(served: Served, users: dict[str, Rights]) -> None:
    """Nothing tells one who may see a series of others of the same coin."""
    for user, rights in users.items():
        for one in served.get("api/series", user) if rights.is_let_in else []:
            assert set(one["siblings"]) <= set(map(str, rights.sees))


def test_of_a_foreign_dag_nothing_is_covered(served: Served, users: dict[str, Rights]) -> None:
    """Naming a DAG opens none of its series."""
    for user, rights in users.items():
        if rights.is_let_in:
            found = served.get("api/coverage", user, end=DAY, dag="ingest_others")["series"]
            assert [one["series"] for one in found] == [str(one) for one in (ETH,) if one in rights.sees], user


@pytest.mark.parametrize(("path", "query"), [("api/models", {}), ("models/report", {"model": 1})])
def test_models_are_for_who_may_look_at_the_training(
    served: Served, users: dict[str, Rights], path: str, query: dict[str, Any]
) -> None:
    """They learn from all series."""
    for user, rights in users.items():
        allowed = 404 if path == "models/report" else 200
        assert served.status(path, user, **query) == (allowed if rights.models else 403), user


def test_metrics_are_for_who_may_look_at_everything(served: Served, users: dict[str, Rights]) -> None:
    """They are of all series, exchanges and nights."""
    for user, rights in users.items():
        assert served.status("metrics", user) == (200 if rights.is_all else 403), user


@pytest.mark.parametrize("verdict", ["acknowledge", "judge"])
def test_an_incident_is_judged_by_who_may_run_what_loads_it(
    served: Served, users: dict[str, Rights], verdict: str
) -> None:
    """To judge is to silence: who may not even look finds none of that number; who is refused changes nothing."""
    for user, rights in users.items():
        for series in ALL:
            before = changes(served, series)
            wanted = 200 if series in rights.acts_on else 403 if series in rights.sees or not rights.is_let_in else 404
            assert served.act(verdict, user, series) == wanted, (user, series)
            assert changes(served, series) - before == (wanted == 200)
    assert served.act(verdict, None, BTC) == 401


def test_an_incident_s_page_has_buttons_for_who_may_judge_it(served: Served, users: dict[str, Rights]) -> None:
    """Others who may see it find none; who may not see it finds no such incident."""
    for user, rights in users.items():
        for series in ALL:
            answer = served.airflow.send(f"/chandler/incident?id={served.incidents[series]}", user)
            wanted = 200 if series in rights.sees else 404 if rights.is_let_in else 403
            assert answer["status"] == wanted, (user, series)
            assert ("incident.js" in answer["body"]) == (series in rights.acts_on), (user, series)
            if wanted == 200:
                day = served.get("api/day", user, series=str(series), day=DAY)
                assert day["may_act"] == (series in rights.acts_on), (user, series)


def test_every_route_is_in_this_matrix(served: Served) -> None:
    """A route that somebody adds is decided on here."""
    asked = {
        *("/market", "/static/{name}", "/metrics", "/quality", "/incidents", "/incident", "/models/report"),
        *(f"/api/{name}" for name in ("me", "series", "coverage", "day", "candles", "marks", "incidents", "models")),
        *("/api/exchanges", "/api/incidents/{incident}/acknowledge", "/api/incidents/{incident}/judge"),
    }
    assert {path for _, path in served.airflow.routes()} == {f"/chandler{path}" for path in asked}


def changes(served: Served, series: Series) -> int:
    """Return how often people have said something of an incident."""
    with served.warehouse.begin() as connection:
        return len(read_incident_changes(connection, served.incidents[series]))
