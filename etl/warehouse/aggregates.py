"""Coarser candles out of the `1m` series: `candles_5m`, `candles_15m`, `candles_1h`, `candles_4h`, `candles_1d`.

With TimescaleDB they are continuous aggregates, each made of the one below it; what is not refreshed yet because it is
newer is counted when it is asked for. Without, they are views of the same names and columns that count all of it then.

An absence makes a candle of fewer: `candles` says of how many it is. A sum is null if one of them does not give it.
"""

from __future__ import annotations

from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from etl.schema import CANDLE_COLUMNS
from etl.timeframe import Timeframe
from etl.warehouse.database import Warehouse
from etl.warehouse.features import read_features
from etl.warehouse.reading import cursor_of

AGGREGATES = (Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H4, Timeframe.D1)
"""What is made of `1m`, the narrower first."""

_FINEST = Timeframe.M1
_LOCK = "hashtext('chandler aggregates')"
# Each batch is a transaction of its own: a month of 5m. TimescaleDB's ten make a refresh of much take twice as long.
_BUCKETS_A_BATCH = 8640

_FIRST = {True: sql.SQL("first({value}, {at})"), False: sql.SQL("(array_agg({value} ORDER BY {at}))[1]")}
_LAST = {True: sql.SQL("last({value}, {at})"), False: sql.SQL("(array_agg({value} ORDER BY {at} DESC))[1]")}
_REDUCED = {
    "high": sql.SQL("max({value})"),
    "low": sql.SQL("min({value})"),
    "volume": sql.SQL("sum({value})"),
    "flags": sql.SQL("bit_or({value})"),
}
_IF_ALL = sql.SQL("CASE WHEN count(*) = count({value}) THEN sum({value})::{type} END")

# A bucket's candles are found by the key: PostgreSQL cannot tell which open times a condition on the bucket asks for.
_VIEW = """
CREATE VIEW {name} AS
SELECT series.id AS series_id, bucket.open_time, {columns}
FROM series,
LATERAL (SELECT min(open_time) AS first, max(open_time) AS last FROM candles WHERE series_id = series.id) held,
LATERAL (SELECT generate_series(date_bin({width}, held.first, {origin}), held.last, {width}) AS open_time) bucket,
LATERAL (
    SELECT {values}, count(*) AS candles FROM candles own
    WHERE own.series_id = series.id AND own.open_time >= bucket.open_time AND own.open_time < bucket.open_time + {width}
) made
WHERE series.timeframe = {finest} AND made.candles > 0
"""

_CONTINUOUS = """
CREATE MATERIALIZED VIEW {name} WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT own.series_id, time_bucket({width}, own.open_time) AS open_time, {values}, {count} AS candles
FROM {source} GROUP BY own.series_id, time_bucket({width}, own.open_time)
WITH NO DATA
"""
_OF_CANDLES = sql.SQL("candles own JOIN series ON series.id = own.series_id AND series.timeframe = {}")


def create_aggregates(connection: Connection) -> None:
    """Make them as the database has it, without counting anything yet."""
    is_kept = read_features(connection).has_all
    below: Timeframe | None = None
    for timeframe in AGGREGATES:
        statement = _continuous(timeframe, below) if is_kept else _view(timeframe)
        with cursor_of(connection) as cursor:
            cursor.execute(statement)
        below = timeframe


def drop_aggregates(connection: Connection) -> None:
    """Drop those that are there, the coarser first: they are made of the narrower."""
    kept = set()
    if read_features(connection).version is not None:
        names = "SELECT view_name FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema"
        kept = set(connection.execute(text(names)).scalars())
    for timeframe in reversed(AGGREGATES):
        kind = sql.SQL("MATERIALIZED VIEW" if aggregate_name(timeframe) in kept else "VIEW")
        with cursor_of(connection) as cursor:
            cursor.execute(sql.SQL("DROP {} IF EXISTS {}").format(kind, sql.Identifier(aggregate_name(timeframe))))


def refresh_aggregates(warehouse: Warehouse) -> None:
    """Count anew what was loaded, changed or deleted since it was last done; no-op where nothing is kept.

    TimescaleDB notes itself what was touched, so what a killed process has left is counted by the next. Today's open
    buckets are left out: they are counted when they are asked for, and so are never behind.

    Raises:
        StoreError: The warehouse refuses or went away; what is not counted will be.
    """
    with warehouse.translated(), warehouse.engine.connect() as connection:
        is_kept = read_features(connection).is_continuous
        connection.rollback()
        if not is_kept:
            return
        # Each commits what it has done, and so can stand in no transaction.
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
        try:
            for timeframe in AGGREGATES:
                with cursor_of(connection) as cursor:
                    cursor.execute(_refresh(timeframe))
        finally:
            connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))


def aggregate_name(timeframe: Timeframe) -> str:
    """Return what the candles of `timeframe` that are made of `1m` are called."""
    return f"candles_{timeframe}"


def _refresh(timeframe: Timeframe) -> sql.Composed:
    statement = sql.SQL("CALL refresh_continuous_aggregate({}, NULL, time_bucket({}, now()), options => {})")
    options = Jsonb({"buckets_per_batch": _BUCKETS_A_BATCH})
    return statement.format(sql.Literal(aggregate_name(timeframe)), _width(timeframe), sql.Literal(options))


def _view(timeframe: Timeframe) -> sql.Composed:
    names = [sql.Identifier("made", name) for name in (*_made_names(), "candles")]
    return sql.SQL(_VIEW).format(
        name=sql.Identifier(aggregate_name(timeframe)),
        columns=sql.SQL(", ").join(names),
        values=_values(with_timescale=False),
        width=_width(timeframe),
        origin=sql.SQL("timestamptz '2000-01-01 00:00:00+00'"),
        finest=sql.Literal(_FINEST.value),
    )


def _continuous(timeframe: Timeframe, below: Timeframe | None) -> sql.Composed:
    if below is None:
        source, count = _OF_CANDLES.format(sql.Literal(_FINEST.value)), sql.SQL("count(*)")
    else:
        source = sql.SQL("{} own").format(sql.Identifier(aggregate_name(below)))
        count = sql.SQL("sum(own.candles)::bigint")
    return sql.SQL(_CONTINUOUS).format(
        name=sql.Identifier(aggregate_name(timeframe)),
        width=_width(timeframe),
        values=_values(with_timescale=True),
        count=count,
        source=source,
    )


def _made_names() -> list[str]:
    return [column.name for column in CANDLE_COLUMNS if column.name not in ("open_time", "source")]


def _values(*, with_timescale: bool) -> sql.Composed:
    """Return how each column of a bucket comes of its candles'."""
    reduced = {"open": _FIRST[with_timescale], "close": _LAST[with_timescale], **_REDUCED}
    types = {column.name: "bigint" if column.name == "trades" else "float8" for column in CANDLE_COLUMNS}
    parts = []
    for name in _made_names():
        value = reduced.get(name, _IF_ALL).format(
            value=sql.Identifier("own", name), at=sql.Identifier("own", "open_time"), type=sql.SQL(types[name])
        )
        parts.append(sql.SQL("{} AS {}").format(value, sql.Identifier(name)))
    return sql.SQL(", ").join(parts)


def _width(timeframe: Timeframe) -> sql.Composed:
    return sql.SQL("interval {}").format(sql.Literal(f"{timeframe.ms // 60_000} minutes"))
