"""Processes that tests look at and kill, whichever of them end meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import psutil


def is_alive(process: psutil.Process) -> bool:
    """Say whether it lives; one that is dead and not yet buried does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kill those that are left, in this order: the end of one may end another."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
