"""Failures in a real Airflow are told to people by a real channel; those of history are told to nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from etl.feeds_file import load_settings
from etl.replay import RecordedMarket, ReplayServer
from etl.settings import Settings
from etl.warehouse import open_warehouse
from etl.warehouse.incident_tables import alerts, messages
from tests.alerts.receivers import WebReceiver, web_receiver
from tests.integration.airflow.airflow_process import AirflowProcess, Run, fresh_databases

DAY = datetime(2024, 2, 29, tzinfo=UTC)
FEEDS = """
[feeds.typo]
exchange = "typo"
symbols = ["BTD/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[exchanges]
typo = { protocol = "binance" }
"""
ALERTS = """
gather_s = 0

[channels.ops]
allow_private = true

[channels.gone]
allow_private = true

[[routes]]
channels = ["ops", "gone"]
"""
SECRET = "a-token-nobody-may-see"  # noqa: S105  # of a server of the test
RUNS = (("history_typo", "manual"), ("ingest_typo", "backfill"), ("ingest_typo", "scheduled"))
SLOW = {
    "dag_id": "ingest_typo",
    "dag_run_id": "scheduled__2024-03-06T00:00:00+00:00",
    "data_interval_start": "2024-03-05T00:00:00Z",
    "data_interval_end": "2024-03-06T00:00:00Z",
    "run_type": "scheduled",
    "state": "running",
    "queued_at": "2024-03-06T00:00:05Z",
}
LATE: tuple[dict[str, str], ...] = (
    {"run_type": "backfill"},
    {"run_type": "manual"},
    {"state": "failed"},
    {"queued_at": "2024-03-06T03:00:01Z"},
    {},
    {},
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Two failed runs that are history, one that is news, and two deliveries after them.

    Attributes:
        told: The rows of the outbox after each of the first three.
        foreign: What is told of an error that is none of ours.
    """

    runs: list[Run]
    told: list[list[Any]]
    deliveries: list[Run]
    foreign: dict[str, str]
    receiver: WebReceiver
    settings: Settings


@pytest.fixture(scope="module")
def outcome(postgres: str, recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Ask for a symbol that the exchange does not list: in history, in a backfill, and in a run of the day."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "alerts.toml").write_text(ALERTS, encoding="utf-8")
    with (
        fresh_databases(postgres, 1) as [url],
        ReplayServer(RecordedMarket(recording)) as exchange,
        web_receiver() as receiver,
    ):
        password = f"{receiver.url(path='/hook')}?-token={SECRET}"
        environment = {
            "CHANDLER_ALERTS": str(home / "alerts.toml"),
            "CHANDLER_EXCHANGES__TYPO__BASE_URL": exchange.url,
            "AIRFLOW_CONN_CHANDLER_CHANNEL_OPS": json.dumps({"conn_type": "generic", "password": password}),
            "CHANDLER_CHANNEL_GONE": f"json://127.0.0.1:1/{SECRET}",
        }
        with AirflowProcess(home, FEEDS, url, environment) as airflow:
            settings = load_settings(home / "feeds.toml", home=home / "chandler", warehouse_url=url)
            runs, told = [], []
            for day, (dag, run_type) in enumerate(RUNS, start=1):
                runs.append(airflow.run(dag, DAY + timedelta(days=day), run_type))
                told.append(_outbox(settings))
            deliveries = [airflow.run("deliver_alerts", DAY + timedelta(days=5 + n)) for n in range(2)]
            for changes in LATE:
                airflow.be_late({**SLOW, **changes})
            foreign = airflow.fail(f"cannot connect to postgresql://me:{SECRET}@db")
            yield Outcome(runs, told, deliveries, foreign, receiver, settings)


def _outbox(settings: Settings) -> list[Any]:
    with open_warehouse(settings) as warehouse, warehouse.begin() as connection:
        return [row.notice for row in connection.execute(select(alerts).order_by(alerts.c.id))]


def test_a_failed_partition_is_told_of_unless_it_is_history(outcome: Outcome) -> None:
    """One notice, with series, error and a link to the task; none of a backfill, nor of months of the past."""
    assert [run.state for run in outcome.runs] == ["failed"] * 3
    assert [len(told) for told in outcome.told] == [0, 0, 1]
    [notice] = outcome.told[-1]
    assert (notice["kind"], notice["exchange"], notice["symbol"]) == ("failed_partition", "typo", "BTD/USDT")
    assert notice["title"] == "ingest_typo: fetch of typo:BTD/USDT:1m has failed"
    assert (
        "lists no BTD/USDT; nearest: BTC/USDT; correct the symbol; once the symbol is right, clear list_series"
        in (notice["detail"])
    )
    assert "clear the task" not in notice["detail"], "it would ask for the same symbol again"
    assert re.fullmatch(r"/dags/ingest_typo/runs/[\w%.-]+/tasks/partition\.fetch/mapped/0", notice["link"])


def test_others_errors_are_told_by_their_class(outcome: Outcome) -> None:
    """The text of a library may hold a password: it stays in the task's log."""
    assert outcome.foreign["title"] == "score_anomalies: score has failed"
    assert outcome.foreign["detail"].startswith("RuntimeError. ")
    assert "clear the task once it is mended" in outcome.foreign["detail"]
    assert SECRET not in str(outcome.foreign)


def test_a_late_load_is_told_of_once(outcome: Outcome) -> None:
    """If it runs by itself, still does, and began in time: what failed is told of, and a backfill takes its time."""
    [late] = _outbox(outcome.settings)[1:]
    assert (late["kind"], late["identity"]) == ("late_load", "late:ingest_typo:2024-03-05")
    assert late["link"] == "/dags/ingest_typo/runs/scheduled__2024-03-06T00%3A00%3A00%2B00%3A00"


def test_it_reaches_people_once(outcome: Outcome) -> None:
    """A delivery sends it, with a link into Airflow's UI; the next one has nothing to send."""
    assert [run.state for run in outcome.deliveries] == ["success", "success"]
    [request] = outcome.receiver.requests
    assert "typo:BTD/USDT:1m" in request.body.decode()
    assert "http://airflow.example:8080/dags/ingest_typo/runs/" in request.body.decode()


def test_a_channel_that_is_down_makes_nothing_red(outcome: Outcome) -> None:
    """Its message waits, and the log says so; nobody was asked for an opinion."""
    assert outcome.deliveries[0].states() == {
        "watch": "success",
        "ask": "skipped",
        "deliver": "success",
        "finished": "success",
    }
    assert "gone" in outcome.deliveries[0].log
    with open_warehouse(outcome.settings) as warehouse, warehouse.begin() as connection:
        rows = connection.execute(select(messages.c.channel, messages.c.state).order_by(messages.c.channel))
        assert [tuple(row) for row in rows] == [("gone", "waiting"), ("ops", "sent")]


def test_nobody_learns_where_a_channel_leads(outcome: Outcome) -> None:
    """No log, rendered task, XCom or table of Airflow's has the address, be it a Connection's or the environment's."""
    assert SECRET not in "".join(run.log for run in [*outcome.runs, *outcome.deliveries])
    metadata = (outcome.settings.home.parent / "airflow.db").read_bytes()
    assert b"deliver_alerts" in metadata
    assert SECRET.encode() not in metadata
