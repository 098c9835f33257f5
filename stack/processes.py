"""Processes that are started together and leave nothing behind.

Each leads a session of its own, so whatever it starts can be found and ended with it, and Ctrl-C in a terminal reaches
nobody but us. Who they are is kept in a file, so that the next supervisor can end what a killed one left.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from etl.processes import process_key
from stack.errors import StackError, StopAskedError
from stack.home import HOST

log = logging.getLogger(__name__)

_POLL_S = 0.05
_LISTEN_POLL_S = 0.25
_CONNECT_LIMIT_S = 5.0
_LOG_LINES = 15


@dataclass(frozen=True, slots=True)
class Leader:
    """A process that leads a session, recognisable even after its number was given to another."""

    name: str
    pid: int
    key: str

    def members(self) -> list[psutil.Process]:
        """Return the processes of its session that live, itself included.

        A session outlives its leader, and the kernel gives its number to no one as long as it lives.
        """
        with suppress(psutil.NoSuchProcess):
            if process_key(self.pid) != self.key:
                return []
        return [process for process in psutil.process_iter() if _is_in(process, self.pid)]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the processes of its session; one that ends meanwhile needs none."""
        for process in self.members():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def _is_in(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


class Processes:
    """The processes of one stack.

    Args:
        record: The file to keep their numbers in.
        logs: The folder for their logs, one file each.
        stop_asked: Set by whoever wants the stack to stop. A signal handler that raised instead could strike between
            the birth of a process and the note of it.
        grace_s: How long they may take to stop before they are killed.
    """

    def __init__(
        self, record: Path, logs: Path, stop_asked: threading.Event | None = None, grace_s: float = 12.0
    ) -> None:
        self._record = record
        self._logs = logs
        self._stop_asked = stop_asked or threading.Event()
        self._grace_s = grace_s
        self._running: dict[str, tuple[subprocess.Popen[bytes], Leader]] = {}

    def stop_leftovers(self) -> list[str]:
        """End what an earlier supervisor left running, and return the names."""
        try:
            recorded = [Leader(**facts) for facts in json.loads(self._record.read_text(encoding="utf-8"))]
        except (FileNotFoundError, ValueError, TypeError):
            return []
        alive = [leader for leader in recorded if leader.members()]
        end(alive, self._grace_s)
        self._record.unlink(missing_ok=True)
        return [leader.name for leader in alive]

    def start(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a process; what it prints goes to its log.

        Raises:
            StackError: It cannot be started at all.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log_path(name).open("wb") as output:
            try:
                process = subprocess.Popen(  # noqa: S603  # the stack's own commands
                    argv,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise StackError(f"{name} cannot be started: {error}") from error
        leader = Leader(name, process.pid, process_key(process.pid))
        self._running[name] = process, leader
        self._keep_record()

    def wait(self, name: str, timeout_s: float) -> None:
        """Wait for a process that ends by itself.

        Raises:
            StackError: It failed, did not end in time, or another one died.
        """
        process, leader = self._running.pop(name)
        try:
            deadline = time.monotonic() + timeout_s
            while process.poll() is None:
                self.pause(_POLL_S)
                if time.monotonic() > deadline:
                    raise StackError(f"{name} has not ended after {timeout_s:.0f} s; {self._tail(name)}")
            if process.returncode != 0:
                raise StackError(f"{name} failed with status {process.returncode}; {self._tail(name)}")
        finally:
            end([leader], self._grace_s)
            process.wait()
            self._keep_record()

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to stop."""
        return not self._running

    def pause(self, seconds: float) -> None:
        """Wait, while all of them live and nobody wants them to stop; see `check`."""
        self._stop_asked.wait(seconds)
        self.check()

    def check(self) -> None:
        """Make sure that all of them live.

        Raises:
            StopAskedError: They shall stop.
            StackError: One died; the message has the end of its log.
        """
        if self._stop_asked.is_set():
            raise StopAskedError("stopped")
        for name, (process, _) in self._running.items():
            if process.poll() is not None:
                raise StackError(f"{name} died with status {process.returncode}; {self._tail(name)}")

    def check_listens(self, name: str, port: int) -> bool:
        """Return whether a process, or one that it has started, listens on a port; False while nothing does.

        Raises:
            StackError: Another program listens there: what is sent to the port is sent to a stranger.
        """
        is_taken = _is_taken(port)
        members = self._running[name][1].members() if name in self._running else []
        if any(port in _ports_of(member) for member in members):
            return True
        if is_taken:
            raise StackError(
                f"port {port} on {HOST} was free when it was chosen for {name}, and is taken now by "
                f"{_listener(port)}; stop that program, or start this again: another port is chosen then"
            )
        return False

    def wait_until_listens(self, name: str, port: int, timeout_s: float) -> None:
        """Wait until a process listens on its port, while all of them live.

        Raises:
            StackError: Another program listens there, or nothing does in time; see `check`.
        """
        deadline = time.monotonic() + timeout_s
        while not self.check_listens(name, port):
            if time.monotonic() > deadline:
                raise StackError(f"{name} does not listen on port {port} after {timeout_s:.0f} s; {self._tail(name)}")
            self.pause(_LISTEN_POLL_S)

    def stop(self) -> None:
        """Stop all of them, and whatever they started. Doing it twice does no harm."""
        end([leader for _, leader in self._running.values()], self._grace_s)
        for process, _ in self._running.values():
            process.wait()
        self._running.clear()
        self._record.unlink(missing_ok=True)

    def log_path(self, name: str) -> Path:
        """Return where the process writes."""
        return self._logs / f"{name}.log"

    def _tail(self, name: str) -> str:
        path = self.log_path(name)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join([f"the end of {path}:", *(f"  {line}" for line in lines)])

    def _keep_record(self) -> None:
        temporary = self._record.with_suffix(".tmp")
        temporary.write_text(json.dumps([asdict(leader) for _, leader in self._running.values()]), encoding="utf-8")
        temporary.replace(self._record)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(_CONNECT_LIMIT_S)
        return probe.connect_ex((HOST, port)) == 0


def _ports_of(process: psutil.Process) -> set[int]:
    with suppress(psutil.Error):
        return {one.laddr.port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
    return set()


def _listener(port: int) -> str:
    """Return the program that listens on a port, as far as we may know."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if port in _ports_of(process):
                return f"another program ({process.name()}, process {process.pid})"
    return "another program"


def end(leaders: Iterable[Leader], grace_s: float) -> None:
    """End every process of these sessions: asked first, killed after `grace_s`."""
    leaders = list(leaders)
    for leader in leaders:
        leader.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(leader.members() for leader in leaders):
        if time.monotonic() > deadline:
            for leader in leaders:
                leader.signal(signal.SIGKILL)
        time.sleep(_POLL_S)
