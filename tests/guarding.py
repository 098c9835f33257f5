"""A guard of the processes that tests start: none of them outlives the tests, however these end.

Two processes stand between the caller and the tests. The first waits. The second, the guard, is the subreaper of all
that the tests start: a process that loses its parent becomes the guard's child, in whichever session it is. Once the
tests have ended or the first process is gone, the guard ends whatever is left.

As a program it is put before Python's own arguments: `python tests/guarding.py -m pytest`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from typing import NoReturn

import psutil

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SI_USER = 0
_STOP = {signal.SIGTERM, signal.SIGHUP}
_HEARD = {*_STOP, signal.SIGINT, signal.SIGCHLD}
_SETTLE_S, _GRACE_S, _POLL_S = 1.0, 10.0, 0.02


def stand_guard() -> None:
    """Return in a process that is guarded, while the caller's process waits for it and ends with its status.

    To be called before there is a second thread. Does nothing on systems other than Linux.
    """
    if sys.platform != "linux":
        return
    sys.stdout.flush()
    sys.stderr.flush()
    caller = os.getpid()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    if guard := os.fork():
        _wait(guard)
    _die_with(caller, signal.SIGTERM)
    _call_prctl(_PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    if tests := os.fork():
        _guard(tests)
    _die_with(guard, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _wait(guard: int) -> NoReturn:
    """Wait for the guard; pass on what it shall hear."""
    while True:
        number = _next_signal()
        if number != signal.SIGCHLD:
            os.kill(guard, number)
            continue
        pid, status = os.waitpid(guard, os.WNOHANG)
        if pid:
            os._exit(_to_exit_code(status))


def _guard(tests: int) -> NoReturn:
    """Wait for the tests, or for the order to stop; then end all that is left."""
    statuses: dict[int, int] = {}
    while tests not in statuses and (number := _next_signal()) not in _STOP:
        if number == signal.SIGCHLD:
            _reap(statuses)
        else:
            os.kill(tests, number)
    if tests in statuses:
        _wait_until_none(statuses, _SETTLE_S)
    left = [f"{process.name()} ({process.pid})" for process in _living()]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in _living():
            with suppress(psutil.Error):
                process.send_signal(number)
        _wait_until_none(statuses, _GRACE_S)
    if left and tests in statuses:
        sys.stderr.write(f"ended what the tests left running: {', '.join(left)}\n")
        sys.stderr.flush()
    os._exit(_to_exit_code(statuses.get(tests, signal.SIGKILL)))


def _next_signal() -> int:
    """Return the next signal that is to be acted upon. Ctrl-C is not: the tests hear it as we do."""
    while True:
        told = signal.sigwaitinfo(_HEARD)
        if told.si_signo != signal.SIGINT or told.si_code == _SI_USER:
            return told.si_signo


def _living() -> list[psutil.Process]:
    """Return all descendants."""
    living = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
    return living


def _wait_until_none(statuses: dict[int, int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while _reap(statuses) or _living():
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_S)


def _reap(statuses: dict[int, int]) -> bool:
    """Note the status of each child that has ended; return whether any has."""
    count = len(statuses)
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            statuses[ended[0]] = ended[1]
    return len(statuses) > count


def _to_exit_code(status: int) -> int:
    """Return the exit code for a status, as shells have it for a signal."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _die_with(parent: int, number: signal.Signals) -> None:
    """Receive a signal once the parent is gone."""
    _call_prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)


def _call_prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    stand_guard()
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])  # noqa: S606  # it is what is guarded
