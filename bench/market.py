"""Waiting time of the market page for the warehouse: 50 series x 2 years of `1m`, made without any fetch.

Run as `python -m bench market`: it takes minutes and 10 GB of disk, which it gives back; with --series and --days less.
The candles are loaded as any are, a month at a time; loads, revisions, anomalies and the like are put beside them in
the numbers that years bring. Each reader is then asked about one series after the other, in a transaction of its own,
as a request is.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import Connection, column, func, select, table, text

from bench.load import database
from bench.market_rows import fill
from bench.other_loads import MONTH, START_MS, made_up
from etl.coarse import read_coarse
from etl.coverage import read_coverage
from etl.days import read_day, read_series
from etl.findings import Finding
from etl.marks import read_marks
from etl.metrics import metrics_text
from etl.pipeline import LOADERS
from etl.schema import AbsenceKind, from_columns, to_columns
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.timeframe import Timeframe, from_ms
from etl.warehouse import (
    Asking,
    Lookback,
    Warehouse,
    begin_load,
    driver_of,
    known_series,
    merge,
    open_warehouse,
)
from stack.dashboards import dashboard_queries, expanded

SYMBOLS = ("BTC", "ETH", "XRP", "SOL", "ADA", "DOGE", "LTC", "DOT", "LINK", "AVAX")
EXCHANGES = ("binance", "bybit", "kraken", "kucoin", "okx")
ASKED = 15  # times, each of another series
START = from_ms(START_MS)

Reader = Callable[[Connection, Series], object]


def names(count: int) -> list[Series]:
    """Return so many series."""
    pairs = itertools.product(EXCHANGES, SYMBOLS)
    return [Series.parse(f"{exchange}:{base}/USDT:1m") for exchange, base in itertools.islice(pairs, count)]


def load_month(warehouse: Warehouse, series: Series, number: int, month: int) -> None:
    """Load 30 days that have an outage of half an hour, and a jump on every other day."""
    span, candles = made_up(number, month)
    first = 7 * 1440 + 61 * (number % 10)
    outage = TimeRange.from_ms(span.start_ms + first * 60_000, span.start_ms + (first + 30) * 60_000)
    columns = to_columns(candles)
    columns["flags"][:: 2 * 1440] = 256
    fetched = from_columns({name: np.delete(values, slice(first, first + 30)) for name, values in columns.items()})
    with begin_load(warehouse, series, span, f"history {month}", Lookback(Timeframe.M1, 0, 0)) as under_way:
        absent = [Finding(outage, AbsenceKind.OUTAGE, "all 10 series of the exchange were silent")]
        asking = Asking(span.end + timedelta(days=30), timedelta(days=1), "bench")
        merged = merge(under_way.stored, fetched)
        under_way.write(merged, absent=absent, refused=(), asking=asking, archive_files=("bench.parquet",), flagging="")


def readers(warehouse: Warehouse, end: datetime) -> Iterator[tuple[str, Reader]]:
    """Yield what a page asks for, and what some of it would cost otherwise."""

    def last(**length: float) -> TimeRange:
        return TimeRange(end - timedelta(**length), end)

    yield "the list of series", lambda connection, _: read_series(connection)
    yield "coverage, 730 days of all series", lambda connection, _: read_coverage(connection, last(days=730))
    yield "coverage, 90 days of all series", lambda connection, _: read_coverage(connection, last(days=90))
    zooms = {"6 hours": last(hours=6), "1 day": last(days=1), "5 days": last(days=5), "15 days": last(days=15)}
    zooms |= {f"{days} days": last(days=days) for days in (45, 90, 250, 730)}
    for name, span in zooms.items():
        yield f"candles, {name}", lambda connection, series, span=span: read_coarse(connection, series, span)
    for name in ("1 day", "45 days"):
        span, moment = zooms[name], datetime.now(UTC)
        yield (
            f"candles, {name}, as of a moment",
            lambda connection, series, span=span, moment=moment: read_coarse(connection, series, span, as_of=moment),
        )
    for name in ("1 day", "90 days", "730 days"):
        yield f"marks, {name}", lambda connection, series, span=zooms[name]: read_marks(connection, series, span)
    yield "metrics for Prometheus", lambda *_: metrics_text(warehouse, Settings(), end)
    yield "one day", lambda connection, series: read_day(connection, series, (end - timedelta(days=99)).date())
    for view, name in (("candles_1h", "45 days"), ("candles_1d", "90 days"), ("candles_1d", "730 days")):
        yield (
            f"instead of candles: {view}, {name}",
            lambda connection, series, view=view, span=zooms[name]: read_view(connection, series, view, span),
        )
    yield (
        "instead of the list: first and last candle, counted",
        lambda connection, series: count_all(connection, series),
    )


def dashboards(end: datetime) -> Iterator[tuple[str, Reader]]:
    """Yield what each query of Grafana's dashboards asks for, over 730 days, in a thousand points where it counts."""
    span = TimeRange(end - timedelta(days=730), end)
    interval = (span.end - span.start) / 1000
    for query in dashboard_queries():
        if query.datasource == "chandler-warehouse":
            yield (
                f"{query.dashboard}: {query.place}",
                lambda connection, series, sql=query.sql: read_dashboard(connection, series, sql, span, interval),
            )


