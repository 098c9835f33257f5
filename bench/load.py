"""Speed of loading five million candles into the warehouse, and of other ways into the same table.

Run as `python -m bench load`. Everything goes into the real table with its primary key and its checks, which is emptied
between the ways; the server is the embedded one, or the one of --database. Ours is the whole transaction of a load, a
month of a series each, two side by side as `chandler ingest` has them: the series held, what is stored read and
compared, the new ones copied in, and checkpoint, journal and quality written; all but the archive. The limit is one
server-side COPY of all the rows from a binary file, which accounts for nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql
from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import make_url

from bench.other_loads import (
    MONTH,
    START_MS,
    copy_one,
    executemany_upsert,
    made_up,
    partitions,
    server_side_copy,
    staging_upsert,
    to_sql,
    upsert_one,
)
from etl.pipeline import LOADERS
from etl.schema import from_columns, to_columns
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.timeframe import Timeframe
from etl.warehouse import Asking, Lookback, Warehouse, begin_load, merge, open_warehouse
from etl.warehouse.embedded import embedded_postgres


def load(warehouse: Warehouse, name: str, span: TimeRange, candles: pa.Table) -> None:
    """Load one partition, all but the archive."""
    series, lookback = Series.parse(f"bench:{name}/USDT:1m"), Lookback(Timeframe.M1, 0, 0)
    with begin_load(warehouse, series, span, "bench", lookback) as under_way:
        asking = Asking(datetime.now(UTC), timedelta(days=1), "bench")
        merged = merge(under_way.stored, candles)
        under_way.write(merged, absent=(), refused=(), asking=asking, archive_files=("bench.parquet",), flagging="")


def ours(url: str, rows: int, changed: float = 0.0, loaders: int = LOADERS) -> dict[str, float]:
    """Load in a process of its own; return seconds, without those that it takes to make the candles up, and memory."""
    facts = {"--child": url, "--rows": rows, "--changed": changed, "--loaders": loaders}
    command = [sys.executable, "-m", "bench.load", *(str(word) for fact in facts.items() for word in fact)]
    printed: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return printed


def child(url: str, rows: int, changed: float, at_once: int) -> None:
    """Load, and print how long it took and how much memory."""
    random = np.random.default_rng(9)
    spent = 0.0
    with open_warehouse(Settings(warehouse_url=url)) as warehouse, ThreadPoolExecutor(at_once) as loaders:
        before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        source = partitions(rows)
        while batch := [part for _, part in zip(range(8), source, strict=False)]:
            if changed:
                batch = [(one, span, with_changes(candles, changed, random)) for one, span, candles in batch]
            begun = time.perf_counter()
            list(loaders.map(lambda part: load(warehouse, f"S{part[0]}", part[1], part[2]), batch))
            spent += time.perf_counter() - begun
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"s": spent, "peak_mb": peak_mb, "before_mb": before_mb}))


def with_changes(candles: pa.Table, share: float, random: np.random.Generator) -> pa.Table:
    """Return the candles with another volume in some of them."""
    columns = to_columns(candles)
    is_other = random.random(candles.num_rows) < share
    return from_columns({**columns, "volume": np.where(is_other, columns["volume"] + 1, columns["volume"])})


def increments(url: str, load_one: Callable[[Warehouse, int, TimeRange, pa.Table], None], at_once: int) -> float:
    """Load 500 candles of each of 100 series, again and again; return the ms that each took after the first round."""
    rounds, market = 6, [made_up(1000 + one, 0, 500 * 6)[1] for one in range(100)]
    with open_warehouse(Settings(warehouse_url=url)) as warehouse, ThreadPoolExecutor(at_once) as loaders:
        begun = time.perf_counter()
        for number in range(rounds):
            if number == 1:
                begun = time.perf_counter()
            first, end = (START_MS + 60_000 * 500 * (number + more) for more in (0, 1))
            span = TimeRange.from_ms(first, end)
            parts = enumerate(candles.slice(500 * number, 500) for candles in market)
            list(loaders.map(lambda part, span=span: load_one(warehouse, part[0], span, part[1]), parts))
        return 1000 * (time.perf_counter() - begun) / ((rounds - 1) * len(market))


def size_mb(url: str) -> float:
    """Return what the table, its chunks and indexes take."""
    with psycopg.connect(url, autocommit=True) as connection:
        is_hyper = connection.execute("SELECT to_regclass('timescaledb_information.hypertables')").fetchone()
        size = "hypertable_size('candles')" if is_hyper and is_hyper[0] else "pg_total_relation_size('candles')"
        found = connection.execute(sql.SQL("SELECT {}").format(sql.SQL(size))).fetchone()  # type: ignore[arg-type]
    return float(found[0]) / 1e6 if found else 0.0


def empty(url: str) -> None:
    """Leave nothing, so that each way finds the same."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE candles, candle_revisions, checkpoints, loads, quality, absences, quarantine")
        connection.execute("CHECKPOINT")


def compress(url: str) -> float:
    """Compress every chunk; return how long that took."""
    begun = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT compress_chunk(chunk, if_not_compressed => true) FROM show_chunks('candles') chunk")
        connection.execute("CHECKPOINT")
    return time.perf_counter() - begun


