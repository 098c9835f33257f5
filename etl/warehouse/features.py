"""Features of the database under the warehouse, and which of them the warehouse makes use of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text

MINIMUM = (2, 21)
"""The oldest TimescaleDB that is made use of: older ones cannot be told how to refresh an aggregate."""

# The loader of the extension makes itself known by a setting, to every role; what is preloaded, to few.
_SERVER = """
SELECT current_setting('server_version'),
       (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'),
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       current_setting('timescaledb.disable_load', true) IS NOT NULL,
       current_setting('timescaledb.license', true)
"""

_HYPERTABLE = """
SELECT time_interval, (
    SELECT (config ->> 'compress_after')::interval FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_compression' AND hypertable_schema = current_schema AND hypertable_name = 'candles'
), (
    SELECT count(*) FROM timescaledb_information.continuous_aggregates
    WHERE view_schema = current_schema AND hypertable_schema = current_schema AND hypertable_name = 'candles'
)
FROM timescaledb_information.dimensions
WHERE hypertable_schema = current_schema AND hypertable_name = 'candles'
"""


@dataclass(frozen=True, slots=True)
class Features:
    """Features of the database, and the use that is made of them.

    Attributes:
        postgres: The server's version.
        available: The TimescaleDB that can be made use of here; None if there is none.
        version: The one that is made use of in this database.
        licence: `timescale`, or `apache`, which knows hypertables and neither compression nor continuous aggregates.
        is_preloaded: Whether the server has loaded it at its start, without which it cannot be made use of.
        chunk_interval: How much one chunk of `candles` spans; None if it is a plain table.
        compress_after: The age at which chunks are compressed; None if they are not.
        is_continuous: Whether the aggregates are kept, and not counted by every query.
    """

    postgres: str
    available: str | None = None
    version: str | None = None
    licence: str | None = None
    is_preloaded: bool = False
    chunk_interval: timedelta | None = None
    compress_after: timedelta | None = None
    is_continuous: bool = False

    @property
    def is_hypertable(self) -> bool:
        """True if the candles lie in chunks."""
        return self.chunk_interval is not None

    @property
    def has_all(self) -> bool:
        """True if the licence is the one that knows compression and continuous aggregates."""
        return self.version is not None and self.licence == "timescale"

    @property
    def obstacle(self) -> str | None:
        """The reason why TimescaleDB cannot be made use of, with what to do about it; None if it can, or is."""
        found = self.version or self.available
        if found is None:
            return "TimescaleDB is not installed on this server"
        if not self.is_preloaded:
            return "the server has not loaded it: shared_preload_libraries = 'timescaledb', and restart the server"
        if tuple(int(part) for part in found.split("-")[0].split(".")[:2]) < MINIMUM:
            return f"TimescaleDB {found} is too old: {'.'.join(map(str, MINIMUM))} or newer is needed"
        return None


def read_features(connection: Connection) -> Features:
    """Ask the database what it is and what it does with the candles."""
    postgres, available, version, is_preloaded, licence = connection.execute(text(_SERVER)).one()
    server = Features(postgres.split()[0], available, version, licence, is_preloaded)
    if version is None:
        return server
    found = connection.execute(text(_HYPERTABLE)).one_or_none()
    if found is None:
        return server
    interval, compress_after, aggregates = found
    return Features(
        server.postgres, available, version, licence, is_preloaded, interval, compress_after, bool(aggregates)
    )


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the candles, in bytes.

    Attributes:
        table: The rows, compressed or not.
        indexes: What finds them.
        aggregates: Kept aggregates with their indexes.
        chunks: In how many pieces they lie; 0 for a plain table.
        compressed: How many of these are compressed.
        before: What the compressed ones took before they were.
        after: What they take now.
    """

    table: int
    indexes: int
    aggregates: int = 0
    chunks: int = 0
    compressed: int = 0
    before: int = 0
    after: int = 0


def read_sizes(connection: Connection, features: Features) -> Sizes:
    """Measure what the candles take."""
    if not features.is_hypertable:
        plain = "SELECT pg_table_size('candles'), pg_indexes_size('candles')"
        return Sizes(*connection.execute(text(plain)).one())
    detailed = "SELECT sum(table_bytes + toast_bytes)::bigint, sum(index_bytes)::bigint"
    detailed += " FROM hypertable_detailed_size('candles')"
    table, indexes = connection.execute(text(detailed)).one()
    chunks = "SELECT count(*), count(*) FILTER (WHERE is_compressed) FROM timescaledb_information.chunks"
    chunks += " WHERE hypertable_schema = current_schema AND hypertable_name = 'candles'"
    counts = connection.execute(text(chunks)).one()
    if not features.has_all:
        return Sizes(table, indexes, 0, *counts)
    compression = """
        SELECT coalesce(sum(before_compression_total_bytes), 0)::bigint,
               coalesce(sum(after_compression_total_bytes), 0)::bigint
        FROM hypertable_compression_stats('candles')
    """
    kept = """
        SELECT coalesce(sum(hypertable_size(format('%I.%I', materialization_hypertable_schema,
                                                   materialization_hypertable_name)::regclass)), 0)::bigint
        FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema
    """
    aggregates = connection.execute(text(kept)).scalar_one()
    return Sizes(table, indexes, aggregates, *counts, *connection.execute(text(compression)).one())
