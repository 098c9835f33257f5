"""Speed of fetching pages: at Binance's own limit, and with the limits off beside the loop that people write.

Run as `python -m bench.fetch`; `--limit` alone takes twelve minutes, `--open` alone a minute or two. The replay
exchange runs in this process, where its counts can be read; what is measured runs in processes of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from etl.replay import MadeUpMarket, ReplayServer

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "LTC/USDT")
YEARS = datetime(2020, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
HALF = datetime(2025, 7, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = 6000
LATENCY_MS = 20.0
CHANDLER = str(Path(sys.executable).with_name("chandler"))
out = Console(width=120)


def fetch_child(begin: datetime, end: datetime, symbols: list[str]) -> None:
    """Fetch, and no more than that, as `chandler ingest` does; print pages, time and CPU time."""
    from etl.feeds_file import load_settings
    from etl.fetching import open_exchange
    from etl.ingest import fetch_partition
    from etl.plan import plan
    from etl.series import Series, TimeRange
    from etl.stores import open_stores

    settings = load_settings()
    with open_stores(settings) as stores:
        partitions = [
            partition
            for symbol in symbols
            for partition in plan(stores, Series.parse(f"binance:{symbol}:1m"), TimeRange(begin, end), None)
        ]

        async def run() -> None:
            waiting = iter(partitions)

            async def work() -> int:
                return sum([(await fetch_partition(stores, exchange, each)).asked for each in waiting])

            async with open_exchange("binance", settings, stores.warehouse) as exchange:
                await exchange.source.clock_ms()
                begun, cpu = time.perf_counter(), time.process_time()
                asked = sum(await asyncio.gather(*(work() for _ in range(3))))
                report(asked, begun, cpu)

        asyncio.run(run())


def report(asked: int, begun: float, cpu: float) -> None:
    """Print how many pages took how long, for the process that compares."""
    print(json.dumps({"asked": asked, "wall_s": time.perf_counter() - begun, "cpu_s": time.process_time() - cpu}))


def loop_child(url: str, begin: datetime, end: datetime, symbol: str) -> None:
    """Do what most scripts do: one page after the other."""
    import ccxt

    exchange = ccxt.binance({"enableRateLimit": False})
    exchange.urls["api"]["public"] = f"{url}/api/v3"
    exchange.has["fetchCurrencies"] = False
    exchange.options["fetchMarkets"] = {"types": ["spot"]}
    exchange.load_markets()
    since, asked = int(begin.timestamp() * 1000), 0
    begun, cpu = time.perf_counter(), time.process_time()
    while since < end.timestamp() * 1000:
        page = exchange.fetch_ohlcv(symbol, "1m", since=since, limit=1000)
        since = page[-1][0] + 60_000
        asked += 1
    report(asked, begun, cpu)


def at_the_limit(pairs: int) -> None:
    """Fetch six years of five symbols within Binance's limit, and ingest the same."""
    span = ["--start", YEARS[0].date().isoformat(), "--end", YEARS[1].date().isoformat()]
    series = [f"binance:{symbol}:1m" for symbol in SYMBOLS[:pairs]]
    ways = {
        "fetch": [sys.executable, "-m", "bench.fetch", "--child", "fetch", "--pairs", str(pairs)],
        "ingest": [CHANDLER, "ingest", *series, *span],
    }
    table = Table(title=f"{pairs} series x {(YEARS[1] - YEARS[0]).days} days of 1m at {LIMIT} weight a minute")
    for name in ("", "wall s", "requests", "429 and 418", "weight a minute, from the second to the last but one"):
        table.add_column(name)
    for name, command in ways.items():
        with ReplayServer(MadeUpMarket(symbols=SYMBOLS)) as server, home(server.url, share="1.0") as environment:
            begun = time.perf_counter()
            run(command, environment)
            wall_s = time.perf_counter() - begun
            minutes = [used for _, used in sorted(server.used_by_minute.items())][1:-1]
            shares = f"{[*minutes]}; least {min(minutes, default=0) / LIMIT:.1%}"
            refused = server.answers[429] + server.answers[418]
            table.add_row(name, f"{wall_s:.0f}", f"{sum(server.requests.values()):,}", str(refused), shares)
    out.print(table)


def with_limits_off(runs: int) -> None:
    """Fetch half a year of one symbol, with latency and without limits, in turn with the plain loop."""
    results: dict[str, list[dict[str, float]]] = {"chandler": [], "the plain loop": []}
    with ReplayServer(MadeUpMarket(), limits=False, latency_ms=LATENCY_MS) as server:
        for each in range(-1, runs):  # the first, at -1, warms the exchange up
            for name, child in (("chandler", "fetch-open"), ("the plain loop", "loop")):
                with home(server.url, share="1.0") as environment:
                    environment["CHANDLER_EXCHANGES__BINANCE__WEIGHT_LIMIT"] = "100000000"
                    command = [sys.executable, "-m", "bench.fetch", "--child", child, "--url", server.url]
                    figures = json.loads(run(command, environment).splitlines()[-1])
                    if each >= 0:
                        results[name].append(figures)
    table = Table(title=f"limits off, {LATENCY_MS:.0f} ms latency; medians of {runs} runs")
    for column in ("", "pages", "pages/s", "CPU ms a page"):
        table.add_column(column)
    rates = {}
    for name, all_figures in results.items():
        rates[name] = statistics.median(figures["asked"] / figures["wall_s"] for figures in all_figures)
        cpu_ms = statistics.median(1000 * figures["cpu_s"] / figures["asked"] for figures in all_figures)
        table.add_row(name, f"{all_figures[0]['asked']:.0f}", f"{rates[name]:.0f}", f"{cpu_ms:.2f}")
    out.print(table)
    out.print(f"{rates['chandler'] / rates['the plain loop']:.1f} times the plain loop")


@contextmanager
def home(url: str, share: str) -> Iterator[dict[str, str]]:
    """Yield an environment with a fresh home, pointed at the replay exchange."""
    with tempfile.TemporaryDirectory(prefix="chandler-bench-") as folder:
        yield os.environ | {
            "CHANDLER_HOME": folder,
            "CHANDLER_EXCHANGES__BINANCE__BASE_URL": url,
            "CHANDLER_EXCHANGES__BINANCE__SHARE": share,
        }


def run(command: list[str], environment: dict[str, str]) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", action="store_true", help="only the run at the limit")
    parser.add_argument("--open", action="store_true", help="only the run with the limits off")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=len(SYMBOLS))
    parser.add_argument("--child", choices=["fetch", "fetch-open", "loop"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child == "fetch":
        fetch_child(*YEARS, list(SYMBOLS[: arguments.pairs]))
    elif arguments.child == "fetch-open":
        fetch_child(*HALF, [SYMBOLS[0]])
    elif arguments.child == "loop":
        loop_child(arguments.url, *HALF, SYMBOLS[0])
    else:
        if not arguments.limit:
            with_limits_off(arguments.runs)
        if not arguments.open:
            at_the_limit(arguments.pairs)


if __name__ == "__main__":
    main()
