"""Locks on partitions: one process at a time works on the raw pages of a range, on whatever machine it runs.

They are PostgreSQL's advisory locks, which the server frees when the process or its connection dies. All that a process
has are on one connection, however many partitions it works on side by side.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from etl.series import Series, TimeRange

if TYPE_CHECKING:
    from etl.warehouse.database import Warehouse

log = logging.getLogger(__name__)

_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")
# A machine that loses its power closes no connection: after some 90 seconds, and not two hours, the server notices.
_KEEPALIVES = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 6"
_RETRY_S = 0.2
_LONG_S = 30.0  # after so long the terminal says why nothing moves


class PartitionLocks:
    """The locks of one process. Its threads exclude each other, too.

    Args:
        engine: Connects to the warehouse.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mutex = threading.Lock()
        self._names: set[str] = set()
        self._connection: Connection | None = None

    def try_lock(self, name: str) -> bool:
        """Take the lock unless another thread or process has it; return whether it was taken.

        Raises:
            SQLAlchemyError: The server does not answer.
        """
        with self._mutex:
            if name in self._names:
                return False
            try:
                is_taken = self._execute_try(self._connected(), name)
            except SQLAlchemyError:
                self._disconnect()
                raise
            if is_taken:
                self._names.add(name)
            elif not self._names:
                self._give_back()
            return is_taken

    def unlock(self, name: str) -> None:
        """Free the lock. One that was lost with its connection is free already."""
        with self._mutex:
            self._names.discard(name)
            if self._connection is None:
                return
            try:
                self._connection.execute(_UNLOCK, {"name": name})
            except SQLAlchemyError:
                self._disconnect()
                return
            if not self._names:
                self._give_back()

    def close(self) -> None:
        """Free all locks."""
        with self._mutex:
            self._names.clear()
            self._disconnect()

    def _connected(self) -> Connection:
        """Return the connection; a new one takes again what was lost with the one before, where nobody else has."""
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._connection.exec_driver_sql(_KEEPALIVES)
            for name in self._names:
                if not self._execute_try(self._connection, name):
                    log.warning("the lock on %s was lost with the connection, and another process has it now", name)
        return self._connection

    @staticmethod
    def _execute_try(connection: Connection, name: str) -> bool:
        return bool(connection.execute(_TRY_LOCK, {"name": name}).scalar_one())

    def _give_back(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.invalidate()
                self._connection.close()
            self._connection = None


@contextmanager
def locked_partition(warehouse: Warehouse, series: Series, time_range: TimeRange) -> Iterator[None]:
    """Wait until no other process or thread works on the raw pages of the range, and keep them away.

    Raises:
        StoreUnavailableError: The server does not answer.
    """
    name, wait = _name(series, time_range), _Wait(series, time_range)
    while not try_lock_partition(warehouse, series, time_range):
        wait.tell()
        time.sleep(_RETRY_S)
    try:
        yield
    finally:
        warehouse.locks.unlock(name)


@asynccontextmanager
async def locking_partition(warehouse: Warehouse, series: Series, time_range: TimeRange) -> AsyncIterator[None]:
    """Do what `locked_partition` does, inside a running loop."""
    name, wait = _name(series, time_range), _Wait(series, time_range)
    while not await asyncio.to_thread(try_lock_partition, warehouse, series, time_range):
        wait.tell()
        await asyncio.sleep(_RETRY_S)
    try:
        yield
    finally:
        await asyncio.to_thread(warehouse.locks.unlock, name)


def try_lock_partition(warehouse: Warehouse, series: Series, time_range: TimeRange) -> bool:
    """Take the lock on a partition if it is free; return whether it was. `unlock_partition` frees it.

    Raises:
        StoreUnavailableError: The server does not answer.
    """
    with warehouse.translated():
        return warehouse.locks.try_lock(_name(series, time_range))


def unlock_partition(warehouse: Warehouse, series: Series, time_range: TimeRange) -> None:
    """Free the lock that `try_lock_partition` has taken."""
    warehouse.locks.unlock(_name(series, time_range))


def _name(series: Series, time_range: TimeRange) -> str:
    return f"raw pages of {series} {time_range.start_ms} {time_range.end_ms}"


@dataclass(slots=True)
class _Wait:
    """Logs that another process works on the partition: once, and once more when it takes long."""

    series: Series
    time_range: TimeRange
    began: float = field(default_factory=time.monotonic)
    told: int = 0

    def tell(self) -> None:
        """Log, if it is time to."""
        if self.told == 0:
            log.info("%s %s: another process works on it; waiting for its end", self.series, self.time_range)
            self.told = 1
        elif self.told == 1 and time.monotonic() - self.began > _LONG_S:
            waited_s = time.monotonic() - self.began
            log.warning(
                "%s %s: another process works on it still; waited %.0f s", self.series, self.time_range, waited_s
            )
            self.told = 2
