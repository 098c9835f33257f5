"""Holding a series: whoever changes what is stored of it does so alone, and finds out whether a commit came through."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError

from etl.series import Series
from etl.warehouse import tables
from etl.warehouse.database import Warehouse
from etl.warehouse.reading import Driver, driver_of

_LOCK_SPACE = 0x43484E44  # keeps our advisory locks apart from others in the same database
_HOLD = (
    "SELECT id, ended IS NOT NULL, pg_advisory_lock(%(space)s, id) FROM series"
    " WHERE exchange = %(exchange)s AND symbol = %(symbol)s AND timeframe = %(timeframe)s"
)
# At once, and not when candles are written: TimescaleDB, about to compress what was read, would wait for us, we for it.
_CANDLES = "LOCK TABLE candles IN ROW EXCLUSIVE MODE"
_LET_GO = "SELECT pg_advisory_unlock(%s, %s)"
_OUTCOME = text("SELECT pg_xact_status(CAST(:transaction AS text)::xid8)")
_PATIENCE_S = 30.0  # for a server that is just recovering


@dataclass(slots=True)
class Held:
    """A series that is held, on a connection of its own with a transaction of its own.

    Attributes:
        connection: Its statements run in the transaction that `begin` has begun.
        has_ended: Whether the exchange trades the series no more, as far as is known.
    """

    connection: Connection
    series_id: int
    has_ended: bool
    _number: psycopg.Cursor[tuple[Any, ...]] | None = None

    def begin(self) -> None:
        """Begin the transaction, if it has not begun; in a pipeline this costs no time."""
        if self._number is None:
            self.driver.execute("BEGIN")
            self.driver.execute(_CANDLES)
            self._number = self.driver.execute("SELECT pg_current_xact_id()::text")

    @property
    def transaction(self) -> str | None:
        """The transaction's number; None if it has not begun."""
        found = None if self._number is None else self._number.fetchone()
        return None if found is None else str(found[0])

    @property
    def driver(self) -> Driver:
        """The driver's connection, for what SQLAlchemy does not do."""
        return driver_of(self.connection)


@contextmanager
def holding(warehouse: Warehouse, series: Series) -> Iterator[Held]:
    """Hold `series` in a transaction, which commits when the block ends without an error.

    The lock is taken before the transaction begins, since its beginning is when what it stores came to stand there, and
    must lie after all that was stored before.

    Raises:
        StoreUnavailableError: The server cannot be reached or went away. Nothing of the transaction is there; unless it
            went away at the commit and does not come back in time: then nobody can say.
    """
    with warehouse.translated(), warehouse.engine.connect() as pooled:
        connection = pooled.execution_options(isolation_level="AUTOCOMMIT")
        held = Held(connection, *_lock(connection, series))
        try:
            yield held
            _commit(warehouse, held)
        except BaseException:
            # The lock goes with the connection, and so does what was not committed.
            pooled.invalidate()
            raise


def _lock(connection: Connection, series: Series) -> tuple[int, bool]:
    keys = {"exchange": series.exchange, "symbol": series.symbol, "timeframe": series.timeframe.value}
    driver = driver_of(connection)
    found = driver.execute(_HOLD, {"space": _LOCK_SPACE, **keys}).fetchone()
    if found is None:
        ensure_series(connection, series)
        found = driver.execute(_HOLD, {"space": _LOCK_SPACE, **keys}).fetchone()
    if found is None:
        raise RuntimeError(f"{series} has no number though it was given one")
    return found[0], found[1]


def _commit(warehouse: Warehouse, held: Held) -> None:
    """Commit and let go. A connection that breaks on the way leaves open what has become of it, so ask the server."""
    try:
        with held.driver.pipeline():
            held.driver.execute("COMMIT")
            held.driver.execute(_LET_GO, (_LOCK_SPACE, held.series_id))
    except psycopg.OperationalError:
        number = held.transaction
        if number is None or not _was_committed(warehouse, number):
            raise
        held.connection.invalidate()


def _was_committed(warehouse: Warehouse, transaction: str) -> bool:
    """Return what has become of a transaction whose connection broke, as soon as the server can say."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        with suppress(DBAPIError), warehouse.engine.connect() as connection:
            status = connection.execute(_OUTCOME, {"transaction": transaction}).scalar_one()
            # One that is in progress has a server process that has not noticed yet that we are gone.
            if status != "in progress":
                return bool(status == "committed")
        if time.monotonic() > until:
            return False
        time.sleep(0.1)


def lock_series(connection: Connection, series_id: int) -> None:
    """Wait until no other transaction holds the series, and hold it until this one ends."""
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK_SPACE, series_id)))
    connection.execute(text(_CANDLES))


def ensure_series(connection: Connection, series: Series) -> int:
    """Return the number of `series`, which gets one if it is new."""
    keys = {"exchange": series.exchange, "symbol": series.symbol, "timeframe": series.timeframe.value}
    find = select(tables.series.c.id).filter_by(**keys)
    if (found := connection.execute(find).scalar()) is None:
        connection.execute(upsert(tables.series).values(keys).on_conflict_do_nothing())
        found = connection.execute(find).scalar_one()
    return int(found)
