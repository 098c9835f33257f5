"""The real stack, started once: what a user does in Airflow's UI, done through the API that the UI uses."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from etl.replay import FaultPlan, MadeUpMarket, RecordedMarket, ReplayServer
from etl.series import Series, TimeRange
from etl.warehouse import open_warehouse, read_status
from stack.api import Json
from stack.backfill import Backfill, Progress, read_log, run_backfill
from stack.errors import StackError
from stack.home import Home
from stack.local import Stack, ensure_pool, local_stack, wait_for_dag
from stack.screen import Screen
from tests.databases import folder_for_postgres
from tests.stack.sparing import SPARING

DAG = "ingest_recorded"
HISTORY = "history_past"
FEEDS = """
[feeds.recorded]
exchange = "replay"
symbols = ["BTC/USDT", "ETH/USDT"]
timeframes = ["1m"]
start = 2024-01-01

[feeds.past]
exchange = "madeup"
symbols = ["BTC/USDT"]
timeframes = ["15m"]
start = 2024-06-01

[exchanges]
replay = { protocol = "binance" }
madeup = { protocol = "binance" }
"""
TWO_DAYS = Backfill(DAG, TimeRange(datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC)), series=2)
NEXT_DAY = Backfill(DAG, TimeRange(datetime(2024, 3, 2, tzinfo=UTC), datetime(2024, 3, 3, tzinfo=UTC)), series=2)
SERIES = {f"replay:{symbol}:1m" for symbol in ("BTC/USDT", "ETH/USDT")}


@dataclass(frozen=True, slots=True)
class Running:
    """A stack that is up.

    Attributes:
        faults: What its exchange does wrong.
        made_up: The exchange that has a past.
        progress: What was reported of the first backfill.
        strangers: Processes that were there before it.
        stop: Stops it.
    """

    stack: Stack
    faults: FaultPlan
    made_up: ReplayServer
    progress: list[Progress]
    strangers: list[psutil.Process]
    stop: ExitStack


@pytest.fixture(scope="module")
def running(recording: Path) -> Iterator[Running]:
    """Start the stack against the replay exchange, and let Airflow backfill two days."""
    faults = FaultPlan()
    strangers = psutil.Process().children(recursive=True)
    with ExitStack() as stop:
        folder = stop.enter_context(folder_for_postgres())
        (folder / "feeds.toml").write_text(FEEDS, encoding="utf-8")
        server = stop.enter_context(ReplayServer(RecordedMarket(recording), faults=faults))
        made_up = stop.enter_context(ReplayServer(MadeUpMarket()))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CHANDLER_FEEDS", str(folder / "feeds.toml"))
            for name, value in SPARING.items():
                patch.setenv(name, value)
            patch.setenv("CHANDLER_EXCHANGES__REPLAY__BASE_URL", server.url)
            patch.setenv("CHANDLER_EXCHANGES__MADEUP__BASE_URL", made_up.url)
            patch.setenv("CHANDLER_EXCHANGES__MADEUP__BULK_URL", made_up.url + "/data")
            screen = Screen(Console(file=io.StringIO()))
            starting = local_stack(
                Home(folder / "home"), screen, threading.Event(), with_replay=False, is_paused_at_creation=True
            )
            stack = stop.enter_context(starting)
        for exchange in ("replay", "madeup"):
            ensure_pool(stack.api, exchange)
        for dag_id in (DAG, HISTORY):
            wait_for_dag(stack, dag_id)
        progress: list[Progress] = []
        assert run_backfill(stack.api, TWO_DAYS, progress.append, stack.processes.pause)
        yield Running(stack, faults, made_up, progress, strangers, stop)


def tasks_of(stack: Stack, backfill: Backfill) -> list[Json]:
    """Return the task instances of a backfill's runs."""
    return stack.api.collect(f"/dags/{DAG}/dagRuns/~/taskInstances", "task_instances", **backfill.dates)


