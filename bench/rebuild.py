"""Duration of `chandler warehouse rebuild` for five million candles, and of COPY alone.

Run as `python -m bench rebuild`; it takes minutes. Four series at 1m over two and a half years, of which the archive is
all there is: once with a minute in ten thousand absent, each by itself, which is more stretches than Binance has, and
once with one in two hundred, as on an exchange that prints no empty minutes: each stretch is judged. Beside it the same
files read and copied into a table with the key and the checks of `candles`, one after the other, with no account of
anything. The first seconds are of the work, `wall s` of the whole command: Python's start, and a new PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.audit import SYMBOLS, made_up
from bench.ingest import CHANDLER, measure
from etl.archive import open_archive
from etl.homes import Creates
from etl.series import Series
from etl.settings import Settings
from etl.stores import open_stores
from etl.warehouse.copying import copy_in
from etl.warehouse.reading import cursor_of

out = Console(width=120)


def fill(settings: Settings, candles: int, absent: float) -> int:
    """Put made-up series into the archive alone. Returns how many candles there are."""
    archive = open_archive(settings)
    stored = 0
    for seed, symbol in enumerate(SYMBOLS):
        series = Series.parse(f"binance:{symbol}:1m")
        for month, here in made_up(series, candles // len(SYMBOLS), seed, absent):
            archive.write(series, month, here)
            stored += here.num_rows
    return stored


def copy_alone(settings: Settings) -> float:
    """Read each file and copy it into a table of its own, a transaction a file. Returns the seconds that it took."""
    with open_stores(settings, Creates.ALWAYS) as stores:
        with stores.warehouse.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE copied (LIKE candles INCLUDING ALL)")
        begun = time.perf_counter()
        for number, series in enumerate(stores.archive.series()):
            for file in stores.archive.files(series):
                candles = stores.archive.read(series, file.span)
                with stores.warehouse.begin() as connection, cursor_of(connection) as cursor:
                    copy_in(cursor, "copied", number, candles)
        return time.perf_counter() - begun


def main() -> None:
    """Make the archive up, rebuild the warehouse from it, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candles", type=int, default=5_000_000, help="expected ones, of all series together")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    table = Table(title=f"{arguments.candles:,} candles expected")
    for name in ("", "s", "candles/s", "wall s", "CPU s", "peak MB"):
        table.add_column(name, justify="right" if name else "left")
    for absent in (0.0001, 0.005):
        with tempfile.TemporaryDirectory(prefix="chandler-bench-") as folder:
            settings = Settings(home=Path(folder))
            stored = fill(settings, arguments.candles, absent)
            for _ in range(arguments.runs):
                seconds = copy_alone(settings)
                table.add_row(
                    f"{absent:.2%} absent: read and COPY", f"{seconds:.1f}", f"{stored / seconds:,.0f}", "", ""
                )
                shutil.rmtree(settings.home / "postgres")
                command = [str(CHANDLER), "warehouse", "rebuild", "--json"]
                run = measure(command, {"CHANDLER_HOME": folder}, lambda printed: {"s": json.loads(printed)["seconds"]})
                rate = (f"{run['s']:.1f}", f"{stored / run['s']:,.0f}")
                figures = (*rate, f"{run['wall_s']:.1f}", f"{run['cpu_s']:.1f}", f"{run['peak_mb']:.0f}")
                table.add_row(f"{absent:.2%} absent: chandler warehouse rebuild", *figures)
                shutil.rmtree(settings.home / "postgres")
    out.print(table)
