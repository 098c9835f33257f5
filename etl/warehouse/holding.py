"""Holding a series: whoever changes what is stored of it does so alone, and finds out whether a commit came through."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError

from etl.errors import ConfigError, StoreLostError
from etl.series import Series
from etl.warehouse import tables
from etl.warehouse.database import Warehouse
from etl.warehouse.reading import Driver, driver_of

_LOCK_SPACE = 0x43484E44  # keeps our advisory locks apart from others in the same database
_SERIES = "FROM series WHERE exchange = %(exchange)s AND symbol = %(symbol)s AND timeframe = %(timeframe)s"
_HOLD = f"SELECT id, pg_advisory_lock(%(space)s, id) {_SERIES}".encode()  # noqa: S608  # made of a constant
# A statement of its own: one that waits for the lock sees the row as it was before what it has waited for.
_KNOWN = f"SELECT ended IS NOT NULL, flagged_by IS NULL {_SERIES}".encode()  # noqa: S608  # made of a constant
# At once, and not when candles are written: TimescaleDB, about to compress what was read, would wait for us, we for it.
_CANDLES = "LOCK TABLE candles IN ROW EXCLUSIVE MODE"
_OUTCOME = text("SELECT pg_xact_status(CAST(:transaction AS text)::xid8)")
_PATIENCE_S = 30.0  # for a server that is just recovering


@dataclass(slots=True)
class Held:
    """A series that is held, on a connection of its own with a transaction of its own.

    Attributes:
        connection: Its statements run in the transaction that `begin` has begun.
        has_ended: Whether the exchange trades the series no more, as far as is known.
        is_unflagged: Whether nothing of it was loaded yet.
        has_chunks: Whether its candles lie in chunks.
        transaction: Answers with the transaction's number, once somebody has asked for it.
    """

    connection: Connection
    series_id: int
    has_ended: bool
    is_unflagged: bool
    has_chunks: bool
    transaction: psycopg.Cursor[tuple[Any, ...]] | None = None
    _has_begun: bool = False

    def begin(self) -> None:
        """Begin the transaction, if it has not begun; in a pipeline this costs no time."""
        if not self._has_begun:
            self.driver.execute("BEGIN")
            if self.has_chunks:
                self.driver.execute(_CANDLES)
            self._has_begun = True

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
    with warehouse.translated():
        held = _hold(warehouse, series)
        try:
            yield held
            _commit(warehouse, held)
        except BaseException:
            # The lock goes with the connection, and so does what was not committed.
            _throw_away(held.connection)
            raise
        if held.connection.closed:
            return
        held.connection.commit()  # nothing, but to SQLAlchemy, which does not know of the transaction
        warehouse.idle.append(held.connection)


def _hold(warehouse: Warehouse, series: Series) -> Held:
    """Lock the series on a connection that a load has left, or on a new one."""
    while True:
        try:
            connection = warehouse.idle.pop()
        except IndexError:
            break
        try:
            return Held(connection, *_lock(connection, series), has_chunks=warehouse.has_chunks)
        except psycopg.OperationalError:
            _throw_away(connection)  # the server was restarted meanwhile
    connection = warehouse.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        return Held(connection, *_lock(connection, series), has_chunks=warehouse.has_chunks)
    except BaseException:
        _throw_away(connection)
        raise


def _throw_away(connection: Connection) -> None:
    connection.invalidate()
    connection.close()


def _lock(connection: Connection, series: Series) -> tuple[int, bool, bool]:
    keys = {"exchange": series.exchange, "symbol": series.symbol, "timeframe": series.timeframe.value}
    driver = driver_of(connection)
    for _ in range(2):
        with driver.pipeline():
            held = driver.execute(_HOLD, {"space": _LOCK_SPACE, **keys})
            known = driver.execute(_KNOWN, keys)
        if (found := held.fetchone()) is not None and (facts := known.fetchone()) is not None:
            return found[0], facts[0], facts[1]
        ensure_series(connection, series)
    raise RuntimeError(f"{series} has no number though it was given one")


def _commit(warehouse: Warehouse, held: Held) -> None:
    """Commit and let go. A connection that breaks on the way leaves open what has become of it, so ask the server."""
    both = f"COMMIT; SELECT pg_advisory_unlock({_LOCK_SPACE}, {int(held.series_id)})"
    try:
        held.driver.execute(both.encode(), prepare=False)
    except psycopg.OperationalError:
        number = None if held.transaction is None else held.transaction.fetchone()
        if number is None or not _was_committed(warehouse, str(number[0])):
            raise
        _throw_away(held.connection)


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
        with suppress(StoreLostError):
            warehouse.revive()
        time.sleep(0.1)


def lock_series(connection: Connection, series_id: int) -> None:
    """Wait until no other transaction holds the series, and hold it until this one ends."""
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK_SPACE, series_id)))
    connection.execute(text(_CANDLES))


def ensure_series(connection: Connection, series: Series) -> int:
    """Return the number of `series`, which gets one if it is new.

    Raises:
        ConfigError: See `check_spelling`.
    """
    keys = {"exchange": series.exchange, "symbol": series.symbol, "timeframe": series.timeframe.value}
    find = select(tables.series.c.id).filter_by(**keys)
    if (found := connection.execute(find).scalar()) is None:
        check_spelling(connection, series)
        connection.execute(upsert(tables.series).values(keys).on_conflict_do_nothing())
        found = connection.execute(find).scalar_one()
    return int(found)


def read_flagged_by(connection: Connection, series_id: int) -> str:
    """Return by which rules and parameters all candles of a series were flagged; empty if that is not known."""
    own = tables.series.c
    return connection.execute(select(own.flagged_by).where(own.id == series_id)).scalar() or ""


def mark_flagged_by(connection: Connection, series_id: int, flagging: str) -> None:
    """Note by which rules and parameters all candles of a series were flagged; see `Settings.flagging_of`."""
    connection.execute(update(tables.series).where(tables.series.c.id == series_id).values(flagged_by=flagging))


def check_spelling(connection: Connection, series: Series) -> None:
    """Check that a new series is not one that is held but for upper and lower case, at whatever timeframe.

    No exchange lists two such symbols, and where file names have no case their files would be one.

    Raises:
        ConfigError: It is one.
    """
    own = tables.series.c
    alike = select(own.symbol).where(own.exchange == series.exchange, func.lower(own.symbol) == series.symbol.lower())
    held = set(connection.execute(alike).scalars())
    if held and series.symbol not in held:
        raise ConfigError(f"{series.symbol!r} is held as {min(held)}; write it in the same case", series=series)
