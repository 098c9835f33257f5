"""Setup of the local Airflow: its environment, its parts, its users."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import make_url

from stack.home import HOST, Home

REPOSITORY = Path(__file__).resolve().parent.parent
USERS: Mapping[str, str] = {"admin": "admin", "viewer": "viewer"}
PARTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server", "--host", HOST, "--port", "{port}"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}

# Airflow's own defaults are for a cluster. Here a finished task shall be noticed at once, and memory is scarce.
_TUNING: Mapping[str, str] = {
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "15",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # Tasks of a killed stack are taken up again soon after the next one starts, not after five minutes.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "10",
}


def airflow_environment(home: Home, database_url: str, port: int, *, is_paused_at_creation: bool) -> dict[str, str]:
    """Return the environment of every part of Airflow, on top of our own.

    Args:
        database_url: Airflow's metadata.
        port: Where UI and API listen.
        is_paused_at_creation: Whether a new DAG waits for somebody to switch it on.
    """
    metadata_url = make_url(database_url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    own = {
        "AIRFLOW_HOME": str(home.airflow),
        "AIRFLOW__API_AUTH__JWT_SECRET": home.secret("jwt"),
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}",
        "AIRFLOW__API__SECRET_KEY": home.secret("session"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": str(is_paused_at_creation),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": home.secret("fernet"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__MAX_MAP_LENGTH": "16384",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home.passwords_file),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata_url,
        # The same driver: by default Airflow would want asyncpg for this one.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": metadata_url,
        "CHANDLER_HOME": str(home.root),
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), HOST, "localhost"])),
        # Five processes import the same thousands of modules: compiling them once is enough, whatever the shell says.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONUNBUFFERED": "1",
    }
    return {**_TUNING, **os.environ, **own}


def part_argv(name: str, port: int) -> list[str]:
    """Return the command that starts one of `PARTS`."""
    return [sys.executable, "-m", "stack.part", *(word.format(port=port) for word in PARTS[name])]


def migrate_argv() -> list[str]:
    """Return the command that makes or updates Airflow's tables."""
    return [sys.executable, "-m", "airflow", "db", "migrate"]
