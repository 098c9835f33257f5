"""docker-compose.yaml as it runs: each service a process, started by its own command, on the demo's feed and exchange.

It starts once. Then the demo's DAGs run through two Celery workers; then workers are killed in the middle of a fetch
and of a load, and what they were at is done by the other.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from stack.api import AirflowApi, Json
from stack.compose.file import read_compose, read_variables
from stack.errors import ApiError
from stack.home import HOST
from stack.processes import Processes
from tests.conftest import REPOSITORY
from tests.databases import folder_for_postgres
from tests.stack.containers import Containers, postgres_of
from tests.stack.sparing import SPARING

# Ten services start, which takes minutes where others are busy.
pytestmark = pytest.mark.timeout(600)

DAG = "ingest_demo"
WORKERS = ("worker", "trainer")
_MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
# The later one first: a DAG that is switched on would run it by itself.
DAYS = (_MIDNIGHT - timedelta(days=1), _MIDNIGHT - timedelta(days=2))
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
class Running:
    """The stack, up.

    Attributes:
        superuser: The address of PostgreSQL's superuser.
        warehouse: The same one's in the warehouse.
    """

    containers: Containers
    api: AirflowApi
    superuser: str
    warehouse: str


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
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
        yield Running(containers, api, superuser, superuser.replace("/postgres?", "/warehouse?"))


def _tell_what_it_took(containers: Containers) -> None:
    """Print what each service has taken; `pytest -s` shows it."""
    for name in containers.processes._running:
        members = containers.leader(name).members()
        seconds = sum(sum(member.cpu_times()[:4]) for member in members)
        megabytes = sum(member.memory_full_info().pss for member in members) / 2**20
        print(f"{name}: {len(members)} processes, {megabytes:.0f} MB, {seconds:.0f} s of CPU")  # noqa: T201


def _pause_what_is_not_wanted(containers: Containers, api: AirflowApi) -> None:
    """Leave the demo and what belongs to it: a night's maintenance has tests of its own."""
    wanted = {"ingest_demo", "score_anomalies", "train_models"}
    deadline = time.monotonic() + 180
    while not wanted <= (known := {dag["dag_id"] for dag in api.collect("/dags", "dags")}):
        assert time.monotonic() < deadline, known
        containers.processes.pause(0.5)
    for dag_id in {*known, "ingest_demo"} - {"score_anomalies", "train_models"}:
        api.patch(f"/dags/{dag_id}", {"is_paused": True})


def _wait(running: Running, done: Callable[[], bool], timeout_s: float = 180) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, _states(running)
        running.containers.processes.pause(1)


def _ask_for(running: Running, day: datetime) -> None:
    """Let Airflow backfill a day, once an earlier backfill has wound up."""
    body = {"dag_id": DAG, "from_date": day.isoformat(), "to_date": day.isoformat(), "max_active_runs": 1}

    def is_taken() -> bool:
        try:
            running.api.post("/backfills", {**body, "reprocess_behavior": "none"})
        except ApiError as error:
            if error.status != 409:
                raise
            return False
        return True

    _wait(running, is_taken)
    running.api.patch(f"/dags/{DAG}", {"is_paused": False})


def _tasks(running: Running, day: datetime, task: str) -> list[Json]:
    """Return the instances of a task in the run of a day."""
    path = f"/dags/{DAG}/dagRuns/~/taskInstances"
    when = {"logical_date_gte": day.isoformat(), "logical_date_lte": day.isoformat()}
    return running.api.collect(path, "task_instances", task_id=task, **when)


def _is_done(running: Running, day: datetime) -> bool:
    """Whether the run of a day has ended well."""
    when = {"logical_date_gte": day.isoformat(), "logical_date_lte": day.isoformat()}
    states = [run["state"] for run in running.api.collect(f"/dags/{DAG}/dagRuns", "dag_runs", **when)]
    assert "failed" not in states, _states(running)
    return states == ["success"]


def _states(running: Running) -> list[tuple[object, ...]]:
    """Return where everything is, for a test that waits in vain."""
    tasks = running.api.collect("/dags/~/dagRuns/~/taskInstances", "task_instances")
    return [(one["dag_id"], one["task_id"], one["map_index"], one["state"], one["try_number"]) for one in tasks]


