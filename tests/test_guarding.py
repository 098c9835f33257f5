from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests import guarding
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guard is there on Linux alone")

DAEMON = """
import os, subprocess, sys, time
from pathlib import Path

PARENT = "import subprocess as s; print(s.Popen(['sleep', '3600'], start_new_session=True, stdout=s.DEVNULL).pid)"

def start_daemon(folder):
    made = subprocess.run([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, check=True)
    path = Path(folder) / "pids.tmp"
    path.write_text(f"{os.getpid()} {made.stdout}")
    path.rename(Path(folder) / "pids")
"""
TESTS = """
def test_that_waits():
    start_daemon({folder!r})
    time.sleep(3600)
"""


@contextmanager
def _started(argv: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*argv, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for(process: subprocess.Popen[str], folder: Path) -> tuple[psutil.Process, psutil.Process]:
    """Return the process that runs the tests, and the daemon that it has started."""
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / "pids").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    tests, daemon = (psutil.Process(int(pid)) for pid in (folder / "pids").read_text().split())
    assert daemon.name() == "sleep"
    return tests, daemon


def _wait_until_gone(*processes: psutil.Process) -> None:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == []


@pytest.mark.parametrize(
    ("number", "is_of_tests", "code"),
    [
        (signal.SIGINT, False, 128 + signal.SIGINT),
        (signal.SIGTERM, False, 128 + signal.SIGTERM),
        (signal.SIGKILL, False, -signal.SIGKILL),
        (signal.SIGTERM, True, 128 + signal.SIGTERM),
        (signal.SIGKILL, True, 128 + signal.SIGKILL),
    ],
)
def test_a_daemon_ends_with_what_started_it(
    tmp_path: Path, number: signal.Signals, is_of_tests: bool, code: int
) -> None:
    """A process in a session of its own, whose parent is gone, ends whichever process of the tests a signal ends."""
    argv = [sys.executable, guarding.__file__, "-c", f"{DAEMON}\nstart_daemon(sys.argv[1])\ntime.sleep(3600)"]
    with _started(argv, tmp_path) as process:
        tests, daemon = _wait_for(process, tmp_path)
        os.kill(tests.pid if is_of_tests else process.pid, number)
        assert process.wait(PATIENCE_S) == code
    _wait_until_gone(tests, daemon)


def test_what_tests_leave_is_ended_and_told(tmp_path: Path) -> None:
    """The exit code remains that of the tests."""
    code = f"{DAEMON}\nstart_daemon(sys.argv[1])\nsys.exit(3)"
    argv = [sys.executable, guarding.__file__, "-c", code, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    daemon = (tmp_path / "pids").read_text().split()[1]
    assert done.returncode == 3
    assert done.stderr == f"ended what the tests left running: sleep ({daemon})\n"
    assert not psutil.pid_exists(int(daemon))


@pytest.mark.parametrize(("workers", "number"), [(0, signal.SIGINT), (1, signal.SIGTERM)])
def test_an_interrupted_suite_leaves_nothing(tmp_path: Path, workers: int, number: signal.Signals) -> None:
    """Tests run under the guard, those of pytest-xdist too."""
    (tmp_path / "test_it.py").write_text(DAEMON + TESTS.format(folder=str(tmp_path)))
    argv = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-n", str(workers), f"--rootdir={tmp_path}"]
    with _started(argv, tmp_path) as process:
        tests, daemon = _wait_for(process, tmp_path)
        assert tests.pid != process.pid
        process.send_signal(number)
        process.wait(PATIENCE_S)
    _wait_until_gone(tests, daemon)


def test_what_a_killed_worker_started_ends(tmp_path: Path) -> None:
    """Each worker has a guard; the suite says which test it was at."""
    (tmp_path / "test_it.py").write_text(DAEMON + TESTS.format(folder=str(tmp_path)))
    argv = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-n", "1", "--max-worker-restart=0"]
    argv += [f"--rootdir={tmp_path}"]
    with _started(argv, tmp_path) as process:
        tests, daemon = _wait_for(process, tmp_path)
        tests.kill()
        printed, _ = process.communicate(timeout=PATIENCE_S)
    assert "crashed while running 'test_it.py::test_that_waits'" in printed
    _wait_until_gone(tests, daemon)
