"""Use of TimescaleDB where it is there: a hypertable, compression, continuous aggregates.

Retention is not among it: TimescaleDB would drop candles without asking whether the archive has them.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from etl.timeframe import Timeframe
from etl.warehouse.aggregates import create_aggregates, drop_aggregates
from etl.warehouse.features import read_features
from etl.warehouse.reading import cursor_of

log = logging.getLogger(__name__)

UNCOMPRESSED = timedelta(days=30)
"""The age at which a chunk is compressed, until the settings say another."""

# A chunk of `1m` is 43 compressed batches of a thousand for each series, and half a gigabyte before that at 100 series.
_NARROWEST, _WIDEST = timedelta(days=30), timedelta(days=730)
_CANDLES_A_CHUNK = 10_000

# With it, what changes more than 100,000 compressed candles in one transaction is refused.
_LIMIT = "timescaledb.max_tuples_decompressed_per_dml_transaction"
_HAS_LIMIT_OFF = """
SELECT count(*) FROM pg_db_role_setting, pg_database
WHERE pg_database.oid = setdatabase AND datname = current_database() AND setrole = 0 AND :wanted = ANY (setconfig)
"""

_TO_HYPERTABLE = """
SELECT create_hypertable('candles', 'open_time', chunk_time_interval => :interval,
                         create_default_indexes => false, migrate_data => true)
"""
_COMPRESSED = """
ALTER TABLE candles SET (
    timescaledb.compress, timescaledb.compress_segmentby = 'series_id', timescaledb.compress_orderby = 'open_time'
)
"""
_CHUNKS_BEFORE = """
SELECT chunk_schema, chunk_name, range_start, range_end FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema AND hypertable_name = 'candles' AND range_end <= :before
ORDER BY range_start
"""


def adopt(connection: Connection, uncompressed: timedelta = UNCOMPRESSED) -> str | None:
    """Make use of TimescaleDB, as far as it is there and its licence goes; what is done already is left alone.

    Candles that are there are moved into chunks, which takes a while and keeps everybody else waiting.

    Args:
        uncompressed: The age at which chunks are compressed.

    Returns:
        Why it cannot be made use of, with what to do about it; None if it is.
    """
    features = read_features(connection)
    if features.obstacle is not None:
        return features.obstacle
    if features.version is None and (refusal := _create_extension(connection)) is not None:
        return refusal
    features = read_features(connection)
    if not features.is_hypertable:
        drop_aggregates(connection)
        connection.execute(text(_TO_HYPERTABLE), {"interval": chunk_interval(_finest(connection))})
    if features.has_all and features.compress_after is None:
        connection.execute(text(_COMPRESSED))
    if not features.is_hypertable or features.has_all != features.is_continuous:
        drop_aggregates(connection)
        create_aggregates(connection)
    adapt(connection, uncompressed)
    return None


def adapt(connection: Connection, uncompressed: timedelta) -> None:
    """Let chunks be as wide as the series want it, and be compressed when the settings say so; else a no-op.

    Args:
        uncompressed: The age at which chunks are compressed.
    """
    features = read_features(connection)
    if not features.is_hypertable:
        return
    wanted = chunk_interval(_finest(connection))
    if features.chunk_interval != wanted:
        # Chunks that are there stay as they are.
        connection.execute(text("SELECT set_chunk_time_interval('candles', :interval)"), {"interval": wanted})
    if features.has_all and features.compress_after != uncompressed:
        connection.execute(text("SELECT remove_compression_policy('candles', if_exists => true)"))
        policy = "SELECT add_compression_policy('candles', compress_after => :age)"
        connection.execute(text(policy), {"age": uncompressed})
    if features.has_all and not connection.execute(text(_HAS_LIMIT_OFF), {"wanted": f"{_LIMIT}=0"}).scalar_one():
        _lift_limit(connection)


def chunk_interval(finest: Timeframe) -> timedelta:
    """Return how much a chunk spans if `finest` is the narrowest timeframe of all series.

    So much that it holds some batches of a thousand candles of each series, and yet is compressed while it is young.
    """
    whole_days = timedelta(days=(_CANDLES_A_CHUNK * finest.delta).days)
    return min(max(whole_days, _NARROWEST), _WIDEST)


def drop_empty_chunks(connection: Connection, before: datetime) -> int:
    """Drop the chunks that end at `before` or earlier and hold no candle any more; no-op without TimescaleDB.

    Returns:
        How many.
    """
    if not read_features(connection).is_hypertable:
        return 0
    dropped = 0
    for schema, name, start, end in connection.execute(text(_CHUNKS_BEFORE), {"before": before}).all():
        chunk = sql.Identifier(schema, name)
        with cursor_of(connection) as cursor:
            if _holds_any(cursor, chunk):
                continue
            # Looked at again with nobody able to write into it.
            cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(chunk))
            if _holds_any(cursor, chunk):
                continue
        bounds = {"start": start, "end": end}
        connection.execute(text("SELECT drop_chunks('candles', older_than => :end, newer_than => :start)"), bounds)
        dropped += 1
    return dropped


def _holds_any(cursor: psycopg.Cursor[tuple[object, ...]], chunk: sql.Identifier) -> bool:
    return cursor.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(chunk)).fetchone() is not None


def _finest(connection: Connection) -> Timeframe:
    names = connection.execute(text("SELECT DISTINCT timeframe FROM series")).scalars()
    return min((Timeframe(name) for name in names), key=lambda timeframe: timeframe.ms, default=Timeframe.M1)


def _create_extension(connection: Connection) -> str | None:
    """Create the extension. Returns why it cannot be."""
    try:
        with connection.begin_nested():
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS timescaledb"))
    except DBAPIError as error:
        detail = " ".join(str(error.orig).split())[:200]
        return f"it may not be made use of in this database ({detail}): its owner or a superuser may"
    return None


def _lift_limit(connection: Connection) -> None:
    """Let one transaction change as many compressed candles as it must, in this session and all that begin later."""
    connection.execute(text(f"SET {_LIMIT} = 0"))
    database = connection.execute(text("SELECT current_database()")).scalar_one()
    statement = sql.SQL("ALTER DATABASE {} SET {} = 0").format(sql.Identifier(database), sql.SQL(_LIMIT))
    try:
        with connection.begin_nested(), cursor_of(connection) as cursor:
            cursor.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        log.warning("what changes 100,000 compressed candles at once will fail; let a superuser run: %s", statement)
