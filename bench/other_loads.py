"""The market that `bench.load` loads, and the other ways into the same table: none gives account of anything."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from etl.schema import CANDLE_SCHEMA, from_columns
from etl.series import TimeRange
from etl.warehouse import Warehouse
from etl.warehouse.copying import copy_in, encode, signed
from etl.warehouse.reading import cursor_of

START_MS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)
MONTH = 43_200
NAMES = ("series_id", *CANDLE_SCHEMA.names)


def made_up(series: int, month: int, rows: int = MONTH) -> tuple[TimeRange, pa.Table]:
    """Return candles at 1m that look like a market's, the same whenever asked for."""
    random = np.random.default_rng((series, month))
    start_ms = START_MS + month * MONTH * 60_000
    close = (100 * np.exp(np.cumsum(random.normal(0, 1e-4, rows)))).round(2)
    opened = np.roll(close, 1)
    volume = random.gamma(2, 3, rows).round(5)
    columns = {
        "open_time": start_ms + 60_000 * np.arange(rows),
        "open": opened,
        "high": np.maximum(opened, close) + 0.01,
        "low": np.minimum(opened, close) - 0.01,
        "close": close,
        "volume": volume,
        "quote_volume": volume * close,
        "trades": random.integers(0, 1000, rows),
        "taker_buy_volume": volume / 2,
        "taker_buy_quote_volume": volume * close / 2,
        "flags": np.zeros(rows, np.int16),
        "source": np.ones(rows, np.int16),
    }
    return TimeRange.from_ms(start_ms, start_ms + rows * 60_000), from_columns(columns)


def partitions(rows: int, n_series: int = 4) -> Iterator[tuple[int, TimeRange, pa.Table]]:
    """Yield months of several series in turn, made up as they are asked for."""
    for number in range(rows // MONTH):
        yield number % n_series, *made_up(number % n_series, number // n_series)


def write_binary(path: Path, rows: int) -> None:
    """Write what server-side COPY reads."""
    with path.open("wb") as file, signed(file.write) as write:
        for series, _, candles in partitions(rows):
            for block in encode(series + 1, candles):
                write(block)
    path.chmod(0o644)


def server_side_copy(url: str, rows: int) -> float:
    """Let the server read a binary file: the limit."""
    with tempfile.TemporaryDirectory(prefix="chandler-bench-") as folder:
        Path(folder).chmod(0o755)
        write_binary(path := Path(folder) / "candles.bin", rows)
        statement = sql.SQL("COPY candles ({}) FROM {} (FORMAT binary)").format(_names(), sql.Literal(str(path)))
        with psycopg.connect(url) as connection:
            begun = time.perf_counter()
            connection.execute(statement)
            connection.commit()
            return time.perf_counter() - begun


def staging_upsert(url: str, rows: int) -> float:
    """Do what people write: COPY into a staging table, then ON CONFLICT DO UPDATE."""
    upsert = _upsert(sql.SQL("SELECT {} FROM staging").format(_names()))
    copying = sql.SQL("COPY staging ({}) FROM STDIN (FORMAT binary)").format(_names())
    spent = 0.0
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TEMP TABLE staging (LIKE candles INCLUDING DEFAULTS)")
        for series, _, candles in partitions(rows):
            begun = time.perf_counter()
            connection.execute("TRUNCATE staging")
            with connection.cursor().copy(copying) as copy, signed(copy.write) as write:
                for block in encode(series + 1, candles):
                    write(block)
            connection.execute(upsert)
            connection.commit()
            spent += time.perf_counter() - begun
    return spent


def executemany_upsert(url: str, rows: int) -> float:
    """Upsert by psycopg's executemany, row by row."""
    values = sql.SQL(", ").join([sql.Placeholder()] * len(NAMES))
    upsert = _upsert(sql.SQL("VALUES ({})").format(values))
    spent = 0.0
    with psycopg.connect(url) as connection:
        for series, _, candles in partitions(rows):
            records = [(series + 1, *row.values()) for row in candles.to_pylist()]
            begun = time.perf_counter()
            connection.cursor().executemany(upsert, records)
            connection.commit()
            spent += time.perf_counter() - begun
    return spent


def to_sql(url: str, rows: int) -> float:
    """Append by pandas."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    spent = 0.0
    for series, _, candles in partitions(rows):
        frame = candles.to_pandas().assign(series_id=series + 1)
        begun = time.perf_counter()
        frame.to_sql("candles", engine, if_exists="append", index=False)
        spent += time.perf_counter() - begun
    engine.dispose()
    return spent


def copy_one(warehouse: Warehouse, one: int, span: TimeRange, candles: pa.Table) -> None:
    """Copy the candles in and commit, with no account of anything."""
    with warehouse.begin() as connection, cursor_of(connection) as cursor:
        copy_in(cursor, "candles", 5000 + one, candles)


def upsert_one(warehouse: Warehouse, one: int, span: TimeRange, candles: pa.Table) -> None:
    """Upsert the candles by way of a staging table."""
    with warehouse.begin() as connection, cursor_of(connection) as cursor:
        cursor.execute(
            "CREATE TEMP TABLE IF NOT EXISTS staging (LIKE candles INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
        )
        copy_in(cursor, "staging", 6000 + one, candles)
        cursor.execute(_upsert(sql.SQL("SELECT {} FROM staging").format(_names())))


def _upsert(source: sql.Composable) -> sql.Composed:
    updates = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in CANDLE_SCHEMA.names[1:]
    )
    statement = "INSERT INTO candles ({}) {} ON CONFLICT (series_id, open_time) DO UPDATE SET {}"
    return sql.SQL(statement).format(_names(), source, updates)


def _names() -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in NAMES)
