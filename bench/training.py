"""Duration of a night of training: 20 series of 90 days at 1m, on the cores that there are.

Run as `python -m bench training`; it takes up to a quarter of an hour. The candles are those of the made-up market, in
a warehouse of their own. Two nights, one after the other, each a `chandler train` in a process of its own: the first
begins with nothing, the second with what that has left. Then what it takes to score, by the champion and by what was
trained, in another process: one day of one series after it is loaded, and a million candles.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.ingest import CHANDLER, measure
from etl.feeds_file import load_settings
from etl.replay import MadeUpMarket
from etl.replay.made_up import DEFAULT_SYMBOLS
from etl.schema import Origin, from_columns
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import Warehouse, ensure_series, open_warehouse
from etl.warehouse.copying import copy_in
from etl.warehouse.reading import cursor_of

MORE_SYMBOLS = ("AVAX", "DOT", "LINK", "UNI", "ATOM", "NEAR", "APT", "ARB", "OP", "FIL", "ETC", "TRX")
END = datetime(2026, 9, 1, tzinfo=UTC)
DAY_MS = 86_400_000
MILLION = 1_000_000
_PRICES = ("open", "high", "low", "close")
_AMOUNTS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
out = Console(width=120)


def fill(warehouse: Warehouse, series: int, days: int) -> int:
    """Put so many series of the made-up market into a warehouse, up to END. Returns how many candles they have."""
    symbols = [*DEFAULT_SYMBOLS, *(f"{name}/USDT" for name in MORE_SYMBOLS)][:series]
    market, last = MadeUpMarket(symbols=symbols), to_ms(END) // DAY_MS
    stored = 0
    for symbol in symbols:
        columns = market.columns(symbol, Timeframe.M1, range(last - days, last))
        floats = {name: np.asarray(getattr(columns, name).cast(pa.float64())) for name in (*_PRICES, *_AMOUNTS)}
        count = len(floats["close"])
        numbers: dict[str, NDArray[np.generic]] = {
            "open_time": np.asarray(columns.open_time_ms),
            **floats,
            "trades": np.asarray(columns.trades),
            "flags": np.zeros(count, dtype=np.int16),
            "source": np.full(count, Origin.API, dtype=np.int16),
        }
        with warehouse.begin() as connection, cursor_of(connection) as cursor:
            series_id = ensure_series(connection, Series("binance", symbol, Timeframe.M1))
            copy_in(cursor, "candles", series_id, from_columns(numbers))
        stored += count
    return stored


def score() -> None:
    """Score in this process, and print what it took as JSON."""
    from etl.read import read_candles
    from models.blocks import context_of
    from models.registry import list_models, read_artifact
    from models.scorers import LEARNED
    from models.scoring import score as score_candles
    from models.targets import Target

    settings, figures = load_settings(), {}
    with open_warehouse(settings, creates=True) as warehouse:
        with warehouse.begin() as connection:
            known = list_models(connection, Target(Timeframe.M1))
            wanted = {model.scorer: model for model in known if model.state == "champion" or model.scorer == LEARNED}
            begun = time.perf_counter()
            artifacts = {
                name: read_artifact(connection, model, settings.models.max_artifact_bytes)
                for name, model in wanted.items()
            }
            figures["load"] = (time.perf_counter() - begun) / len(artifacts)
        day = TimeRange(END - timedelta(days=1), END)
        whole = TimeRange(END - timedelta(days=80), END)
        for name, artifact in artifacts.items():
            series = sorted(artifact.norms)
            candles = {one: read_candles(one, context_of(Timeframe.M1, whole), settings=settings) for one in series[:9]}
            first = candles[series[0]]
            score_candles(first.slice(first.num_rows - 2000), artifact, series[0], day)  # the session is made
            begun = time.perf_counter()
            score_candles(first.slice(first.num_rows - 2100), artifact, series[0], day)
            figures[f"{name}: a day of one series"] = time.perf_counter() - begun
            begun, scored = time.perf_counter(), 0
            for one, table in candles.items():
                if scored < MILLION:
                    scored += len(score_candles(table, artifact, one, whole).joined)
            figures[f"{name}: a million candles"] = (time.perf_counter() - begun) * MILLION / scored
    json.dump(figures, sys.stdout)


def _timed(command: list[str], home: dict[str, str]) -> dict[str, float]:
    """Return what a night takes, and say so at once: the next one takes as long again."""
    figures = measure(command, home, _printed)
    out.print(", ".join(f"{name} {value:,.1f}" for name, value in figures.items()))
    return figures


def _printed(text: bytes) -> dict[str, float]:
    [night] = json.loads(text)
    out.print(f"{night['champion']} ({night['scorer']}) is champion. {night['reason']}")
    return dict(night["seconds"])


def main() -> None:
    """Make the candles up, train, score, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=20)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--nights", type=int, default=2)
    parser.add_argument("--score", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.score:
        score()
        return
    with tempfile.TemporaryDirectory(prefix="chandler-bench-") as folder:
        home = {"CHANDLER_HOME": folder, "CHANDLER_FEEDS": str(Path(folder) / "feeds.toml")}
        Path(home["CHANDLER_FEEDS"]).touch()
        with open_warehouse(Settings(home=Path(folder)), creates=True) as warehouse:
            begun = time.perf_counter()
            stored = fill(warehouse, arguments.series, arguments.days)
            out.print(f"{stored:,} candles made up in {time.perf_counter() - begun:.0f} s")
            command = [str(CHANDLER), "train", "--timeframe", "1m", "--end", f"{END:%Y-%m-%d}", "--json"]
            nights = [_timed(command, home) for _ in range(arguments.nights)]
            scoring = measure([sys.executable, "-m", "bench", "training", "--score"], home, json.loads)
    _print(f"{arguments.series} series, {arguments.days} days of 1m", nights)
    _print("scoring, on one core", [scoring])


def _print(title: str, runs: list[dict[str, float]]) -> None:
    table = Table("seconds (MB for the peak)", title=title)
    for number, _ in enumerate(runs, 1):
        table.add_column(f"{number}.", justify="right")
    for name in dict.fromkeys(name for run in runs for name in run):
        table.add_row(name.replace("_", " "), *(f"{run[name]:,.2f}" if name in run else "" for run in runs))
    out.print(table)
