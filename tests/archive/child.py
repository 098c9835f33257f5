"""Child processes that meet what a test process cannot: death, a limit on what they may write, another user's rights.

Children are forked from one server process that has imported everything, so that each takes no time to begin.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

import etl.files
from etl.archive import Archive
from etl.archive.root import Root
from etl.errors import ChandlerError
from etl.series import TimeRange
from tests.conftest import BTC

NOBODY = 65534

# Where a write or a conversion is when its process dies: the owner, its function, before or after it.
DEATHS: dict[str, tuple[Any, str, str]] = {
    "before the temporary file": (etl.files, "_opened", "before"),
    "after the temporary file is opened": (etl.files, "_opened", "after"),
    "before the temporary file is on disk": (os, "fsync", "before"),
    "before the file is replaced": (Path, "replace", "before"),
    "after the file is replaced": (Path, "replace", "after"),
    "before the fallback is removed": (Root, "remove", "before"),
    "after the fallback is removed": (Root, "remove", "after"),
}


def in_child(work: Callable[..., str], *args: Any) -> tuple[int | None, str]:
    """Do `work` in a child process; return its exit code, negative for a signal, and what it returned."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["etl.ingest", "tests.archive.child", "tests.laws.killed"])
    answers, mine = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(mine, work, args))
    child.start()
    mine.close()
    try:
        answer: str = answers.recv()
    except EOFError:
        answer = ""
    child.join()
    return child.exitcode, answer


def _answer(pipe: Any, work: Callable[..., str], args: tuple[Any, ...]) -> None:
    pipe.send(work(*args))


def write(first: str, second: str, span: TimeRange, candles: pa.Table) -> str:
    """Write candles; return the fallback's path, or the error's message."""
    try:
        return "; ".join(Archive(first, Path(second)).write(BTC, span, candles).fallbacks)
    except ChandlerError as error:
        return error.message


def write_little(limit: int, *args: Any) -> str:
    """Write where no file may have more than `limit` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return write(*args)


def write_as_nobody(*args: Any) -> str:
    """Write without rights."""
    import pydoc  # noqa: F401  # pyarrow imports it on the way, and Python itself may lie where nobody may read

    import pyarrow.compute  # noqa: F401  # likewise

    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    return write(*args)


def write_and_die(death: str, *args: Any) -> str:
    """Write, and die on the way."""
    _arm(death)
    return write(*args)


def convert_and_die(death: str, first: str, second: str) -> str:
    """Convert all fallbacks, and die on the way."""
    _arm(death)
    return convert(first, second)


def convert(first: str, second: str) -> str:
    """Convert all fallbacks."""
    archive = Archive(first, Path(second))
    for fallback in archive.fallbacks():
        archive.convert(fallback)
    return ""


def _arm(death: str) -> None:
    owner, name, when = DEATHS[death]
    original = getattr(owner, name)

    def die(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, die)