def _kill_who_runs(running: Running, day: datetime, task: str) -> tuple[str, set[int]]:
    """Kill the worker that is at a task; return its name, and the map indices that it was at."""
    held: dict[str, set[int]] = {}

    def somebody_is_at_it() -> bool:
        for one in _tasks(running, day, task):
            if one["state"] == "running" and one["pid"] and psutil.pid_exists(one["pid"]):
                session = os.getsid(one["pid"])
                at = next(name for name in WORKERS if running.containers.leader(name).pid == session)
                held.setdefault(at, set()).add(one["map_index"])
        return bool(held)

    _wait(running, somebody_is_at_it)
    name = min(held)
    running.containers.kill(name)
    return name, held[name]


def test_every_service_says_that_it_is_well(running: Running) -> None:
    """The health check of each answers, in its container's words; and that of one that is not there does not."""
    for name in ("redis", "replay", "api-server", "scheduler", "dag-processor", "triggerer", *WORKERS):
        running.containers.wait_for(name)
    answer = running.containers.terminal("celery", "inspect", "ping", "--destination", "worker@elsewhere")
    assert answer.returncode != 0


def test_the_demo_s_dags_run_to_the_end_on_both_workers(running: Running) -> None:
    """A day is fetched, cleaned, loaded and accounted for; scoring finds that there is no model; training waits."""
    _ask_for(running, DAYS[0])
    _wait(running, lambda: _is_done(running, DAYS[0]))
    assert {one["state"] for one in _tasks(running, DAYS[0], "account")} == {"success"}
    for dag_id, task in (("score_anomalies", "due"), ("train_models", "train")):
        path = f"/dags/{dag_id}/dagRuns/~/taskInstances"
        _wait(
            running,
            lambda path=path, task=task: (
                {"skipped"}  # type: ignore[misc]  # bound for this turn of the loop
                <= {one["state"] for one in running.api.collect(path, "task_instances", task_id=task)}
            ),
        )
    trained = running.api.collect("/dags/train_models/dagRuns/~/taskInstances", "task_instances", task_id="train")
    assert {one["queue"] for one in trained} == {"heavy"}
    for name in WORKERS:
        assert "succeeded in" in running.containers.processes.log_path(name).read_text(), name


