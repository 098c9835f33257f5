"""The cost of `chandler import` for files of dense and of thin markets, and of each format.

Run as `python -m bench importing`; it takes a few minutes. Made-up candles at 1m: 65,000 of a market that prints nearly
each minute, and 46,000 of markets that print every other and every seventh, into a fresh home each; starting Python and
the embedded PostgreSQL is part of the time. A thin file has nearly as many stretches without candles as rows, each of
which is recorded and judged. Then the dense file in other formats. CPU seconds are the command's own and the server's,
from the making of its files to its end.
"""

from __future__ import annotations

import argparse
import ctypes
import gzip
import json
import os
import resource
import statistics
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from bench.ingest import CHANDLER, measure

START_S = 1_704_067_200  # 2024-01-01
MARKETS = {"dense": (65_000, 0.995), "every other minute": (46_000, 0.5), "every seventh minute": (46_000, 0.15)}
SERIES = "bitfinex:BTC/USD:1m"
out = Console(width=120)


def write_csv(path: Path, rows: int, share: float) -> int:
    """Write made-up candles. Returns how many stretches of minutes between them are empty."""
    rng = np.random.default_rng(1)
    minutes = np.flatnonzero(rng.random(int(2 * rows / share)) < share)[:rows]
    closes = 100 + np.cumsum(rng.normal(0, 0.01, rows))
    lines = ["open_time,open,high,low,close,volume"]
    for minute, close, volume in zip(minutes.tolist(), closes.tolist(), rng.exponential(5, rows).tolist(), strict=True):
        cells = (close, close + 0.05, close - 0.05, close + 0.01)
        lines.append(f"{START_S + 60 * minute},{','.join(f'{cell:.2f}' for cell in cells)},{volume:.4f}")
    path.write_text("\n".join(lines))
    return int((np.diff(minutes) > 1).sum())


def write_formats(csv: Path) -> list[Path]:
    """Write a CSV file again in the other formats."""
    table = pyarrow.csv.read_csv(csv)
    paths = [csv.with_suffix(suffix) for suffix in (".csv.gz", ".json", ".jsonl", ".parquet", ".feather")]
    arrays = [list(row.values()) for row in table.to_pylist()]
    paths[0].write_bytes(gzip.compress(csv.read_bytes()))
    paths[1].write_text(json.dumps(arrays))
    paths[2].write_text("\n".join(map(json.dumps, arrays)))
    pq.write_table(table, paths[3])
    pyarrow.feather.write_feather(table, paths[4])
    return paths


def measured(path: Path, runs: int, stretches: int = 0) -> tuple[str, ...]:
    """Return the medians of some imports of a file: seconds, CPU seconds, microseconds of it a row or empty stretch."""
    found = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="chandler-bench-") as home:
            before_s = _cpu_of_ended_s()
            command = [str(CHANDLER), "import", str(path), SERIES, "--json"]
            found.append(measure(command, {"CHANDLER_HOME": home}, lambda printed: {}))
            found[-1]["server_s"] = _cpu_of_ended_s() - before_s - found[-1]["cpu_s"]
    middle = {name: statistics.median(figures[name] for figures in found) for name in found[0]}
    rows = path.read_bytes().count(b"\n") if path.suffix == ".csv" else 0
    cost_us = f"{1e6 * (middle['cpu_s'] + middle['server_s']) / (rows + stretches):.0f}" if rows else ""
    figures = (f"{middle[name]:.1f}" for name in ("wall_s", "cpu_s", "server_s"))
    return *figures, cost_us, f"{middle['peak_mb']:.0f}"


def _adopt_orphans() -> None:
    """Let processes that outlive the command that started them be children of this one, as the server does."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER, Linux alone


def _cpu_of_ended_s() -> float:
    """Return the CPU seconds of all children, once they have ended."""
    with suppress(ChildProcessError):
        while True:
            os.wait()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Make files up, import them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--markets", action="store_true", help="the markets as CSV alone, no other format")
    arguments = parser.parse_args()
    _adopt_orphans()
    table = Table(title="chandler import")
    for name in ("", "rows", "empty stretches", "wall s", "CPU s", "server's", "us each", "peak MB"):
        table.add_column(name, justify="right" if name else "left")
    with tempfile.TemporaryDirectory(prefix="chandler-bench-") as folder:
        for name, (rows, share) in MARKETS.items():
            path = Path(folder) / f"{name.replace(' ', '-')}.csv"
            stretches = write_csv(path, rows, share)
            table.add_row(name, f"{rows:,}", f"{stretches:,}", *measured(path, arguments.runs, stretches))
        for path in write_formats(Path(folder) / "dense.csv") if not arguments.markets else ():
            table.add_row(path.name, f"{MARKETS['dense'][0]:,}", "", *measured(path, arguments.runs))
    out.print(table)


if __name__ == "__main__":
    main()
