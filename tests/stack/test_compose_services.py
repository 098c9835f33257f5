"""docker-compose.yaml's services, started once and each by its own command.

The demo's DAGs run through two Celery workers; then workers are killed in the middle of a fetch and of a load, and what
they were at is done by the other.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from tests.conftest import REPOSITORY
from tests.stack.composed import WORKERS, Composed, composed

_MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
# The later one first: a DAG that is switched on would run it by itself.
DAYS = (_MIDNIGHT - timedelta(days=1), _MIDNIGHT - timedelta(days=2))


@pytest.fixture(scope="module")
def running() -> Iterator[Composed]:
    """The stack."""
    with composed() as up:
        yield up


def test_every_service_says_that_it_is_well(running: Composed) -> None:
    """The health check of each answers, in its container's words; and that of one that is not there does not."""
    for name in ("redis", "replay", "api-server", "scheduler", "dag-processor", "triggerer", *WORKERS):
        running.containers.wait_for(name)
    answer = running.containers.terminal("celery", "inspect", "ping", "--destination", "worker@elsewhere")
    assert answer.returncode != 0


def test_the_demo_s_dags_run_to_the_end_on_both_workers(running: Composed) -> None:
    """A day is fetched, cleaned, loaded and accounted for; scoring finds that there is no model; training waits."""
    running.ask_for(DAYS[0])
    running.wait(lambda: running.is_done(DAYS[0]))
    assert {one["state"] for one in running.tasks(DAYS[0], "account")} == {"success"}
    running.wait(lambda: "skipped" in running.states_of("score_anomalies", "due"))
    running.wait(lambda: "skipped" in running.states_of("train_models", "train"))
    trained = running.api.collect("/dags/train_models/dagRuns/~/taskInstances", "task_instances", task_id="train")
    assert {one["queue"] for one in trained} == {"heavy"}
    for name in WORKERS:
        assert "succeeded in" in running.containers.processes.log_path(name).read_text(), name


def test_law_2_a_worker_that_is_killed_leaves_what_one_clean_run_leaves(running: Composed) -> None:
    """Killed in the middle of a fetch, and another in the middle of a load: others do it again, all comes out right."""
    containers = running.containers
    exchange = psutil.Process(containers.leader("replay").pid)
    with psycopg.connect(running.warehouse) as connection:
        # Loads may read, and stop short of their checkpoint: archive and candles are written by then.
        connection.execute("LOCK TABLE checkpoints IN SHARE MODE")
        exchange.suspend()
        running.ask_for(DAYS[1])
        first, fetching = running.kill_who_runs(DAYS[1], "partition.fetch")
        exchange.resume()
        containers.start(first)
        second, loading = running.kill_who_runs(DAYS[1], "partition.load")
    containers.start(second)
    running.wait(lambda: running.is_done(DAYS[1]))
    for task, indices in (("partition.fetch", fetching), ("partition.load", loading)):
        tries = {one["map_index"]: one["try_number"] for one in running.tasks(DAYS[1], task)}
        assert all(tries[index] > 1 for index in indices), (task, indices, tries)
    audit = containers.terminal("chandler", "audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert _candles(running.warehouse) == _candles(running.load_undisturbed(DAYS[1], DAYS[0]))


def test_the_exchange_refused_nothing(running: Composed) -> None:
    """The requests of two workers, and of those who died at it, are counted in one place: all were answered."""
    with psycopg.connect(running.warehouse) as connection:
        outcomes = dict(connection.execute("SELECT outcome, sum(requests) FROM requests GROUP BY outcome").fetchall())
    assert outcomes.keys() == {"ok"}, outcomes


def test_prometheus_may_scrape_by_the_token_that_it_has(running: Composed) -> None:
    """The token that `secrets` gives to Prometheus opens the metrics, and nobody gets in without."""
    token = (running.containers.volume("secrets-prometheus") / "metrics_token").read_text()
    url = f"{running.api.url}/chandler/metrics"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"})
    assert "chandler_candles_stored{" in answer.text
    assert httpx.get(url).status_code == 401


def test_no_secret_is_told(running: Composed) -> None:
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
        texts += containers.commands(service)
    assert not [text for text in texts for secret in secrets if secret in text]


def test_a_backup_is_put_back_by_the_guide_s_commands(running: Composed, tmp_path: Path) -> None:
    """The warehouse is dropped and the archive deleted; what comes back is what was there, and proved."""
    before = _candles(running.warehouse)
    backup, secrets, airflow, restore, rebuild = _guide_blocks("Backups")
    _run_lines(running, backup, tmp_path)
    _run_lines(running, secrets, tmp_path)
    # Beside the database that Airflow runs on: the other tests need that.
    names = {
        "--force airflow": "--if-exists again",
        "template0 airflow": "template0 again",
        "dbname=airflow": "dbname=again",
    }
    _run_lines(running, [_swapped(line, names) for line in airflow], tmp_path)
    with psycopg.connect(running.warehouse.replace("/warehouse", "/again")) as connection:
        assert connection.execute("SELECT count(*) FROM ab_user").fetchone() == (1,)
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


def _swapped(line: str, names: dict[str, str]) -> str:
    """Return a line with each text of `names` replaced."""
    for old, new in names.items():
        line = line.replace(old, new)
    return line


def _guide_blocks(heading: str) -> list[list[str]]:
    """Return the lines of each block of commands below a heading of the guide."""
    guide = (REPOSITORY / "docs" / "guides" / "production.md").read_text(encoding="utf-8")
    section = guide.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [block.strip().splitlines() for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)]


def _run_lines(running: Composed, lines: list[str], folder: Path) -> None:
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


def _candles(url: str) -> list[tuple[object, ...]]:
    """Return all candles of a warehouse, but for when they were stored."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT exchange, symbol, timeframe, open_time, open, high, low, close, volume, quote_volume, trades, "
            "taker_buy_volume, flags FROM candles JOIN series ON id = series_id ORDER BY 1, 2, 3, 4"
        ).fetchall()
