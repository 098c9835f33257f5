"""Airflow's view of dags/, asked for in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
TOMORROW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
ReadFacts = Callable[[str | None], dict[str, Any]]


@pytest.fixture(scope="session")
def read_facts(tmp_path_factory: pytest.TempPathFactory) -> ReadFacts:
    """Return a function that parses dags/ with a feeds file of the given content, or without one."""

    def read(feeds: str | None) -> dict[str, Any]:
        home = tmp_path_factory.mktemp("airflow")
        if feeds is not None:
            (home / "feeds.toml").write_text(feeds, encoding="utf-8")
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__MAX_MAP_LENGTH": "2",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
            "CHANDLER_FEEDS": str(home / "feeds.toml"),
        }
        argv = [sys.executable, str(Path(__file__).with_name("dag_facts.py"))]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd=home)
        lines = [line for line in done.stdout.splitlines() if line.startswith("FACTS ")]
        assert lines, done.stdout[-2000:] + done.stderr[-2000:]
        facts: dict[str, Any] = json.loads(lines[0].removeprefix("FACTS "))
        return facts

    return read


@pytest.fixture(scope="session")
def facts(read_facts: ReadFacts) -> dict[str, Any]:
    """Return the facts of dags/ with the feeds of users, one of another exchange, and one that begins tomorrow."""
    more = "".join(
        f'\n[feeds.{name}]\nexchange = "kraken"\nsymbols = ["SOL/USDT"]\ntimeframes = ["1h"]\nstart = {start}\n'
        for name, start in (("more", "2024-01-01"), ("future", TOMORROW.date()))
    )
    return read_facts((REPOSITORY / "feeds.toml").read_text(encoding="utf-8") + more)