def one_task(stack: Stack, backfill: Backfill, task: str, series: str) -> Json:
    """Return a task instance of the first run, by its label."""
    tasks = sorted(tasks_of(stack, backfill), key=lambda instance: str(instance["logical_date"]))
    return next(one for one in tasks if (one["task_id"], one["rendered_map_index"]) == (f"partition.{task}", series))


def wait_for_runs(stack: Stack, dag_id: str) -> list[Json]:
    """Return the runs of the DAG when all of them have ended."""
    while True:
        runs = stack.api.collect(f"/dags/{dag_id}/dagRuns", "dag_runs")
        if all(run["end_date"] for run in runs):
            return runs
        stack.processes.pause(0.2)


def test_a_backfill_runs_to_its_end_and_says_how_far_it_is(running: Running) -> None:
    """Two days of two series are four partitions, and a second time there is nothing to do."""
    assert running.progress[-1] == Progress(done=4, total=4, retrying=0)
    assert [at.done for at in running.progress] == sorted(at.done for at in running.progress)
    assert not run_backfill(running.stack.api, TWO_DAYS, lambda at: None, running.stack.processes.pause)


def test_every_task_is_labelled_with_its_series(running: Running) -> None:
    """The grid shows names, not numbers."""
    tasks = [task for task in tasks_of(running.stack, TWO_DAYS) if task["task_id"] not in {"account", "warn"}]
    assert len(tasks) == 2 * 3 * 2
    assert {task["rendered_map_index"] for task in tasks} == SERIES


def test_the_logs_tell_the_story(running: Running) -> None:
    """A user who opens a task's log reads what came, what was refused and why, what is absent, and how long it took."""
    series = "replay:BTC/USDT:1m"
    said = {
        task: "\n".join(read_log(running.stack.api, one_task(running.stack, TWO_DAYS, task, series)))
        for task in ("fetch", "clean", "load")
    }
    for text in ("fetched ", " pages (", " asked for, ", " rows, in "):
        assert text in said["fetch"]
    for text in ("1 refused", "refused by not_positive (", '"-1.0"'):
        assert text in said["clean"]
    for text in (
        " candles held: ",
        " absent, 1 rows quarantined",
        "replay:BTC/USDT:1m  2024-02-29     1,440     689  ",
        ") [2024-02-29 23:30, 2024-03-01 00:00), 30 candles",
    ):
        assert text in said["load"]


def test_loads_are_asset_events_with_series_and_range(running: Running) -> None:
    """Whoever is scheduled on `candles` is told what there is to look at."""
    events = running.stack.api.collect("/assets/events", "asset_events", source_dag_id=DAG)
    loaded = {(event["extra"]["series"], event["extra"]["end"]) for event in events}
    assert {event["name"] for event in events} == {"candles"}
    assert {(series, f"2024-03-0{day}T00:00:00+00:00") for series in SERIES for day in (1, 2)} <= loaded


def test_a_red_partition_is_cleared_alone(running: Running) -> None:
    """One series fails and says why; cleared by itself it turns green, and its neighbour is not run again."""
    stack = running.stack
    running.faults.add("html", times=None, symbol="ETH/USDT")
    with pytest.raises(StackError, match=r"(?s)partition\.fetch of replay:ETH/USDT:1m, run backfill__2024-03-03"):
        run_backfill(stack.api, NEXT_DAY, lambda at: None, stack.processes.pause)
    red = one_task(stack, NEXT_DAY, "fetch", "replay:ETH/USDT:1m")
    assert (red["state"], red["try_number"]) == ("failed", 1)
    assert one_task(stack, NEXT_DAY, "load", "replay:BTC/USDT:1m")["state"] == "success"
    account = [task for task in tasks_of(stack, NEXT_DAY) if task["task_id"] == "account"]
    assert [task["state"] for task in account] == ["success"], "it runs though a load did not"

    running.faults.clear()
    clear = {
        "dry_run": False,
        "dag_run_id": red["dag_run_id"],
        "task_ids": [["partition.fetch", red["map_index"]]],
        "include_downstream": True,
        "only_failed": False,
    }
    stack.api.post(f"/dags/{DAG}/clearTaskInstances", clear)
    run_backfill(stack.api, NEXT_DAY, lambda at: None, stack.processes.pause)
    assert one_task(stack, NEXT_DAY, "load", "replay:ETH/USDT:1m")["state"] == "success"
    assert one_task(stack, NEXT_DAY, "fetch", "replay:ETH/USDT:1m")["try_number"] == 2
    for task in ("fetch", "clean", "load"):
        assert one_task(stack, NEXT_DAY, task, "replay:BTC/USDT:1m")["try_number"] == 1