def test_law_2_a_worker_that_is_killed_leaves_what_one_clean_run_leaves(running: Running) -> None:
    """Killed in the middle of a fetch, and another in the middle of a load: others do it again, all comes out right."""
    containers = running.containers
    exchange = psutil.Process(containers.leader("replay").pid)
    with psycopg.connect(running.warehouse) as connection:
        # Loads may read, and stop short of their checkpoint: archive and candles are written by then.
        connection.execute("LOCK TABLE checkpoints IN SHARE MODE")
        exchange.suspend()
        _ask_for(running, DAYS[1])
        first, fetching = _kill_who_runs(running, DAYS[1], "partition.fetch")
        exchange.resume()
        containers.start(first)
        second, loading = _kill_who_runs(running, DAYS[1], "partition.load")
    containers.start(second)
    _wait(running, lambda: _is_done(running, DAYS[1]))
    for task, indices in (("partition.fetch", fetching), ("partition.load", loading)):
        tries = {one["map_index"]: one["try_number"] for one in _tasks(running, DAYS[1], task)}
        assert all(tries[index] > 1 for index in indices), (task, indices, tries)
    audit = containers.terminal("chandler", "audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert _candles(running.warehouse) == _candles(_load_undisturbed(running))


def test_workers_share_the_exchange_s_budget(running: Running) -> None:
    """Two workers, and those who died at it, never asked for more than the exchange allows."""
    with psycopg.connect(running.warehouse) as connection:
        outcomes = dict(connection.execute("SELECT outcome, sum(requests) FROM requests GROUP BY outcome").fetchall())
    assert outcomes.keys() == {"ok"}, outcomes


def test_prometheus_may_scrape_by_the_token_that_it_has(running: Running) -> None:
    """What `secrets` gives to Prometheus opens the metrics, and nobody gets in without."""
    token = (running.containers.volume("secrets-prometheus") / "metrics_token").read_text()
    url = f"{running.api.url}/chandler/metrics"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"})
    assert "chandler_candles_stored{" in answer.text
    assert httpx.get(url).status_code == 401


def test_no_secret_is_told(running: Running) -> None:
    """No log of a service or a task, and no command line, has a password in it."""
    containers = running.containers
    secrets = [
        path.read_text()
        for path in (containers.root / "secrets").glob("*/*")
        if path.suffix != ".conf" and not path.name.endswith(("url", "backend"))
    ]
    assert len(secrets) >= 11
    texts = [path.read_text(errors="replace") for path in (containers.folder / "logs").glob("*.log")]
    texts += [path.read_text(errors="replace") for path in containers.volume("logs").rglob("*.log")]
    for service in containers.compose.services:
        with suppress(KeyError, psutil.Error):
            texts += [" ".join(member.cmdline()) for member in containers.leader(service).members()]
    assert not [text for text in texts for secret in secrets if secret in text]


def test_a_backup_is_put_back_by_the_guide_s_commands(running: Running, tmp_path: Path) -> None:
    """The warehouse is dropped and the archive deleted; what comes back is what was there, and proved."""
    before = _candles(running.warehouse)
    backup, restore, rebuild = _guide_blocks("Backups")
    _run_lines(running, backup, tmp_path)
    for name in WORKERS:
        running.containers.kill(name)
    shutil.rmtree(running.containers.volume("archive"))
    _run_lines(running, restore, tmp_path)
    assert _candles(running.warehouse) == before
    with (
        psycopg.connect(running.warehouse.replace("postgres@", "grafana@")) as connection,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        assert connection.execute("SELECT count(*) FROM candles").fetchone() == (len(before),)
        connection.execute("DELETE FROM candles")
    _run_lines(running, rebuild, tmp_path)


def _guide_blocks(heading: str) -> list[list[str]]:
    """Return the lines of each block of commands below a heading of the guide."""
    guide = (REPOSITORY / "docs" / "guides" / "production.md").read_text(encoding="utf-8")
    section = guide.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [block.strip().splitlines() for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)]


def _run_lines(running: Running, lines: list[str], folder: Path) -> None:
    """Run lines of `docker compose`, each by programs of the service that it names; to start and stop them is ours."""
    for line in lines:
        words = [word for word in shlex.split(line)[2:] if word not in {"--rm", "--no-deps", "-T"}]
        if words[0] not in {"exec", "run"} or "timescaledb" in line:
            continue
        source = words[words.index("<") + 1] if "<" in words else None
        target = words[words.index(">") + 1] if ">" in words else None
        argv = [word for word in words[2:] if word not in {"<", ">", source, target}]
        done = running.containers.inside(words[1], argv, folder / source if source else None)
        assert done.returncode == 0, (line, done.stderr.decode()[-2000:])
        if target:
            assert done.stdout
            (folder / target).write_bytes(done.stdout)


def _load_undisturbed(running: Running) -> str:
    """Load the same days in one go, on the terminal, into stores of their own; return the warehouse's address."""
    with psycopg.connect(running.superuser, autocommit=True) as connection:
        connection.execute("CREATE DATABASE undisturbed")
    url = running.superuser.replace("/postgres?", "/undisturbed?")
    home = running.containers.folder / "undisturbed"
    environment = {
        **running.containers.environment("terminal"),
        "CHANDLER_WAREHOUSE_URL__FILE": str(running.containers.folder / "undisturbed_url"),
        "CHANDLER_ARCHIVE_URL": str(home / "archive"),
        "CHANDLER_HOME": str(home),
    }
    (running.containers.folder / "undisturbed_url").write_text(url)
    start, end = DAYS[1], DAYS[0] + timedelta(days=1)
    done = running.containers.command(
        "terminal",
        [sys.executable, str(REPOSITORY / "deploy" / "enter.py"), "chandler", "ingest", "--feed", "demo"]
        + ["--start", f"{start:%Y-%m-%d}", "--end", f"{end:%Y-%m-%d}"],
        environment,
    )
    assert done.returncode == 0, done.stderr
    return url


def _candles(url: str) -> list[tuple[object, ...]]:
    """Return all candles of a warehouse, but for when they were stored."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT exchange, symbol, timeframe, open_time, open, high, low, close, volume, quote_volume, trades, "
            "taker_buy_volume, flags FROM candles JOIN series ON id = series_id ORDER BY 1, 2, 3, 4"
        ).fetchall()
