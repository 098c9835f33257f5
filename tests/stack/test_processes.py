from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stack.errors import StackError, StopAskedError
from stack.home import HOST, choose_port
from stack.processes import Leader, Processes
from tests.clocks import set_clock
from tests.living import is_alive, kill_all
from tests.patience import PATIENCE_S

# A parent whose child has a process group of its own, as Airflow's tasks have; both do not want to die.
STUBBORN_FAMILY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
open(sys.argv[1] + str(os.getpid()), "w").close()
time.sleep(600)
"""
SUPERVISOR = """
import os, sys, time
from pathlib import Path
from stack.processes import Processes
from tests.clocks import set_clock
processes = Processes(Path(sys.argv[1]) / "record.json", Path(sys.argv[1]))
processes.start("family", [sys.executable, "-c", sys.argv[2], sys.argv[1] + "/pid-"], os.environ)
time.sleep(600)
"""

LISTENER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Callable[[], list[psutil.Process]]]:
    """Return a function that waits for the two of STUBBORN_FAMILY; whatever a test leaves of them is killed."""
    found: list[psutil.Process] = []

    def wait() -> list[psutil.Process]:
        deadline = time.monotonic() + 60
        while len(paths := list(tmp_path.glob("pid-*"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        found.extend(psutil.Process(int(path.name.removeprefix("pid-"))) for path in paths)
        return found

    yield wait
    kill_all(found)


def start_family(tmp_path: Path, grace_s: float = 0.3) -> Processes:
    """Start STUBBORN_FAMILY."""
    processes = Processes(tmp_path / "record.json", tmp_path, grace_s=grace_s)
    processes.start("family", [sys.executable, "-c", STUBBORN_FAMILY, f"{tmp_path}/pid-"], os.environ)
    return processes


def test_stopping_leaves_nobody(tmp_path: Path, family: Callable[[], list[psutil.Process]]) -> None:
    """Grandchildren in groups of their own, and those who ignore being asked, are gone when `stop` returns."""
    processes = start_family(tmp_path)
    members = family()
    processes.stop()
    assert not any(map(is_alive, members))
    assert not (tmp_path / "record.json").exists()


def test_a_clock_that_is_set_hides_nobody(
    tmp_path: Path, family: Callable[[], list[psutil.Process]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock may be set while a stack runs, be it by a second; what it has started stays its own."""
    processes = start_family(tmp_path)
    members = family()
    set_clock(monkeypatch, 1.0)
    processes.stop()
    assert not any(map(is_alive, members))


def test_orphans_of_a_dead_leader_are_stopped_too(tmp_path: Path, family: Callable[[], list[psutil.Process]]) -> None:
    """A part that died by itself may have left children; they go as well."""
    processes = start_family(tmp_path)
    members = family()
    leader = next(process for process in members if process.pid == os.getsid(process.pid))
    leader.kill()
    with pytest.raises(StackError, match="family died with status -9"):
        while True:
            processes.pause(0.02)
    processes.stop()
    assert not any(map(is_alive, members))


def test_a_killed_supervisor_s_leftovers_are_stopped(
    tmp_path: Path, family: Callable[[], list[psutil.Process]]
) -> None:
    """After kill -9 the next supervisor finds who is left, ends them, and says so; the second time nobody is."""
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path), STUBBORN_FAMILY])
    members = family()
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    assert all(map(is_alive, members))
    following = Processes(tmp_path / "record.json", tmp_path, grace_s=0.3)
    assert following.stop_leftovers() == ["family"]
    assert not any(map(is_alive, members))
    assert following.stop_leftovers() == []


def test_one_that_ends_before_its_signal_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of one may end another, between the look at a session and the signal: the rest are signalled still."""
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        gone = psutil.Process(ended.pid)
    processes = Processes(tmp_path / "record.json", tmp_path)
    processes.start("part", [sys.executable, "-c", "import time; time.sleep(600)"], os.environ)
    process, leader = processes._running["part"]
    looked = Leader.members
    monkeypatch.setattr(Leader, "members", lambda of: [gone, *looked(of)])
    leader.signal(signal.SIGKILL)
    assert process.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_stranger_with_a_recorded_number_is_left_alone(tmp_path: Path) -> None:
    """A process that was given the number of a dead one of ours is none of ours."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as stranger:
        (tmp_path / "record.json").write_text(f'[{{"name": "ours", "pid": {stranger.pid}, "key": "another"}}]')
        assert Processes(tmp_path / "record.json", tmp_path).stop_leftovers() == []
        assert stranger.poll() is None
        stranger.kill()


def test_a_death_is_told_with_its_last_words(tmp_path: Path) -> None:
    """The message has the end of a dead part's log and where that is."""
    processes = Processes(tmp_path / "record.json", tmp_path)
    processes.start("part", [sys.executable, "-c", "print('port 1 is taken'); raise SystemExit(3)"], os.environ)
    with pytest.raises(StackError, match=r"(?s)part failed with status 3; the end of .*part\.log:.*port 1 is taken"):
        processes.wait("part", timeout_s=60)
    assert processes.is_empty


def test_a_wait_ends_when_somebody_asks_to_stop(tmp_path: Path) -> None:
    """Ctrl-C does not wait for a part that takes its time."""
    asked = threading.Event()
    processes = Processes(tmp_path / "record.json", tmp_path, asked, grace_s=0.3)
    processes.start("slow", [sys.executable, "-c", "import time; time.sleep(600)"], os.environ)
    asked.set()
    with pytest.raises(StopAskedError):
        processes.wait("slow", timeout_s=600)
    assert processes.is_empty


def test_a_port_that_another_program_took_is_told_at_once(tmp_path: Path) -> None:
    """It was free when it was chosen; what listens there now is named, and is not taken for the part that was to."""
    with socket.socket() as stranger:
        stranger.bind((HOST, 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        processes = Processes(tmp_path / "record.json", tmp_path)
        processes.start("api-server", [sys.executable, "-c", "import time; time.sleep(600)"], os.environ)
        try:
            told = rf"port {port} on .* chosen for api-server, and is taken now by .*process {os.getpid()}\)"
            with pytest.raises(StackError, match=rf"{told}; stop that program, or start this again: another port"):
                processes.wait_until_listens("api-server", port, PATIENCE_S)
        finally:
            processes.stop()


def test_a_part_that_listens_on_its_port_is_waited_for(tmp_path: Path) -> None:
    """It may be a process that the part has started, as servers have workers; before that nothing is there."""
    port = choose_port(0)
    processes = Processes(tmp_path / "record.json", tmp_path)
    forked = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LISTENER!r}, sys.argv[1]])"
    processes.start("replay", [sys.executable, "-c", forked, str(port)], os.environ)
    try:
        processes.wait_until_listens("replay", port, PATIENCE_S)
        assert processes.check_listens("replay", port)
    finally:
        processes.stop()
    assert not processes.check_listens("replay", port)
