"""The bucket in the warehouse: pyrate-limiter's table of spent units, and ours of pauses.

The library makes the table `ratelimit___<exchange>` when a bucket is first opened: name, weight, item_timestamp, one
row for each unit. It decides what is admitted; what it has no call for (counts, the exchange's own count, rows from
a clock that was set back) is asked here in SQL.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg_pool import ConnectionPool
from pyrate_limiter import Decision, PostgresBucket, RateItem
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert

from etl.errors import ConfigError
from etl.warehouse.budget.bucket import HORIZON_S, Look, decide
from etl.warehouse.budget.terms import Terms
from etl.warehouse.database import Warehouse
from etl.warehouse.tables import pauses

_NAME = re.compile(r"[a-z][a-z0-9]{0,31}")
_PATIENCE_S = 10
_FUTURE_MS = int(HORIZON_S * 1000) + 5_000

# The log's times have no zone; the pool's connections are in UTC.
_LOOK = """
WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS now),
edges AS (
    SELECT now, now - %(interval)s * interval '1 ms' AS began,
        to_timestamp(floor(extract(epoch FROM now) * 1000 / %(interval)s) * %(interval)s / 1000.0)
            - %(slip)s * interval '1 ms' AS opened
    FROM moment
)
SELECT floor(extract(epoch FROM now) * 1000)::bigint,
    coalesce((SELECT extract(epoch FROM until - now) FROM {pauses} WHERE exchange = %(exchange)s), 0)::float8,
    (SELECT count(*) FROM {log} WHERE item_timestamp BETWEEN began AND now),
    (SELECT count(*) FROM {log} WHERE item_timestamp BETWEEN opened AND now)
FROM edges
"""
_LOCK = "LOCK TABLE {log} IN EXCLUSIVE MODE"
_RAISE = """
INSERT INTO {log} (name, weight, item_timestamp)
SELECT 'told', 1, to_timestamp(%(opened)s / 1000.0)
FROM generate_series(1, %(units)s - (
    SELECT count(*) FROM {log}
    WHERE item_timestamp >= to_timestamp((%(opened)s - %(slip)s) / 1000.0) AND item_timestamp <= clock_timestamp()
))
"""
_TIDY_ALONE = "SELECT pg_try_advisory_xact_lock(hashtext(%s))"
# In the future are none but what a clock that was set back has left, and they would hold everyone up.
_TIDY = """
DELETE FROM {log}
WHERE item_timestamp < to_timestamp(%(first)s / 1000.0) OR item_timestamp > to_timestamp(%(last)s / 1000.0)
"""


class WarehouseBucket:
    """A log of spent units in the warehouse, shared by all who use it.

    Args:
        warehouse: Where.
        exchange: Whose limit it is: a letter and up to 31 letters or digits, in lower case.
        terms: What may be spent. Those who share an exchange may differ in their share, not in its limit.

    Raises:
        ConfigError: The exchange cannot be part of a table's name.
    """

    def __init__(self, warehouse: Warehouse, exchange: str, terms: Terms) -> None:
        if not _NAME.fullmatch(exchange):
            raise ConfigError(f"{exchange!r} cannot name a table; an exchange is lower-case letters and digits")
        self.terms = terms
        self._warehouse = warehouse
        self._exchange = exchange
        self._pool: ConnectionPool[psycopg.Connection[Any]] | None = None
        names = {"log": sql.Identifier(f"ratelimit___{exchange}"), "pauses": sql.Identifier(pauses.name)}
        self._look, self._lock, self._raise, self._tidy = (
            sql.SQL(text).format(**names) for text in (_LOOK, _LOCK, _RAISE, _TIDY)
        )

    def open(self) -> None:
        """Connect, and make the exchange's table if it is not there.

        Raises:
            StoreUnavailableError: The server cannot be reached.
        """
        _, address = self._warehouse.engine.dialect.create_connect_args(self._warehouse.engine.url)
        address.pop("context", None)  # SQLAlchemy's own, not part of an address
        self._pool = ConnectionPool(
            kwargs={"connect_timeout": _PATIENCE_S, **address},
            min_size=1,
            max_size=2,
            num_workers=1,
            timeout=_PATIENCE_S,
            configure=_configure,
            check=ConnectionPool.check_connection,
            open=False,
        )
        with self._warehouse.translated():
            try:
                self._pool.open(wait=True, timeout=_PATIENCE_S)
                self._bucket = PostgresBucket(self._pool, self._exchange, list(self.terms.rates))
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the connections. Doing it twice does no harm."""
        if self._pool is not None:
            self._pool.close()

    def look(self) -> Look:
        """Read time, pause and counts.

        Raises:
            StoreUnavailableError: The server cannot be reached.
        """
        facts = {"interval": self.terms.interval_ms, "slip": self.terms.slip_ms, "exchange": self._exchange}
        with self._connection() as connection:
            now_ms, away_s, spent, window = connection.execute(self._look, facts).fetchone() or (0, 0.0, 0, 0)
            return Look(now_ms, time.monotonic(), away_s, spent, window)

    def put(self, item: RateItem) -> Decision:
        """Count an item if there is room. A refusal that names no wait means that someone else is at it.

        Raises:
            StoreUnavailableError: The server cannot be reached.
        """
        with self._warehouse.translated():
            return decide(self._bucket, item)

    def raise_to(self, units: int, opened_ms: int) -> None:
        """Add what is missing until `units` are counted in the clock window that began at `opened_ms`.

        Raises:
            StoreUnavailableError: The server cannot be reached.
        """
        facts = {"units": units, "opened": opened_ms, "slip": self.terms.slip_ms}
        with self._connection() as connection:
            # So that two who were told the same do not both enter it.
            connection.execute(self._lock)
            connection.execute(self._raise, facts)

    def tidy(self, now_ms: int) -> None:
        """Remove what no rate counts any longer, unless another process is just at it.

        Raises:
            StoreUnavailableError: The server cannot be reached.
        """
        first_ms = now_ms - max(rate.interval for rate in self.terms.rates)
        last_ms = now_ms + _FUTURE_MS
        with self._connection() as connection:
            row = connection.execute(_TIDY_ALONE, (f"ratelimit {self._exchange}",)).fetchone()
            if row is not None and row[0]:
                connection.execute(self._tidy, {"first": first_ms, "last": last_ms})

    def pause(self, seconds: float) -> None:
        """Let everyone stay away for `seconds`; a pause that ends later goes on.

        Raises:
            StoreUnavailableError: The server cannot be reached.
        """
        until = func.clock_timestamp() + timedelta(seconds=seconds)
        row = insert(pauses).values(exchange=self._exchange, until=until)
        later = func.greatest(pauses.c.until, row.excluded.until)
        with self._warehouse.begin() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=[pauses.c.exchange], set_={"until": later}))

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        with self._warehouse.translated(), self._bucket.pool.connection() as connection:
            yield connection


def _configure(connection: psycopg.Connection[Any]) -> None:
    """Make a new connection the pool's."""
    connection.execute("SET TIME ZONE 'UTC'")
    # A crash of the server loses half a second of what was spent at the most; the exchange's own count brings it back.
    connection.execute("SET synchronous_commit = off")
    connection.commit()
