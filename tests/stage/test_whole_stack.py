"""Actions of a user in Airflow's UI, done through the API that the UI uses, in a stack that is real."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import psutil
import pytest

from etl.series import Series, TimeRange
from etl.warehouse import open_warehouse, read_status
from stack.api import Json
from stack.backfill import Backfill, Progress, read_log, run_backfill
from stack.errors import StackError
from stack.local import Stack, wait_for_dag
from tests.living import is_alive
from tests.stage.stage import HISTORY, RECORDED, Stage

DAY = Backfill(RECORDED, TimeRange(datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)), series=2)
SERIES = {f"replay:{symbol}:1m" for symbol in ("BTC/USDT", "ETH/USDT")}


@dataclass(frozen=True, slots=True)
class Backfilled:
    """A day of which one series failed at first.

    Attributes:
        error: What was said of it then.
        tasks: The task instances as they were then.
        progress: What was reported once the red one had been cleared.
    """

    error: str
    tasks: list[Json]
    progress: list[Progress]


@pytest.fixture(scope="module")
def backfilled(stage: Stage) -> Backfilled:
    """Let Airflow backfill a day, and clear the red series with what follows when the feed no longer has it."""
    stack = stage.stack
    for dag_id in (RECORDED, HISTORY):
        wait_for_dag(stack, dag_id)
    stage.faults_then.add("http_451", times=None, symbol="ETH/USDT")
    with pytest.raises(StackError) as failed:
        run_backfill(stack.api, DAY, lambda at: None, stack.processes.pause)
    tasks, red = tasks_of(stack), one_task(stack, "fetch", "replay:ETH/USDT:1m")
    stage.faults_then.clear()
    clear = {
        "dry_run": False,
        "dag_run_id": red["dag_run_id"],
        "task_ids": [["partition.fetch", red["map_index"]]],
        "include_downstream": True,
        "only_failed": False,
    }
    feeds = stage.feeds.read_text(encoding="utf-8")
    before, recorded, after = feeds.partition("[feeds.recorded]")
    without = after.replace('["BTC/USDT", "ETH/USDT"]', '["BTC/USDT"]', 1)
    stage.feeds.write_text(before + recorded + without, encoding="utf-8")
    stack.api.post(f"/dags/{RECORDED}/clearTaskInstances", clear)
    progress: list[Progress] = []
    assert run_backfill(stack.api, DAY, progress.append, stack.processes.pause)
    stage.feeds.write_text(feeds, encoding="utf-8")
    return Backfilled(str(failed.value), tasks, progress)


def tasks_of(stack: Stack) -> list[Json]:
    """Return the task instances of the day's run."""
    return stack.api.collect(f"/dags/{RECORDED}/dagRuns/~/taskInstances", "task_instances", **DAY.dates)


def one_task(stack: Stack, task: str, series: str) -> Json:
    """Return a task instance, by its label."""
    return labelled(tasks_of(stack), task, series)


def labelled(tasks: list[Json], task: str, series: str) -> Json:
    """Return the one of them that has the label."""
    return next(one for one in tasks if (one["task_id"], one["rendered_map_index"]) == (f"partition.{task}", series))


def wait_for_runs(stack: Stack, dag_id: str) -> list[Json]:
    """Return the runs of the DAG when all of them have ended."""
    while True:
        runs = stack.api.collect(f"/dags/{dag_id}/dagRuns", "dag_runs")
        if all(run["end_date"] for run in runs):
            return runs
        stack.processes.pause(0.5)


def test_a_backfill_runs_to_its_end_and_says_how_far_it_is(stage: Stage, backfilled: Backfilled) -> None:
    """A day of two series is two partitions, and a second time there is nothing to do."""
    assert backfilled.progress[-1] == Progress(done=2, total=2, retrying=0)
    assert [at.done for at in backfilled.progress] == sorted(at.done for at in backfilled.progress)
    assert not run_backfill(stage.stack.api, DAY, lambda at: None, stage.stack.processes.pause)


def test_every_task_is_labelled_with_its_series(stage: Stage, backfilled: Backfilled) -> None:
    """The grid shows names, not numbers."""
    tasks = [task for task in tasks_of(stage.stack) if task["task_id"] not in {"list_series", "account", "warn"}]
    assert len(tasks) == 2 * 3
    assert {task["rendered_map_index"] for task in tasks} == SERIES


