"""Size of a candle in the archive, speed of writing and reading files, and the same for other formats.

Run as `python -m bench archive`; it takes a minute or two. The first table is of real recordings, where
`CHANDLER_DATA` or `../shared/data` has some, else of made-up candles: the same twelve columns for every format, a file
a month, ours with all it does besides: both fsyncs when writing, page checksums and the hash of all values when
reading. The second is one year at 1m, made up with all columns given, of one series and of ten one after another.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.feather as pf
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from etl.archive import Archive, spans
from etl.schema import CANDLE_COLUMNS, Origin, from_columns, to_columns
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe, from_ms

MINUTE_MS = 60_000
YEAR = TimeRange.from_ms(1_672_531_200_000, 1_704_067_200_000)  # 2023
Months = dict[TimeRange, pa.Table]
out = Console(width=120)


@dataclass(frozen=True, slots=True)
class Format:
    """A way to keep candles in a file."""

    name: str
    ending: str
    write: Callable[[pa.Table, Path], Any]
    read: Callable[[Path], Any]


OTHERS = (
    Format("Parquet as pyarrow writes it", "parquet", pq.write_table, pq.read_table),
    Format(
        "feather with lz4, as freqtrade",
        "feather",
        lambda table, path: pf.write_feather(table, path, compression="lz4"),
        lambda path: pf.read_table(path, memory_map=False),
    ),
    Format("CSV", "csv", pc.write_csv, pc.read_csv),
)


def recordings() -> Iterator[tuple[Series, pa.Table]]:
    """Yield the real recordings at 1m: sorted, of two candles of one minute the later one."""
    data = Path(os.environ.get("CHANDLER_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
    for path in sorted(data.glob("candles/*/*/1m.parquet")):
        table = pq.read_table(path)
        given = {name: np.asarray(table.column(name).cast(_number(name))) for name in table.column_names}
        _, latest = np.unique(given["open_time"][::-1], return_index=True)
        order = len(given["open_time"]) - 1 - latest
        symbol = path.parent.name.replace("-", "/")
        yield Series(path.parent.parent.name, symbol, Timeframe.M1), _table({n: v[order] for n, v in given.items()})


def _number(name: str) -> pa.DataType:
    return pa.int64() if name == "open_time" else pa.float64()


def _table(given: dict[str, Any]) -> pa.Table:
    """Return candles; what is not given is null, no flag is set, and all came by the API."""
    count = len(given["open_time"])
    none = {"trades": np.full(count, -1), "flags": np.zeros(count), "source": np.full(count, Origin.API)}
    return from_columns({c.name: given.get(c.name, none.get(c.name, np.full(count, np.nan))) for c in CANDLE_COLUMNS})


def made_up(span: TimeRange, seed: int = 0) -> pa.Table:
    """Return a walk in cents with every column given."""
    random = np.random.default_rng(seed)
    times = np.arange(span.start_ms, span.end_ms, MINUTE_MS)
    count = len(times)
    close = np.round(30_000 * np.exp(np.cumsum(random.standard_t(4, count) * 3e-4)), 2)
    opened = np.concatenate([close[:1], close[:-1]])
    volume = np.round(random.lognormal(2, 1, count), 5)
    taken = np.round(volume * random.uniform(0.2, 0.8, count), 5)
    return _table(
        {
            "open_time": times,
            "open": opened,
            "high": np.round(np.maximum(opened, close) + random.exponential(4, count), 2),
            "low": np.round(np.minimum(opened, close) - random.exponential(4, count), 2),
            "close": close,
            "volume": volume,
            "quote_volume": np.round(volume * close, 7),
            "trades": random.integers(1, 3000, count),
            "taker_buy_volume": taken,
            "taker_buy_quote_volume": np.round(taken * close, 7),
        }
    )


def by_month(candles: pa.Table) -> Months:
    """Cut candles where one file ends and the next begins."""
    times = to_columns(candles)["open_time"]
    whole = TimeRange.from_ms(int(times[0]), int(times[-1]) + MINUTE_MS)
    months = {}
    for span in spans(Timeframe.M1, whole):
        first, end = np.searchsorted(times, [span.start_ms, span.end_ms])
        if end > first:
            months[span] = candles.slice(first, end - first)
    return months


def timed(work: Callable[[], Any], times: int = 1) -> float:
    """Return how many seconds it takes: the median of several times."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return median(taken)


