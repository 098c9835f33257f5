"""The cost of `chandler import` for files of dense and of thin markets, and of each format.

Run as `python -m bench importing`; it takes a minute. Made-up candles at 1m: 65,000 of a market that prints nearly each
minute, and 46,000 of markets that print every other and every seventh, into a fresh home each; starting Python and the
embedded PostgreSQL is part of the time. A thin file has nearly as many stretches without candles as rows, each of which
is recorded and judged. Then the dense file in other formats.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
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


def measured(path: Path, runs: int) -> tuple[str, ...]:
    """Return the medians of some imports of a file: seconds, CPU seconds of the command, and its peak memory."""
    found = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="chandler-bench-") as home:
            command = [str(CHANDLER), "import", str(path), SERIES, "--json"]
            found.append(measure(command, {"CHANDLER_HOME": home}, lambda printed: {}))
    middle = {name: statistics.median(figures[name] for figures in found) for name in found[0]}
    return f"{middle['wall_s']:.1f}", f"{middle['cpu_s']:.1f}", f"{middle['peak_mb']:.0f}"


def main() -> None:
    """Make files up, import them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    table = Table(title="chandler import")
    for name in ("", "rows", "empty stretches", "wall s", "CPU s", "peak MB"):
        table.add_column(name, justify="right" if name else "left")
    with tempfile.TemporaryDirectory(prefix="chandler-bench-") as folder:
        for name, (rows, share) in MARKETS.items():
            path = Path(folder) / f"{name.replace(' ', '-')}.csv"
            stretches = write_csv(path, rows, share)
            table.add_row(name, f"{rows:,}", f"{stretches:,}", *measured(path, arguments.runs))
        for path in write_formats(Path(folder) / "dense.csv"):
            table.add_row(path.name, f"{MARKETS['dense'][0]:,}", "", *measured(path, arguments.runs))
    out.print(table)


if __name__ == "__main__":
    main()
