"""A real Airflow to run DAGs in, one after the other, and what a test may want to know of each run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy.engine import make_url

from tests.databases import fresh_database

REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Run:
    """Result of a DAG's run.

    Attributes:
        tasks: By task and map index.
        log: What its tasks logged, and what else was printed.
    """

    state: str
    interval: tuple[datetime, datetime]
    tasks: Mapping[tuple[str, int], Mapping[str, Any]]
    links: Mapping[str, str]
    events: list[dict[str, str]]
    log: str = field(repr=False)

    def states(self) -> dict[str, str]:
        """Return the state of each task that is not mapped."""
        return {name: task["state"] for (name, index), task in self.tasks.items() if index == -1}


class AirflowProcess:
    """Runs DAGs of the repository as `dag.test()` does.

    Args:
        home: Becomes AIRFLOW_HOME, and lies around feeds.toml and all that is written.
        warehouse_url: A database that is migrated.
        environment: What else its tasks are told.
    """

    def __init__(self, home: Path, feeds: str, warehouse_url: str, environment: Mapping[str, str]) -> None:
        self.home = home
        (home / "feeds.toml").write_text(feeds, encoding="utf-8")
        archive = {"conn_type": "fs", "extra": {"url": f"{home}/chandler/archive"}}
        self._environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__BASE_URL": "http://airflow.example:8080",
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
            "AIRFLOW_CONN_CHANDLER_ARCHIVE": json.dumps(archive),
            "AIRFLOW_CONN_CHANDLER_WAREHOUSE": _to_connection(warehouse_url),
            # Where nothing must ever arrive: the Connections win.
            "CHANDLER_ARCHIVE_URL": str(home / "elsewhere"),
            "CHANDLER_WAREHOUSE_URL": "postgresql://nobody@127.0.0.1:1/nowhere",
            "CHANDLER_FEEDS": str(home / "feeds.toml"),
            "CHANDLER_HOME": str(home / "chandler"),
            **environment,
        }

    def __enter__(self) -> Self:
        """Start it."""
        argv = [sys.executable, str(Path(__file__).with_name("dag_runs.py"))]
        self._process = subprocess.Popen(
            argv,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it is at."""
        self._process.kill()
        self._process.communicate()

    def run(self, dag: str, logical_date: datetime, run_type: str = "manual") -> Run:
        """Run `dag` at `logical_date`: over the data interval that has ended last.

        Args:
            run_type: As what, to Airflow: `manual`, `scheduled` or `backfill`.
        """
        return _to_run(*self._ask({"dag": dag, "logical_date": logical_date.isoformat(), "run_type": run_type}))

    def be_late(self, facts: Mapping[str, Any]) -> None:
        """Let the deadline of an ingest's run pass.

        Args:
            facts: The run as Airflow's API shows it.
        """
        self._ask({"late": facts})

    def show(self, page: str, user: str | None) -> tuple[int, str]:
        """Return status and body of one of our pages, as `user` sees it, or whoever is not logged in."""
        answer = self.send(page, user)
        return answer["status"], answer["body"]

    def send(self, page: str, user: str | None, **request: Any) -> dict[str, Any]:
        """Return status, body and headers of what our server answers.

        Args:
            user: A role of Airflow's; `nobody`: one that is logged in and may nothing; None: not logged in.
            request: `method`, `headers` and `body`.
        """
        answer: dict[str, Any] = self._ask({"page": page, "user": user, **request})[0]
        return answer

    def grant(self, users: Mapping[str, Any]) -> None:
        """Make users where Airflow runs with FabAuthManager: names with `roles` and `permissions`."""
        self._ask({"grant": users})

    def routes(self) -> list[tuple[str, str]]:
        """Return method and address of all that our part of Airflow's server answers."""
        answer, _ = self._ask({"routes": True})
        return [(method, path) for method, path in answer]

    def fail(self, text: str) -> dict[str, Any]:
        """Return title and detail of what is told of a task that fails by an error, none of ours, with that text."""
        told: dict[str, Any] = self._ask({"error": text})[0]
        return told

    def _ask(self, wanted: Mapping[str, Any]) -> tuple[Any, str]:
        """Return what comes of it, and what is printed meanwhile."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        log: list[str] = []
        for line in self._process.stdout:
            if line.startswith("DONE "):
                return json.loads(line.removeprefix("DONE ")), "".join(log)
            log.append(line)
        raise AssertionError("".join(log)[-4000:])


def _to_run(facts: dict[str, Any], log: str) -> Run:
    start, end = (datetime.fromisoformat(bound) for bound in facts["interval"])
    tasks = {(task["task"], task["index"]): task for task in facts["tasks"]}
    return Run(facts["state"], (start, end), tasks, facts["links"], facts["events"], log)


def _to_connection(url: str) -> str:
    """Return a database's address as the Connection that a user would fill in."""
    parts = make_url(url)
    fields = {"login": parts.username, "password": parts.password, "host": parts.host, "port": parts.port}
    fields |= {"schema": parts.database, "extra": dict(parts.query)}
    return json.dumps({"conn_type": "postgres", **{name: value for name, value in fields.items() if value}})


@contextmanager
def fresh_databases(postgres: str, count: int) -> Iterator[list[str]]:
    """Yield the addresses of so many fresh, migrated databases."""
    with ExitStack() as stack:
        yield [stack.enter_context(fresh_database(postgres)) for _ in range(count)]