def compare(kept: dict[Series, Months], title: str) -> None:
    """Write and read all of it in every format, and print a table."""
    count = sum(table.num_rows for months in kept.values() for table in months.values())
    shown = Table(title=f"{title}: {count:,} candles, {sum(map(len, kept.values()))} files")
    for name in ("", "bytes a candle", "written, M/s", "read, M/s"):
        shown.add_column(name, justify="right" if name else "left")
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(folder, Path(folder) / "second")
        runs = [(series, span, table) for series, months in kept.items() for span, table in months.items()]
        written = timed(lambda: [archive.write(*run) for run in runs])
        read = timed(lambda: [archive.read(series, span) for series, span, _ in runs], 3)
        assert all(archive.read(series, span).equals(table) for series, span, table in runs)
        size = sum(file.size_bytes for series in kept for file in archive.files(series))
        _add(shown, "ours, proven and synced", count, size, written, read)
        for other in OTHERS:
            paths = [Path(folder) / f"{number}.{other.ending}" for number in range(len(runs))]
            written = timed(lambda o=other, p=paths: [o.write(run[2], path) for run, path in zip(runs, p, strict=True)])
            read = timed(lambda o=other, p=paths: [o.read(path) for path in p], 3)
            _add(shown, other.name, count, sum(path.stat().st_size for path in paths), written, read)
    out.print(shown)


def _add(shown: Table, name: str, count: int, size: int, written_s: float, read_s: float) -> None:
    shown.add_row(name, f"{size / count:.1f}", f"{count / written_s / 1e6:.1f}", f"{count / read_s / 1e6:.1f}")


def read_a_year() -> None:
    """Read a year of one series and of ten, in the formats that tools for this read it from; print a table."""
    year = made_up(YEAR)
    series = [Series("binance", f"C{number}/USDT", Timeframe.M1) for number in range(10)]
    shown = Table(title=f"One year at 1m, {year.num_rows:,} candles a series: seconds to read, median of several")
    for name in ("", "MB a series", "one series", "ten series"):
        shown.add_column(name, justify="right" if name else "left")
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(folder, Path(folder) / "second")
        for one in series:
            archive.write(one, YEAR, year)
        size = sum(file.size_bytes for file in archive.files(series[0]))
        single = timed(lambda: archive.read(series[0], YEAR), 15)
        many = timed(lambda: [archive.read(one, YEAR).num_rows for one in series], 3)
        shown.add_row("ours, proven", f"{size / 1e6:.1f}", f"{single:.3f}", f"{many:.2f}")
        for other in OTHERS:
            path = Path(folder) / f"year.{other.ending}"
            other.write(year, path)
            single = timed(lambda o=other, p=path: o.read(p), 7)
            many = timed(lambda o=other, p=path: [o.read(p).num_rows for _ in series])
            shown.add_row(other.name, f"{path.stat().st_size / 1e6:.1f}", f"{single:.3f}", f"{many:.2f}")
    out.print(shown)


def main() -> None:
    """Measure, and print tables."""
    kept = {series: by_month(table) for series, table in recordings()}
    if kept:
        compare(kept, "Real recordings")
    else:
        ten_months = TimeRange(YEAR.start, from_ms(YEAR.start_ms + 300 * 24 * 60 * MINUTE_MS))
        compare({Series("binance", "BTC/USDT", Timeframe.M1): by_month(made_up(ten_months))}, "Made-up candles")
    read_a_year()


if __name__ == "__main__":
    main()
