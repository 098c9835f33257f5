"""Duration of `chandler audit` over ten million candles, check by check, and of a plain comparison.

Run as `python -m bench audit`; it takes minutes, most of them to make the candles up. Four series at 1m over nearly
five years, a half percent of the minutes absent, in a home of their own. Beside it the check that people write: read
each series with pandas from both stores, merge, compare, which knows of no absence, flag, revision or checkpoint.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.ingest import CHANDLER, measure
from etl.archive import file_spans
from etl.feeds_file import load_settings
from etl.findings import Finding
from etl.schema import AbsenceKind, Origin, from_columns
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.stores import Stores, open_stores
from etl.timeframe import from_ms, to_ms
from etl.validate import find_absences, flag_candles
from etl.warehouse import Asking, ensure_series, record_absences, refresh_quality, vouch
from etl.warehouse.copying import copy_in
from etl.warehouse.reading import cursor_of

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")
START = datetime(2020, 1, 1, tzinfo=UTC)
MINUTE_MS = 60_000
out = Console(width=120)


def made_up(series: Series, candles: int, seed: int, absent: float = 0.005) -> Iterator[tuple[TimeRange, pa.Table]]:
    """Yield each month of a random walk, flagged by the rules; of some minutes, here and there, there is no candle."""
    random = np.random.default_rng(seed)
    span = TimeRange.from_ms(to_ms(START), to_ms(START) + candles * MINUTE_MS)
    rules = Settings().rules_of(series.exchange)
    before, last = None, 100.0
    for month in file_spans(series.timeframe, span):
        times = np.arange(month.start_ms, min(month.end_ms, span.end_ms), MINUTE_MS)
        close = last * np.exp(np.cumsum(random.standard_t(4, len(times)) * 2e-4))
        opened = np.concatenate([[last], close[:-1]])
        last = float(close[-1])
        volume = random.lognormal(size=len(times))
        columns: dict[str, NDArray[np.generic]] = {
            "open_time": times,
            "open": opened,
            "high": np.maximum(opened, close) * 1.0001,
            "low": np.minimum(opened, close) * 0.9999,
            "close": close,
            "volume": volume,
            "quote_volume": volume * close,
            "trades": random.integers(1, 1000, len(times)),
            "taker_buy_volume": volume / 2,
            "taker_buy_quote_volume": volume * close / 2,
            "flags": np.zeros(len(times), dtype=np.int16),
            "source": np.full(len(times), Origin.API, dtype=np.int16),
        }
        is_there = random.random(len(times)) >= absent
        here = from_columns({name: values[is_there] for name, values in columns.items()})
        around = here if before is None else pa.concat_tables([before, here])
        flags = flag_candles(around, series.timeframe, rules)[-here.num_rows :]
        candles_here = from_columns({name: values[is_there] for name, values in columns.items()} | {"flags": flags})
        before = candles_here.slice(max(candles_here.num_rows - rules.lookback, 0))
        yield TimeRange(month.start, min(month.end, span.end)), candles_here


def fill(stores: Stores, series: Series, candles: int, seed: int) -> int:
    """Put a made-up series into the stores as loads would have left it. Returns how many candles it has."""
    stored = 0
    for month, here in made_up(series, candles, seed):
        files = stores.archive.write(series, month, here).files
        times = np.asarray(here.column("open_time").combine_chunks().cast(pa.int64()))
        gaps = find_absences(times, month, series.timeframe)
        with stores.warehouse.begin() as connection:
            series_id = ensure_series(connection, series)
            with cursor_of(connection) as cursor:
                copy_in(cursor, "candles", series_id, here)
            findings = [Finding(gap, AbsenceKind.NO_TRADES, "made up") for gap in gaps]
            asking = Asking(from_ms(month.end_ms), stores.settings.settle_of(series), "bench")
            record_absences(connection, series_id, series.timeframe, month, findings, asking)
            vouch(connection, series_id, series.timeframe, month, "bench", files)
            refresh_quality(connection, series_id, series.timeframe, month)
        stored += here.num_rows
    return stored


def plain_check() -> None:
    """Do what most scripts do: both stores into pandas, merged and compared."""
    import pandas as pd
    from sqlalchemy import text

    with open_stores(load_settings()) as stores, stores.warehouse.engine.connect() as connection:
        for number, symbol in enumerate(SYMBOLS, 1):
            series = Series.parse(f"binance:{symbol}:1m")
            paths = [Path(stores.settings.home) / "archive/candles" / f.path for f in stores.archive.files(series)]
            archived = pd.concat([pd.read_parquet(path) for path in paths])
            query = text("SELECT * FROM candles WHERE series_id = :id ORDER BY open_time")
            stored = pd.read_sql(query, connection, params={"id": number})
            stored["open_time"] = stored["open_time"].astype(archived["open_time"].dtype)
            both = archived.merge(stored, on="open_time", how="outer", suffixes=("", "_stored"), indicator=True)
            assert (both["_merge"] == "both").all()
            assert all((both[name] == both[f"{name}_stored"]).all() for name in ("open", "high", "low", "close"))


def main() -> None:
    """Make the candles up, audit them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candles", type=int, default=10_000_000, help="expected ones, of all series together")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--plain", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        plain_check()
        return
    with tempfile.TemporaryDirectory(prefix="chandler-bench-") as folder:
        begun = time.perf_counter()
        stored = 0
        with open_stores(Settings(home=Path(folder))) as stores:
            for seed, symbol in enumerate(SYMBOLS):
                series = Series.parse(f"binance:{symbol}:1m")
                stored += fill(stores, series, arguments.candles // len(SYMBOLS), seed)
            with stores.warehouse.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM ANALYZE")
        out.print(f"{stored:,} candles made up in {time.perf_counter() - begun:.0f} s")
        home = {"CHANDLER_HOME": folder}
        results = [("chandler audit", measure([str(CHANDLER), "audit"], home)) for _ in range(arguments.runs)]
        if arguments.plain:
            results.append(("a plain comparison", measure([sys.executable, "-m", "bench", "audit", "--child"], home)))
    table = Table(title=f"{arguments.candles:,} candles expected")
    for name in ("", "wall s", "million candles/s", "CPU s", "peak MB"):
        table.add_column(name, justify="right" if name else "left")
    for name, run in results:
        rate = arguments.candles / run["wall_s"] / 1e6
        table.add_row(name, f"{run['wall_s']:.1f}", f"{rate:.2f}", f"{run['cpu_s']:.1f}", f"{run['peak_mb']:.0f}")
    out.print(table)
