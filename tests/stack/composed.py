"""docker-compose.yaml as it runs: each service a process with its own command, on the demo's feed and exchange."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import psutil
import psycopg

from stack.api import AirflowApi, Json
from stack.compose.file import read_compose, read_variables
from stack.errors import ApiError
from stack.home import HOST
from stack.processes import Processes
from tests.conftest import REPOSITORY
from tests.databases import folder_for_postgres
from tests.patience import PATIENCE_S
from tests.stack.containers import Containers, postgres_of
from tests.stack.sparing import SPARING

DAG = "ingest_demo"
WORKERS = ("worker", "trainer")
# Pauses that a test cannot wait for; a busy machine must not be taken for a dead one all the same.
IMPATIENT = {
    **SPARING,
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    # What another has compiled nobody compiles again.
    "PYTHONDONTWRITEBYTECODE": "",
}
HASTE = """
from datetime import timedelta
from runpy import run_path

_policy = run_path({policy!r})["task_policy"]


def task_policy(task):
    _policy(task)
    task.retry_delay = timedelta(seconds=1)
"""


@dataclass(frozen=True, slots=True)
class Composed:
    """The stack, up.

    Attributes:
        superuser: The address of PostgreSQL's superuser.
        warehouse: The same one's in the warehouse.
    """

    containers: Containers
    api: AirflowApi
    superuser: str
    warehouse: str

    def wait(self, done: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, self._states()
            self.containers.processes.pause(1)

    def ask_for(self, day: datetime) -> None:
        """Let Airflow backfill a day, once an earlier backfill has wound up."""
        body = {"dag_id": DAG, "from_date": day.isoformat(), "to_date": day.isoformat(), "max_active_runs": 1}

        def is_taken() -> bool:
            try:
                self.api.post("/backfills", {**body, "reprocess_behavior": "none"})
            except ApiError as error:
                if error.status != 409:
                    raise
                return False
            return True

        self.wait(is_taken)
        self.api.patch(f"/dags/{DAG}", {"is_paused": False})

    def tasks(self, day: datetime, task: str) -> list[Json]:
        """Return the instances of a task in the run of a day."""
        path = f"/dags/{DAG}/dagRuns/~/taskInstances"
        return self.api.collect(path, "task_instances", task_id=task, **_at(day))

    def states_of(self, dag_id: str, task: str) -> set[str]:
        """Return the states of a task in all runs of a DAG."""
        path = f"/dags/{dag_id}/dagRuns/~/taskInstances"
        return {one["state"] for one in self.api.collect(path, "task_instances", task_id=task)}

    def is_done(self, day: datetime) -> bool:
        """Return whether the run of a day has ended well."""
        runs = self.api.collect(f"/dags/{DAG}/dagRuns", "dag_runs", **_at(day))
        states = [run["state"] for run in runs]
        assert "failed" not in states, self._states()
        return states == ["success"]

    def kill_who_runs(self, day: datetime, task: str) -> tuple[str, set[int]]:
        """Kill the worker that is at a task; return its name, and the map indices that it was at."""
        held: dict[str, set[int]] = {}

        def somebody_is_at_it() -> bool:
            for one in self.tasks(day, task):
                if one["state"] == "running" and one["pid"]:
                    with suppress(ProcessLookupError):  # it has ended since
                        session = os.getsid(one["pid"])
                        at = next(name for name in WORKERS if self.containers.leader(name).pid == session)
                        held.setdefault(at, set()).add(one["map_index"])
            return bool(held)

        self.wait(somebody_is_at_it)
        name = min(held)
        self.containers.kill(name)
        return name, held[name]

    def load_undisturbed(self, first: datetime, last: datetime) -> str:
        """Load days in one go, on the terminal, into stores of their own; return the warehouse's address."""
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            connection.execute("CREATE DATABASE undisturbed")
        url = self.superuser.replace("/postgres?", "/undisturbed?")
        home = self.containers.folder / "undisturbed"
        (self.containers.folder / "undisturbed_url").write_text(url)
        environment = {
            **self.containers.environment("terminal"),
            "CHANDLER_WAREHOUSE_URL__FILE": str(self.containers.folder / "undisturbed_url"),
            "CHANDLER_ARCHIVE_URL": str(home / "archive"),
            "CHANDLER_HOME": str(home),
        }
        end = last + timedelta(days=1)
        done = self.containers.command(
            "terminal",
            [sys.executable, str(REPOSITORY / "deploy" / "enter.py"), "chandler", "ingest", "--feed", "demo"]
            + ["--start", f"{first:%Y-%m-%d}", "--end", f"{end:%Y-%m-%d}"],
            environment,
        )
        assert done.returncode == 0, done.stderr
        return url

    def _states(self) -> list[tuple[object, ...]]:
        """Return where everything is, for a test that waits in vain."""
        tasks = self.api.collect("/dags/~/dagRuns/~/taskInstances", "task_instances")
        return [(one["dag_id"], one["task_id"], one["map_index"], one["state"], one["try_number"]) for one in tasks]


