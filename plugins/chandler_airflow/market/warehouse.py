"""The warehouse as pages read it: held open between requests, and never for long by one of them."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from fastapi import HTTPException
from sqlalchemy import Connection

from chandler_airflow.connections import read_warehouse_settings
from etl.errors import ChandlerError, ConfigError, StoreUnavailableError
from etl.lost import open_or_make
from etl.settings import Settings
from etl.warehouse import Warehouse, begin_reading
from etl.warehouse.database import TooLongError

log = logging.getLogger(__name__)

_SETTINGS_FOR_S = 5.0
# What takes longer is given up, so that no page can keep the database busy, nor all of the server's threads.
_WAIT_S = 5
_LONGEST_S = 15


class _Kept:
    """Settings as they were a moment ago, and the database that they name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settings: Settings | None = None
        self._read_at = 0.0
        self._open = ExitStack()
        self._opened: tuple[str, Warehouse] | None = None

    def settings(self) -> Settings:
        with self._locked():
            if self._settings is None or time.monotonic() - self._read_at > _SETTINGS_FOR_S:
                self._settings, self._read_at = read_warehouse_settings(), time.monotonic()
            return self._settings

    def warehouse(self, settings: Settings) -> Warehouse | None:
        """Return the database by its address; None if it is the one that is started when it is wanted."""
        url = settings.warehouse_url
        with self._locked():
            if self._opened is not None and self._opened[0] == url:
                return self._opened[1]
            self.close()
            if url is None:
                return None
            self._opened = url, self._open.enter_context(_open(settings))
            return self._opened[1]

    def close(self) -> None:
        self._opened = None
        self._open.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be alone; no longer than one may wait for a database, since whoever is may be waiting for one."""
        if not self._lock.acquire(timeout=_WAIT_S):
            raise StoreUnavailableError("somebody else is still opening the warehouse; ask again")
        try:
            yield
        finally:
            self._lock.release()


def _open(settings: Settings) -> AbstractContextManager[Warehouse]:
    return open_or_make(settings, wait_s=_WAIT_S, longest_s=_LONGEST_S)


_kept = _Kept()
atexit.register(_kept.close)


def known_settings() -> Settings:
    """Return the settings as they were a moment ago; what is wrong in feeds.toml is left out, and among their faults.

    Raises:
        HTTPException: 503, nothing says for certain where the warehouse is.
    """
    try:
        return _kept.settings()
    except ConfigError as error:
        log.warning("%s", error)
        raise HTTPException(503, f"the settings cannot be used: {error}") from error
    except ChandlerError as error:
        raise _unreadable(error) from error


@contextmanager
def opened_warehouse() -> Iterator[tuple[Warehouse, Settings]]:
    """Yield the warehouse and the settings.

    Raises:
        HTTPException: 503, it cannot be read; the log says why. 504, what was asked for takes too long. 422 for
            nonsense that was asked for.
    """
    settings = known_settings()
    with ExitStack() as own:
        try:
            warehouse = _kept.warehouse(settings) or own.enter_context(_open(settings))
        except ChandlerError as error:
            raise _unreadable(error) from error
        try:
            yield warehouse, settings
        except ConfigError as error:
            raise HTTPException(422, error.message) from error
        except TooLongError as error:
            log.warning("%s", error)
            raise HTTPException(504, f"that took longer than {_LONGEST_S} s; ask for less") from error
        except ChandlerError as error:
            raise _unreadable(error) from error


def _unreadable(error: ChandlerError) -> HTTPException:
    # The message says where the warehouse is and as whom we come there: not for everybody who may log in.
    log.warning("%s", error)
    return HTTPException(503, "the warehouse cannot be read; the log of Airflow's API server says why")


@contextmanager
def reading() -> Iterator[tuple[Connection, Settings]]:
    """Yield a transaction that writes nothing, and sees one moment; see `opened_warehouse`."""
    with opened_warehouse() as (warehouse, settings), begin_reading(warehouse) as connection:
        yield connection, settings
