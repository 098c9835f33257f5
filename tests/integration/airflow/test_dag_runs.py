"""The ingest DAG in a real Airflow, against a real exchange's protocol and a real PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from etl.ingest import ingest
from etl.plan import settling
from etl.replay import FaultPlan, RecordedMarket, ReplayServer
from etl.replay.faults import Fault
from etl.schema import TimeRange
from etl.settings import ExchangeSettings, Settings, load_settings
from etl.stores import Partition, Stores, open_stores
from tests.snapshots import archive_of, tables_of

REPOSITORY = Path(__file__).parents[3]
DAYS = [datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)]
FEEDS = """
[feeds.sound]
exchange = "sound"
symbols = ["BTC/USDT", "ETH/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[feeds.typo]
exchange = "typo"
symbols = ["BTC/USDT", "BTD/USDT", "ETH/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[feeds.flaky]
exchange = "flaky"
symbols = ["BTC/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[exchanges]
sound = { protocol = "binance" }
typo = { protocol = "binance" }
flaky = { protocol = "binance" }
"""
# A day is two pages, each of which a task asks for four times: so many, and one of the two is given up.
REFUSALS = 7


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the runs came to, and the stores they filled."""

    sound: list[dict[str, Any]]
    typo: dict[str, Any]
    flaky: dict[str, Any]
    settings: Settings


@pytest.fixture(scope="module")
def databases(postgres: str) -> Iterator[tuple[str, str]]:
    """The addresses of two fresh, migrated databases: one for Airflow's way, one for the other."""
    names = [f"test_{uuid.uuid4().hex[:12]}" for _ in range(2)]
    with psycopg.connect(postgres.replace("/template?", "/postgres?"), autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template").format(sql.Identifier(name)))
        first, second = (postgres.replace("/template?", f"/{name}?") for name in names)
        yield first, second
        for name in names:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def outcome(databases: tuple[str, str], recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Run two days of the sound feed, and one of each of the others."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "feeds.toml").write_text(FEEDS, encoding="utf-8")
    faults = FaultPlan(Fault("http_500", times=REFUSALS))
    market = RecordedMarket(recording)
    with ReplayServer(market) as sound, ReplayServer(market, faults=faults) as flaky:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
            "AIRFLOW_CONN_CHANDLER_ARCHIVE": json.dumps(
                {"conn_type": "fs", "extra": {"url": f"{home}/chandler/archive"}}
            ),
            "AIRFLOW_CONN_CHANDLER_EXCHANGE_FLAKY": flaky.url + "/http",
            "AIRFLOW_CONN_CHANDLER_WAREHOUSE": _to_connection(databases[0]),
            # Where nothing must ever arrive: the Connections win.
            "CHANDLER_ARCHIVE_URL": str(home / "elsewhere"),
            "CHANDLER_WAREHOUSE_URL": "postgresql://nobody@127.0.0.1:1/nowhere",
            "CHANDLER_EXCHANGES__SOUND__BASE_URL": sound.url,
            "CHANDLER_EXCHANGES__TYPO__BASE_URL": sound.url,
            "CHANDLER_FEEDS": str(home / "feeds.toml"),
            "CHANDLER_HOME": str(home / "chandler"),
        }
        # Run by hand, a DAG's interval is the one that ended last.
        days = [(day + timedelta(days=1)).isoformat() for day in DAYS]
        wanted = [("sound", days[0]), ("sound", days[1]), ("typo", days[1]), ("flaky", days[1])]
        argument = json.dumps([{"dag": f"ingest_{name}", "logical_date": day} for name, day in wanted])
        argv = [sys.executable, str(Path(__file__).with_name("dag_runs.py")), argument]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)
        lines = [line for line in done.stdout.splitlines() if line.startswith("RUNS ")]
        assert lines, done.stdout[-4000:] + done.stderr[-2000:]
        *sound_runs, typo_run, flaky_run = json.loads(lines[0].removeprefix("RUNS "))
        addresses = {name: {"protocol": "binance", "base_url": sound.url} for name in ("sound", "typo", "flaky")}
        exchanges = {name: ExchangeSettings.model_validate(own) for name, own in addresses.items()}
        settings = load_settings(
            home / "feeds.toml", home=home / "chandler", warehouse_url=databases[0], exchanges=exchanges
        )
        yield Outcome(sound_runs, typo_run, flaky_run, settings)


def test_runs_take_their_window_from_the_data_interval(outcome: Outcome) -> None:
    """A run loads the day of its interval, and a later one settles the day before it again."""
    assert [run["state"] for run in outcome.sound] == ["success", "success"]
    for run, day in zip(outcome.sound, DAYS, strict=True):
        assert run["interval"] == [day.isoformat(), (day + timedelta(days=1)).isoformat()]
    starts = [{event["start"] for event in run["events"]} for run in outcome.sound]
    assert starts == [{DAYS[0].isoformat()}, {DAYS[0].isoformat()}]


def test_a_load_announces_series_and_range(outcome: Outcome) -> None:
    """Whoever listens to the asset is told what was loaded, once for each series."""
    assert sorted(outcome.sound[0]["events"], key=lambda event: event["series"]) == [
        {"series": f"sound:{symbol}:1m", "start": "2024-02-29T00:00:00+00:00", "end": "2024-03-01T00:00:00+00:00"}
        for symbol in ("BTC/USDT", "ETH/USDT")
    ]


def test_mapped_tasks_are_labelled_with_their_series(outcome: Outcome) -> None:
    """A square in the grid says which series it is, a red one too."""
    labels = {(task["task"], task["index"]): task["label"] for task in outcome.sound[0]["tasks"]}
    assert labels == {
        (f"partition.{step}", index): f"sound:{symbol}:1m"
        for step in ("fetch", "clean", "load")
        for index, symbol in enumerate(("BTC/USDT", "ETH/USDT"))
    }
    assert _tasks(outcome.typo)["partition.fetch", 1]["label"] == "typo:BTD/USDT:1m"


def test_airflow_leaves_what_the_library_leaves(outcome: Outcome, databases: tuple[str, str], tmp_path: Path) -> None:
    """Loaded through Airflow or by `etl.ingest`, the stores hold the same, absences and quarantine included."""
    by_hand = outcome.settings.model_copy(update={"home": tmp_path, "warehouse_url": databases[1]})
    with open_stores(by_hand) as stores:
        for day in DAYS:
            for name in ("sound", "typo", "flaky"):
                if name == "sound" or day == DAYS[1]:
                    _ingest_day(stores, name, day)
        expected_tables, expected_files = _sorted_tables(stores), archive_of(stores)
    with open_stores(outcome.settings) as stores:
        assert _sorted_tables(stores) == expected_tables
        assert archive_of(stores) == expected_files
    assert expected_tables["absences"]
    assert expected_tables["quarantine"]


def test_an_unknown_symbol_fails_at_once_and_alone(outcome: Outcome) -> None:
    """What no retry can help is tried once, and the neighbours are loaded."""
    tasks = _tasks(outcome.typo)
    assert outcome.typo["state"] == "failed"
    assert (tasks["partition.fetch", 1]["state"], tasks["partition.fetch", 1]["tries"]) == ("failed", 1)
    assert tasks["partition.load", 1]["state"] == "upstream_failed"
    assert [tasks["partition.load", index]["state"] for index in (0, 2)] == ["success", "success"]


def test_an_exchange_in_trouble_is_tried_again(outcome: Outcome) -> None:
    """What a retry may help is retried by Airflow, with the exchange's address from a Connection."""
    fetch = _tasks(outcome.flaky)["partition.fetch", 0]
    assert outcome.flaky["state"] == "success"
    assert fetch["tries"] == 2


def _to_connection(url: str) -> str:
    """Return a database's address as the Connection that a user would fill in."""
    parts = make_url(url)
    fields = {"login": parts.username, "schema": parts.database, "extra": dict(parts.query)}
    return json.dumps({"conn_type": "postgres", **fields})


def _tasks(run: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(task["task"], task["index"]): task for task in run["tasks"]}


def _ingest_day(stores: Stores, feed: str, day: datetime) -> None:
    for series in stores.settings.feed(feed).series:
        if series.symbol != "BTD/USDT":
            wanted = Partition(series, TimeRange(day, day + timedelta(days=1)))
            ingest(stores, settling(stores, wanted, timedelta(days=1)), run="by hand")


def _sorted_tables(stores: Stores) -> dict[str, list[tuple[Any, ...]]]:
    """The feeds share symbols, which is what the tables are read in the order of."""
    return {name: sorted(rows, key=repr) for name, rows in tables_of(stores).items()}
