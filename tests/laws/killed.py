"""A child process that ingests a partition and is killed with SIGKILL at a step of it."""

from __future__ import annotations

import os
from typing import Any

from etl import ingest, stores
from etl.archive import Archive
from etl.extract import RawPartition
from etl.feeds_file import load_settings
from etl.warehouse import Load
from tests.killing import dying, run_in_child

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


def ingest_and_die(step: str, partition: stores.Partition) -> int | None:
    """Ingest in a child process that dies at `step`; return its exit code, negative for a signal."""
    settings = {name: value for name, value in os.environ.items() if name.startswith("CHANDLER_")}
    return run_in_child(_ingest, (step, partition, settings), ["etl.ingest", "tests.laws.killed"])


def _ingest(step: str, partition: stores.Partition, settings: dict[str, str]) -> None:
    os.environ.update(settings)
    owner, name, call, when = STEPS[step]
    setattr(owner, name, dying(getattr(owner, name), call, when))
    with stores.open_stores(load_settings()) as opened:
        ingest.ingest(opened, partition, "killed")