def can_compress(url: str) -> bool:
    """Return whether TimescaleDB is there, with what it does not do under the Apache licence."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT current_setting('timescaledb.license', true)").fetchone()
    return bool(found and found[0] == "timescale")


@contextmanager
def database(address: str | None) -> Iterator[str]:
    """Yield a database of our own with the warehouse's tables: embedded, or on the server at `address`."""
    with tempfile.TemporaryDirectory(prefix="chandler-bench-") as folder:
        if address is None:
            with embedded_postgres(Path(folder) / "postgres", "warehouse") as url:
                yield from _migrated(url)
            return
        name = f"bench_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            try:
                yield from _migrated(make_url(address).set(database=name).render_as_string(hide_password=False))
            finally:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _migrated(url: str) -> Iterator[str]:
    with open_warehouse(Settings(warehouse_url=url), creates=True):
        pass
    yield url


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--database", help="a server's address, as a superuser; the embedded one without")
    parser.add_argument("--quick", action="store_true", help="leave out the ways that take minutes")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--loaders", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--changed", type=float, default=0.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.rows, arguments.changed, arguments.loaders)
        return
    rows = arguments.rows // MONTH * MONTH
    with database(arguments.database) as url:
        _compare(url, rows, arguments.runs, is_quick=arguments.quick)
        _increments(url)
        if can_compress(url):
            _compressed(url, rows)


def _compare(url: str, rows: int, runs: int, *, is_quick: bool) -> None:
    ways: dict[str, Callable[[], float]] = {
        "server-side COPY, the limit": lambda: server_side_copy(url, rows),
        "ours, new candles": lambda: ours(url, rows)["s"],
        "one load at a time, new candles": lambda: ours(url, rows, loaders=1)["s"],
    }
    slow: dict[str, Callable[[], float]] = {
        "staging, ON CONFLICT DO UPDATE": lambda: staging_upsert(url, rows),
        "executemany upsert": lambda: executemany_upsert(url, rows),
        "pandas.to_sql": lambda: to_sql(url, rows),
    }
    spent: dict[str, list[float]] = {}
    sizes: dict[str, tuple[float, float]] = {}
    memory = io.StringIO()
    for run in range(runs):
        for name, way in (ways if run or is_quick else ways | slow).items():
            empty(url)
            spent.setdefault(name, []).append(way())
            before = size_mb(url)
            if name.startswith(("ours", "staging")):
                again = f"{name.split(',')[0]}, the same again"
                figures = ours(url, rows) if name.startswith("ours") else {"s": way()}
                spent.setdefault(again, []).append(figures["s"])
                sizes[again] = (before, size_mb(url))
                if "peak_mb" in figures:
                    memory.write(f"{figures['peak_mb']:.0f} MB at most, {figures['before_mb']:.0f} at rest; ")
                    one = ours(url, rows, 0.01)["s"]
                    spent.setdefault("ours, one in a hundred changed", []).append(one)
    limit = statistics.median(spent["server-side COPY, the limit"])
    table = Table(title=f"{rows:,} candles; medians of {runs} runs, of one for the slow ways")
    for column in ("", "s", "candles/s", "of the limit", "table before and after, MB"):
        table.add_column(column, justify="right" if column else "left")
    for name, each in spent.items():
        median = statistics.median(each)
        size = "{:,.0f}  {:,.0f}".format(*sizes[name]) if name in sizes else ""
        table.add_row(name, f"{median:.1f}", f"{rows / median:,.0f}", f"{limit / median:.2f}", size)
    Console(width=120).print(table)
    print(f"memory of ours: {memory.getvalue()}")


def _increments(url: str) -> None:
    def ours_one(warehouse: Warehouse, one: int, span: TimeRange, candles: pa.Table) -> None:
        load(warehouse, f"I{one}", span, candles)

    table = Table(title="500 candles each of 100 series, in turn; ms each, medians of 5 runs")
    for column in ("", "one at a time", f"{LOADERS} side by side"):
        table.add_column(column, justify="right" if column else "left")
    ways = {"ours": ours_one, "COPY and commit": copy_one, "staging, ON CONFLICT DO UPDATE": upsert_one}
    spent: dict[tuple[str, int], list[float]] = {}
    for _ in range(5):
        for name, way in ways.items():
            for at_once in (1, LOADERS):
                empty(url)
                spent.setdefault((name, at_once), []).append(increments(url, way, at_once))
    for name in ways:
        table.add_row(name, *(f"{statistics.median(spent[name, at_once]):.1f}" for at_once in (1, LOADERS)))
    Console(width=120).print(table)


def _compressed(url: str, rows: int) -> None:
    empty(url)
    first, rest = rows // 2 // MONTH * MONTH, rows
    ours(url, first)
    plain = size_mb(url)
    took = compress(url)
    print(f"compressed: {plain:,.0f} MB to {size_mb(url):,.0f} MB in {took:.1f} s ({first / took:,.0f} candles/s)")
    for name, count, changed in (
        ("the same again", first, 0.0),
        ("one in a hundred changed", first, 0.01),
    ):
        compress(url)
        spent = ours(url, count, changed)["s"]
        print(f"into compressed chunks, {name}: {count / spent:,.0f} candles/s")
    compress(url)
    spent = ours(url, rest)["s"]
    print(f"half of them there and compressed, half new: {rest / spent:,.0f} candles/s")


if __name__ == "__main__":
    main()