def test_repair_runs_by_itself(running: Running) -> None:
    """Nobody has switched it on, and its run of the last hour is green."""
    assert running.stack.api.get("/dags/repair_gaps")["is_paused"] is False
    assert {run["state"] for run in wait_for_runs(running.stack, "repair_gaps")} == {"success"}


def test_history_is_loaded_by_a_backfill_and_never_by_itself(running: Running) -> None:
    """Not paused, it has run nothing yet; asked for a quarter it makes three runs and loads just these months.

    They are older than the feed's start, which is for the daily runs, and come as the exchange's files of whole months.
    """
    stack = running.stack
    history = stack.api.get(f"/dags/{HISTORY}")
    assert (history["is_paused"], history["is_backfillable"], history["next_dagrun_run_after"]) == (False, True, None)
    assert stack.api.collect(f"/dags/{HISTORY}/dagRuns", "dag_runs") == []

    quarter = {"from_date": "2024-01-01T00:00:00Z", "to_date": "2024-03-31T00:00:00Z"}
    stack.api.post("/backfills", {"dag_id": HISTORY, **quarter, "max_active_runs": 2})
    runs = wait_for_runs(stack, HISTORY)
    starts = [f"2024-0{month}-01T00:00:00Z" for month in (1, 2, 3, 4)]
    assert {(run["run_type"], run["state"]) for run in runs} == {("backfill", "success")}
    assert sorted((run["data_interval_start"], run["data_interval_end"]) for run in runs) == list(pairwise(starts))

    events = stack.api.collect("/assets/events", "asset_events", source_dag_id=HISTORY)
    loaded = sorted((event["extra"]["start"], event["extra"]["end"]) for event in events)
    assert loaded == list(pairwise(start.replace("Z", "+00:00") for start in starts))
    with open_warehouse(stack.settings) as warehouse, warehouse.begin() as connection:
        status = next(one for one in read_status(connection) if one.series == Series.parse("madeup:BTC/USDT:15m"))
    assert status.candles + sum(status.absent.values()) == (31 + 29 + 31) * 96
    files = [path for path in running.made_up.requests if path.endswith(".zip")]
    assert sorted(path[-11:-4] for path in files) == ["2024-01", "2024-02", "2024-03"]


def test_whoever_has_no_password_sees_nothing(running: Running) -> None:
    """The API gives nothing to strangers, and nothing that the stack has started listens beyond this machine."""
    stranger = type(running.stack.api)(running.stack.api.url, "admin", "guessed")
    with pytest.raises(StackError, match="401"):
        stranger.get("/dags")
    family = set(psutil.Process().children(recursive=True)) - set(running.strangers)
    own = {process.pid for process in family}
    listening = [one for one in psutil.net_connections("inet") if one.status == psutil.CONN_LISTEN and one.pid in own]
    assert int(running.stack.api.url.rpartition(":")[2]) in {one.laddr.port for one in listening}
    assert {one.laddr.ip for one in listening} <= {"127.0.0.1", "::1"}


def test_stopping_leaves_no_process(running: Running) -> None:
    """When the stack has stopped, nothing that it started is left, PostgreSQL included."""
    family = set(psutil.Process().children(recursive=True)) - set(running.strangers)
    assert len(family) > 8
    started = time.monotonic()
    running.stop.close()
    assert time.monotonic() - started < 30
    assert [process for process in family if _is_alive(process)] == []
    assert not (running.stack.home.root / "postgres" / "postmaster.pid").exists()


def _is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; one that has ended, and that init has not buried yet, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
