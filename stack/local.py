"""The stack as a whole: its parts in their order, up as long as a block lasts, gone without trace after it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from etl.feeds_file import load_settings
from etl.homes import feeds_path, write_note
from etl.replay import MadeUpMarket
from etl.settings import Settings
from etl.timeframe import Timeframe
from etl.warehouse.embedded import embedded_postgres
from stack.airflow import PARTS, USERS, airflow_environment, migrate_argv, part_argv
from stack.api import AirflowApi
from stack.errors import ApiError, StackError
from stack.home import HOST, Home, choose_port
from stack.processes import Processes
from stack.screen import Screen

UI_PORT = 8080
REPLAY = "replay"
REPLAY_PORT = 8900
_POOL_SLOTS = 4
_MIGRATE_LIMIT_S = 180.0
_HEALTH_LIMIT_S = 180.0
_LISTEN_LIMIT_S = 60.0
_SERVER = "api-server"
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that is up.

    Attributes:
        environment: What its processes were given; `chandler` started with it works on the same data.
        warehouse_url: Where the candles are.
        password: That of the user admin.
    """

    home: Home
    api: AirflowApi
    processes: Processes
    environment: Mapping[str, str]
    warehouse_url: str
    password: str

    @property
    def settings(self) -> Settings:
        """feeds.toml as it is now, with this stack's warehouse."""
        return load_settings(home=self.home.root, warehouse_url=self.warehouse_url)


@contextmanager
def local_stack(
    home: Home, screen: Screen, stop_asked: threading.Event, *, with_replay: bool, is_paused_at_creation: bool
) -> Iterator[Stack]:
    """Start everything; stop everything when the block ends, however it ends.

    Args:
        stop_asked: Set by whoever wants the stack to stop; waiting then ends with a StopAskedError.
        with_replay: Whether to run a made-up exchange, and to point `exchanges.replay` at it.
        is_paused_at_creation: Whether a new DAG waits for somebody to switch it on.

    Raises:
        StackError: A part does not start, or does not become healthy.
        StoreUnavailableError: PostgreSQL does not start.
    """
    with ExitStack() as cleanup:
        cleanup.enter_context(home.locked())
        processes = Processes(home.root / "processes.json", home.logs, stop_asked)
        if leftovers := processes.stop_leftovers():
            screen.warn(f"An earlier stack was killed; stopped what it had left: {', '.join(leftovers)}.")
        cleanup.callback(_stop, processes, screen)
        environment = dict(os.environ)
        served: dict[str, dict[str, str]] = {}
        if with_replay:
            served[REPLAY] = _start_replay(home, processes, screen)
            environment |= {
                f"CHANDLER_EXCHANGES__{name}__{key}".upper(): address
                for name, addresses in served.items()
                for key, address in addresses.items()
            }
        write_note(home.root, "make demo" if with_replay else "make run", feeds_path(), served)
        with screen.step("PostgreSQL"):
            metadata_url = cleanup.enter_context(embedded_postgres(home.root / "postgres", "airflow"))
            warehouse_url = cleanup.enter_context(embedded_postgres(home.root / "postgres", "warehouse"))
        # After the databases, before the processes: what is entered last is left first.
        cleanup.callback(_stop, processes, screen)
        warehouse_url = environment.setdefault("CHANDLER_WAREHOUSE_URL", warehouse_url)
        port = _choose(UI_PORT, "the Airflow UI", screen)
        environment |= airflow_environment(home, metadata_url, port, is_paused_at_creation=is_paused_at_creation)
        password = home.passwords(USERS)["admin"]
        check_ours = partial(processes.check_listens, _SERVER, port)
        api = AirflowApi(f"http://{HOST}:{port}", "admin", password, check_ours)
        _start_airflow(processes, environment, port, api, screen)
        yield Stack(home, api, processes, environment, warehouse_url, password)