@contextmanager
def composed() -> Iterator[Composed]:
    """Start what `docker compose --env-file deploy/replay.env up` starts, in its order."""
    with ExitStack() as stop:
        folder = stop.enter_context(folder_for_postgres())
        policy = folder / "policy" / "airflow_local_settings.py"
        policy.parent.mkdir()
        deployed = REPOSITORY / "deploy" / "airflow" / "airflow_local_settings.py"
        policy.write_text(HASTE.format(policy=str(deployed)), encoding="utf-8")
        compose = read_compose(REPOSITORY / "docker-compose.yaml", read_variables(REPOSITORY / "deploy" / "replay.env"))
        processes = Processes(folder / "processes.json", folder / "logs", threading.Event())
        stop.callback(processes.stop)
        containers = Containers(compose, folder, processes, {**IMPATIENT, "PYTHONPATH": str(policy.parent)})
        containers.run("secrets")
        superuser = stop.enter_context(postgres_of(containers))
        # Entered last, left first: nobody shall lose the database under its feet.
        stop.callback(processes.stop)
        for name in ("redis", "replay"):
            containers.start(name)
        containers.run("init", 240)
        for name in ("api-server", "dag-processor", "triggerer", *WORKERS):
            containers.start(name)
        containers.wait_for("api-server")
        password = (containers.volume("secrets-airflow") / "admin_password").read_text()
        api = AirflowApi(f"http://{HOST}:{containers.port(8080)}", "admin", password)
        _pause_what_is_not_wanted(containers, api)
        containers.start("scheduler")
        stop.callback(_tell_what_it_took, containers)
        yield Composed(containers, api, superuser, superuser.replace("/postgres?", "/warehouse?"))


def _tell_what_it_took(containers: Containers) -> None:
    """Print what each service has taken; `pytest -s` shows it."""
    for name in containers.processes._running:
        members = containers.leader(name).members()
        seconds = megabytes = 0.0
        for member in members:
            # One that was forked for a while may have ended by now.
            with suppress(psutil.Error):
                seconds += sum(member.cpu_times()[:4])
                megabytes += member.memory_full_info().pss / 2**20
        print(f"{name}: {len(members)} processes, {megabytes:.0f} MB, {seconds:.0f} s of CPU")  # noqa: T201


def _pause_what_is_not_wanted(containers: Containers, api: AirflowApi) -> None:
    """Leave the demo and what belongs to it: a night's maintenance has tests of its own."""
    wanted = {"ingest_demo", "score_anomalies", "train_models"}
    deadline = time.monotonic() + PATIENCE_S
    while not wanted <= (known := {dag["dag_id"] for dag in api.collect("/dags", "dags")}):
        assert time.monotonic() < deadline, known
        containers.processes.pause(0.5)
    for dag_id in {*known, "ingest_demo"} - {"score_anomalies", "train_models"}:
        api.patch(f"/dags/{dag_id}", {"is_paused": True})


def _at(day: datetime) -> dict[str, str]:
    return {"logical_date_gte": day.isoformat(), "logical_date_lte": day.isoformat()}
