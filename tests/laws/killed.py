"""A child process that ingests a partition and is killed with SIGKILL at a step of it.

Children are forked from one server process that has imported everything, so that each takes no time to begin.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from etl import ingest, stores
from etl.archive import Archive
from etl.extract import RawPartition
from etl.settings import load_settings
from etl.warehouse import Load

# Where each step ends: the owner, its function, at which call of it, and whether to die before or after it.
STEPS: dict[str, tuple[Any, str, int, str]] = {
    "after a page": (RawPartition, "write_page", 2, "after"),
    "after the last page, before cleaning": (ingest, "clean_pages", 1, "before"),
    "after cleaning": (ingest, "write_handover", 1, "after"),
    "inside the transaction, before the archive": (Archive, "write", 1, "before"),
    "after the archive file": (Archive, "write", 1, "after"),
    "inside the transaction, after COPY": (Load, "_quarantine", 1, "before"),
    "inside the transaction, after the checkpoint": (Load, "_checkpoint", 1, "after"),
    "after commit": (RawPartition, "fold", 1, "before"),
    "after folding": (RawPartition, "fold", 1, "after"),
}


def _dying(function: Callable[..., Any], call: int, when: str) -> Callable[..., Any]:
    calls = itertools.count(1)

    def die_in_time(*args: Any, **kwargs: Any) -> Any:
        mine = next(calls)  # pages are written by several threads
        if mine == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if mine == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return die_in_time


def ingest_and_die(step: str, partition: stores.Partition) -> int | None:
    """Ingest in a child process that dies at `step`; return its exit code, negative for a signal."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["etl.ingest", "tests.laws.killed"])
    settings = {name: value for name, value in os.environ.items() if name.startswith("CHANDLER_")}
    child = context.Process(target=_ingest, args=(step, partition, settings))
    child.start()
    child.join()
    return child.exitcode


def _ingest(step: str, partition: stores.Partition, settings: dict[str, str]) -> None:
    os.environ.update(settings)
    owner, name, call, when = STEPS[step]
    setattr(owner, name, _dying(getattr(owner, name), call, when))
    with stores.open_stores(load_settings()) as opened:
        ingest.ingest(opened, partition, "killed")