def test_the_logs_tell_the_story(stage: Stage, backfilled: Backfilled) -> None:
    """A user who opens a task's log reads what came, what was refused and why, what is absent, and how long it took."""
    series = "replay:BTC/USDT:1m"
    said = {
        task: "\n".join(read_log(stage.stack.api, one_task(stage.stack, task, series)))
        for task in ("fetch", "clean", "load")
    }
    for text in ("fetched ", " pages (", " asked for, ", " rows, in "):
        assert text in said["fetch"]
    for text in ("1 refused", "refused by not_positive (", '"-1.0"'):
        assert text in said["clean"]
    for text in (
        " candles held: ",
        " absent, 1 row quarantined",
        "replay:BTC/USDT:1m  2024-02-29     1,440     689  ",
        ") [2024-02-29 23:30, 2024-03-01 00:00), 30 candles",
    ):
        assert text in said["load"]


def test_loads_are_asset_events_with_series_and_range(stage: Stage, backfilled: Backfilled) -> None:
    """Whoever is scheduled on `candles` is told what there is to look at."""
    events = stage.stack.api.collect("/assets/events", "asset_events", source_dag_id=RECORDED)
    loaded = {(event["extra"]["series"], event["extra"]["end"]) for event in events}
    assert {event["name"] for event in events} == {"candles"}
    assert {(series, "2024-03-01T00:00:00+00:00") for series in SERIES} <= loaded


def test_a_red_partition_is_cleared_alone(stage: Stage, backfilled: Backfilled) -> None:
    """One series fails and says why; cleared by itself it turns green, and its neighbour is not run again."""
    assert "partition.fetch of replay:ETH/USDT:1m, run backfill__2024-03-01" in backfilled.error
    assert "the exchange may not serve the place" in backfilled.error
    red = labelled(backfilled.tasks, "fetch", "replay:ETH/USDT:1m")
    assert (red["state"], red["try_number"]) == ("failed", 1)
    assert labelled(backfilled.tasks, "load", "replay:BTC/USDT:1m")["state"] == "success"
    account = [task["state"] for task in backfilled.tasks if task["task_id"] == "account"]
    assert account == ["success"], "it runs though a load did not"

    loaded = one_task(stage.stack, "load", "replay:ETH/USDT:1m")
    assert (loaded["state"], loaded["map_index"]) == ("success", red["map_index"])
    log = "\n".join(read_log(stage.stack.api, one_task(stage.stack, "fetch", "replay:ETH/USDT:1m")))
    assert "replay:ETH/USDT:1m has left the feed since this run began" in log, "a run keeps its own list of series"
    assert one_task(stage.stack, "fetch", "replay:ETH/USDT:1m")["try_number"] == 2
    for task in ("fetch", "clean", "load"):
        assert one_task(stage.stack, task, "replay:BTC/USDT:1m")["try_number"] == 1


def test_repair_runs_by_itself(stage: Stage) -> None:
    """Nobody has switched it on, and its run of the last hour is green."""
    assert stage.stack.api.get("/dags/repair_gaps")["is_paused"] is False
    assert {run["state"] for run in wait_for_runs(stage.stack, "repair_gaps")} == {"success"}


def test_history_is_loaded_by_a_backfill_and_never_by_itself(stage: Stage) -> None:
    """Not paused, it has run nothing yet; asked for a quarter it makes three runs and loads just these months.

    They are older than the feed's start, which is for the daily runs, and come as the exchange's files of whole months.
    """
    stack = stage.stack
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
    files = [path for path in stage.made_up.requests if path.endswith(".zip")]
    assert sorted(path[-11:-4] for path in files) == ["2024-01", "2024-02", "2024-03"]


def test_whoever_has_no_password_sees_nothing(stage: Stage) -> None:
    """The API gives nothing to strangers, and nothing that the stack has started listens beyond this machine."""
    stranger = type(stage.stack.api)(stage.stack.api.url, "admin", "guessed")
    with pytest.raises(StackError, match="401"):
        stranger.get("/dags")
    family = set(psutil.Process().children(recursive=True)) - set(stage.strangers)
    own = {process.pid for process in family}
    listening = [one for one in psutil.net_connections("inet") if one.status == psutil.CONN_LISTEN and one.pid in own]
    assert int(stage.stack.api.url.rpartition(":")[2]) in {one.laddr.port for one in listening}
    assert {one.laddr.ip for one in listening} <= {"127.0.0.1", "::1"}


def test_stopping_leaves_no_process(stage: Stage) -> None:
    """Nothing that the stack started is left once it has stopped, PostgreSQL included."""
    family = set(psutil.Process().children(recursive=True)) - set(stage.strangers)
    assert len(family) > 8
    stage.stop.close()
    assert [process for process in family if is_alive(process)] == []
    assert not (stage.stack.home.root / "postgres" / "postmaster.pid").exists()