def ensure_pool(api: AirflowApi, exchange: str) -> None:
    """Make the pool that limits how many tasks talk to `exchange` at once; leave one that is there as it is."""
    body = {"name": exchange, "slots": _POOL_SLOTS, "description": f"tasks that talk to {exchange}"}
    try:
        api.post("/pools", body)
    except ApiError as error:
        if error.status != 409:
            raise


def wait_for_dag(stack: Stack, dag_id: str, timeout_s: float = 60.0) -> None:
    """Wait until Airflow knows the DAG.

    Raises:
        StackError: Its file cannot be imported, or it does not turn up.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            stack.api.get(f"/dags/{dag_id}")
        except ApiError as error:
            if error.status != 404:
                raise
        else:
            return
        if errors := stack.api.get("/importErrors")["import_errors"]:
            raise StackError(f"{errors[0]['filename']} cannot be imported:\n{errors[0]['stack_trace']}")
        if time.monotonic() > deadline:
            raise StackError(f"Airflow has not found {dag_id}; see {stack.processes.log_path('dag-processor')}")
        stack.processes.pause(_POLL_S)


def wait_for_runs(stack: Stack, dag_id: str, timeout_s: float = 60.0) -> None:
    """Wait until no run of the DAG is under way, or until it has taken too long."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        runs = stack.api.get(f"/dags/{dag_id}/dagRuns", state=["queued", "running"], limit=1)
        if not runs["total_entries"]:
            return
        stack.processes.pause(_POLL_S)


def chandler_path() -> str:
    """Return where the `chandler` command of our own environment is."""
    return str(Path(sys.executable).with_name("chandler"))


def eventful_seed(now: datetime) -> int:
    """Return a made-up market whose exchange was silent for a while within the last week, so that one sees it told."""
    today = int(now.timestamp()) // 86_400
    for seed in range(7, 57):
        market = MadeUpMarket(seed)
        for day in range(today - 6, today - 1):
            start_ms = day * 86_400_000
            rows = market.rows(market.symbols[0], Timeframe.M1, start_ms, start_ms + 86_400_000, 1440)
            if len(rows) < 1440 - 10:
                return seed
    return 7


def _start_replay(home: Home, processes: Processes, screen: Screen) -> dict[str, str]:
    port = _choose(REPLAY_PORT, "the replay exchange", screen)
    # The market of this folder, tomorrow as today.
    seed = home.kept("replay.seed", str(eventful_seed(datetime.now(UTC))))
    argv = [chandler_path(), "replay", "--port", str(port), "--seed", seed]
    processes.start("replay", argv, os.environ)
    # A stranger on this port would be taken for the exchange.
    processes.wait_until_listens("replay", port, _LISTEN_LIMIT_S)
    url = f"http://{HOST}:{port}"
    return {"base_url": url, "bulk_url": f"{url}/data"}


def _start_airflow(
    processes: Processes, environment: Mapping[str, str], port: int, api: AirflowApi, screen: Screen
) -> None:
    with screen.step("Airflow's tables"):
        processes.start("migrate", migrate_argv(), environment)
        processes.wait("migrate", _MIGRATE_LIMIT_S)
    with screen.step("Airflow"):
        for name in PARTS:
            processes.start(name, part_argv(name, port), environment)
        deadline = time.monotonic() + _HEALTH_LIMIT_S
        processes.wait_until_listens(_SERVER, port, _HEALTH_LIMIT_S)
        while True:
            health = api.health()
            if health and set(health.values()) == {"healthy"}:
                return
            if time.monotonic() > deadline:
                raise StackError(f"Airflow is not healthy after {_HEALTH_LIMIT_S:.0f} s: {health or 'no answer'}")
            processes.pause(_POLL_S)


def _choose(preferred: int, what: str, screen: Screen) -> int:
    port = choose_port(preferred)
    if port != preferred:
        screen.warn(f"Port {preferred} is taken; {what} is on {port}.")
    return port


def _stop(processes: Processes, screen: Screen) -> None:
    if processes.is_empty:
        return
    with screen.step("stopped"):
        processes.stop()
