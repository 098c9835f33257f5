"""Names of processes that no later process gets, though it may get the number of an earlier one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import psutil

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def process_key(pid: int) -> str:
    """Return a name of a process that runs, the same as long as it runs.

    psutil's hash is of the number and of how long after its boot the system has started the process. The time of day
    at which it has started would not do: the system counts that back from its clock, and it changes with the clock.

    Raises:
        psutil.NoSuchProcess: None of that number runs.
    """
    return f"{hash(psutil.Process(pid)):x} {_boot()}".rstrip()


@cache
def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:  # Linux alone has it
        return ""
