"""Duration of `chandler ingest` for 30 days of three series at 1m, and where the time goes.

Run as `python bench/ingest.py`. The replay exchange runs in a process of its own with its limits off; the embedded
PostgreSQL in another. Beside it, in the same run, the loop that people write: ccxt's fetch_ohlcv one page after the
other, then `DataFrame.to_parquet` and `DataFrame.to_sql`, which accounts for nothing and keeps six of the columns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
START, END = datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)
CHANDLER = Path(sys.executable).with_name("chandler")


@contextmanager
def replay() -> Iterator[str]:
    """Serve the made-up market from a process of its own, and yield its address."""
    command = [CHANDLER, "replay", "--port", "0", "--no-limits"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            yield next(word for word in server.stderr.readline().split() if word.startswith("http"))
        finally:
            server.terminate()


def measure(
    command: list[str], environment: dict[str, str], read: Callable[[bytes], dict[str, float]] | None = None
) -> dict[str, float]:
    """Run a command and return its wall time, its CPU time and its own peak memory.

    Args:
        read: Returns what else there is in what the command prints.
    """
    begun = time.perf_counter()
    child = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    figures = {
        "wall_s": time.perf_counter() - begun,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }
    return figures | (_steps(printed) if read is None else read(printed))


def _steps(printed: bytes) -> dict[str, float]:
    return dict(json.loads(printed)["steps"]) if printed.startswith(b'{"steps"') else {}


def steps() -> None:
    """Ingest in this process and print how long each step took."""
    from etl.feeds_file import load_settings
    from etl.ingest import clean_pages, fetch, load
    from etl.plan import plan
    from etl.series import Series, TimeRange
    from etl.stores import open_stores

    begun = time.perf_counter()
    spent = {"open": 0.0, "fetch": 0.0, "clean": 0.0, "load": 0.0}
    with open_stores(load_settings()) as stores:
        spent["open"] = time.perf_counter() - begun
        for symbol in SYMBOLS:
            for partition in plan(stores, Series.parse(f"binance:{symbol}:1m"), TimeRange(START, END), None):
                for name, step in (
                    ("fetch", lambda p=partition: fetch(stores, p)),
                    ("clean", lambda p=partition: clean_pages(stores, p)),
                    ("load", lambda p=partition: load(stores, p, "bench")),
                ):
                    begun = time.perf_counter()
                    step()
                    spent[name] += time.perf_counter() - begun
    print(json.dumps({"steps": spent}))


def plain_loop(url: str) -> None:
    """Do what most scripts do: one page after the other, then two writes."""
    import ccxt
    import pandas as pd
    from sqlalchemy import create_engine

    from etl.settings import Settings
    from etl.warehouse.embedded import embedded_postgres

    exchange = ccxt.binance({"enableRateLimit": False})
    exchange.urls["api"]["public"] = f"{url}/api/v3"
    exchange.has["fetchCurrencies"] = False
    exchange.options["fetchMarkets"] = {"types": ["spot"]}
    home = Settings().home
    with embedded_postgres(home / "postgres", "warehouse") as address:
        engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
        for symbol in SYMBOLS:
            since, rows = int(START.timestamp() * 1000), []
            while since < END.timestamp() * 1000:
                page = exchange.fetch_ohlcv(symbol, "1m", since=since, limit=1000)
                rows += page
                since = page[-1][0] + 60_000
            frame = pd.DataFrame(rows, columns=["open_time", "open", "high", "low", "close", "volume"])
            frame = frame[frame["open_time"] < END.timestamp() * 1000].drop_duplicates("open_time")
            frame["open_time"] = pd.to_datetime(frame["open_time"], unit="ms", utc=True)
            frame.to_parquet(home / f"{symbol.replace('/', '-')}.parquet")
            frame.assign(symbol=symbol).to_sql("candles_plain", engine, if_exists="append", index=False)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", choices=["steps", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child == "steps":
        steps()
    elif arguments.child == "plain":
        plain_loop(arguments.url)
    else:
        compare(arguments.runs)


def compare(runs: int) -> None:
    """Run each way in turn, several times."""
    span = ["--start", START.date().isoformat(), "--end", END.date().isoformat()]
    with replay() as url, tempfile.TemporaryDirectory(prefix="chandler-bench-") as folder:
        commands = {
            "chandler ingest": [str(CHANDLER), "ingest", *(f"binance:{symbol}:1m" for symbol in SYMBOLS), *span],
            "the same, step by step": [sys.executable, __file__, "--child", "steps"],
            "the plain loop": [sys.executable, __file__, "--child", "plain", "--url", url],
        }
        results: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for run in range(-1, runs):  # the first, at -1, warms the exchange up
            for index, (name, command) in enumerate(commands.items()):
                home = f"{folder}/{run}-{index}"
                environment = {"CHANDLER_HOME": home, "CHANDLER_EXCHANGES__BINANCE__BASE_URL": url}
                environment["CHANDLER_EXCHANGES__BINANCE__WEIGHT_LIMIT"] = "100000000"
                figures = measure(command, environment)
                if run >= 0:
                    results[name].append(figures)
    _show(results)


def _show(results: dict[str, list[dict[str, float]]]) -> None:
    candles = len(SYMBOLS) * int((END - START).total_seconds() // 60)
    table = Table(title=f"{candles:,} candles; medians of {len(results['chandler ingest'])} runs")
    for name in ("", "wall s", "candles/s", "CPU s", "peak MB", "of it: open", "fetch", "clean", "load"):
        table.add_column(name, justify="right" if name else "left")
    for name, runs in results.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        parts = [f"{median[key]:.2f}" if key in median else "" for key in ("open", "fetch", "clean", "load")]
        figures = (f"{median['wall_s']:.1f}", f"{candles / median['wall_s']:,.0f}", f"{median['cpu_s']:.1f}")
        table.add_row(name, *figures, f"{median['peak_mb']:.0f}", *parts)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
