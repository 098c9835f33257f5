"""Benchmarks, which no test runs, import what is there still."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import REPOSITORY


def test_every_benchmark_can_be_imported() -> None:
    """All of them are, before the name of the wanted one is looked at."""
    command = [sys.executable, "-m", "bench", "none"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.stderr.startswith("'none' is no benchmark; one of ingest, "), ended.stderr