def read_dashboard(
    connection: Connection, series: Series, sql: str, span: TimeRange, interval: timedelta
) -> Sequence[object]:
    """Ask what a panel asks, with one series and its exchange chosen."""
    chosen = {"series": [str(series)], "exchange": [series.exchange], "timeframe": [series.timeframe.value]}
    asked = expanded(sql, span, interval, chosen)
    return driver_of(connection).cursor().execute(asked.encode()).fetchall()


def read_view(connection: Connection, series: Series, view: str, span: TimeRange) -> list[object]:
    """Read coarser candles from a view, or what TimescaleDB has in its place."""
    names = ("series_id", "open_time", "open", "high", "low", "close", "volume", "candles", "flags")
    own = table(view, *(column(name) for name in names)).c
    found = select(*own).where(own.series_id == known_series(connection)[series])
    return list(connection.execute(found.where(own.open_time >= span.start, own.open_time < span.end)))


def count_all(connection: Connection, series: Series) -> object:
    """Count the candles of a series, as one does who has no account of them."""
    own = table("candles", column("series_id"), column("open_time")).c
    query = select(func.count(), func.min(own.open_time), func.max(own.open_time))
    return connection.execute(query.where(own.series_id == known_series(connection)[series])).one()


def ask(warehouse: Warehouse, reader: Reader, series: list[Series]) -> list[float]:
    """Return the ms of each question, the first one left out: it makes the connection and plans."""
    spent = []
    for number in range(ASKED + 1):
        begun = time.perf_counter()
        with warehouse.begin() as connection:
            reader(connection, series[7 * number % len(series)])
        spent.append(1000 * (time.perf_counter() - begun))
    return spent[1:]


def main() -> None:
    """Make it up, ask, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=50, choices=range(1, 51), metavar="1..50")
    parser.add_argument("--days", type=int, default=750, help="in whole months of 30 days")
    parser.add_argument("--database", help="a server's address, as a superuser; the embedded one without")
    parser.add_argument("--hold", action="store_true", help="say where it is and wait for Enter, to look at the page")
    arguments = parser.parse_args()
    series, months = names(arguments.series), -(-arguments.days // 30)
    end = START + months * timedelta(minutes=MONTH)
    with database(arguments.database) as url, open_warehouse(Settings(warehouse_url=url), creates=True) as warehouse:
        begun = time.perf_counter()
        jobs = [(one, number, month) for month in range(months) for number, one in enumerate(series)]
        with ThreadPoolExecutor(LOADERS) as loaders:
            loaded = loaders.map(lambda job: load_month(warehouse, *job), jobs)
            for _ in track(loaded, "loading", total=len(jobs)):
                pass
        took = time.perf_counter() - begun
        fill(warehouse, START, end)
        with warehouse.begin() as connection:
            candles = connection.execute(text("SELECT sum(rows) FROM checkpoints")).scalar_one()
            size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        print(f"{candles:,} candles loaded in {took:.0f} s; the database has {size / 1e9:.1f} GB")
        show(warehouse, f"{len(series)} series, {30 * months} days", series, readers(warehouse, end))
        show(warehouse, "Grafana's queries over 730 days", series, dashboards(end))
        if arguments.hold:
            input(f"CHANDLER_WAREHOUSE_URL={url}  (Enter ends it) ")


def show(warehouse: Warehouse, title: str, series: list[Series], asked: Iterable[tuple[str, Reader]]) -> None:
    """Print how long each question takes."""
    shown = Table(title=f"{title}; ms of {ASKED} questions")
    for heading in ("", "median", "worst"):
        shown.add_column(heading, justify="right" if heading else "left")
    for name, reader in asked:
        spent = ask(warehouse, reader, series)
        shown.add_row(name, f"{statistics.median(spent):.0f}", f"{max(spent):.0f}")
    Console(width=100).print(shown)


if __name__ == "__main__":
    main()
