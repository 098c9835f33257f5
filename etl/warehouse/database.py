"""The way to the warehouse: its address, its engine, its migrations, and what psycopg's errors mean to us."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from etl.errors import (
    ConfigError,
    NoStoreError,
    SchemaMismatchError,
    StoreError,
    StoreLostError,
    StoreUnavailableError,
)
from etl.homes import check_store, read_note
from etl.settings import Settings
from etl.warehouse.embedded import embedded_postgres, full_message, is_full, start_again, start_again_for_others
from etl.warehouse.partition_locks import PartitionLocks

log = logging.getLogger(__name__)
# They log each connection that breaks, and each try to replace it; what breaks is said once, by what we raise.
for _name in ("psycopg", "sqlalchemy.pool"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0021"
_HAS_CHUNKS = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"
_CONNECT_S = 10


class TooLongError(StoreUnavailableError):
    """The warehouse answers, and has given up what it was asked for, as that took too long."""


class Warehouse:
    """One database that is migrated and answers.

    Args:
        engine: How to connect.
        address: Where it is, without a password, for people.
        idle: Connections that loads have left to the next ones.
        locks: Those on partitions that this process has.
        has_chunks: Whether TimescaleDB may keep the candles, as far as was known when it was opened.
        limits: What each transaction is begun with that `begin` opens: SQL, or nothing.
        embedded: The folder of the server, if it is the embedded one, which this process keeps running.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.has_chunks = False
        self.limits = ""
        self.idle: deque[Connection] = deque()
        self.locks = PartitionLocks(engine)
        self.embedded: Path | None = None
        self.address = engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close what is open."""
        self.locks.close()
        while self.idle:
            self.idle.pop().close()
        self.engine.dispose()

    @property
    def folder(self) -> Path | None:
        """The folder of the server's data, as far as it is known here: that of the embedded one, ours or another's."""
        host = self.engine.url.query.get("host")
        socket = Path(host) if isinstance(host, str) and host.startswith("/") else None
        return self.embedded or (socket if socket is not None and (socket / "PG_VERSION").exists() else None)

    def revive(self) -> bool | None:
        """Start an embedded server again that is gone: our own, or one that a running stack keeps.

        Returns:
            Whether it was gone; None of any other server.

        Raises:
            StoreLostError: It does not start.
        """
        if self.embedded is not None:
            return start_again(self.embedded)
        return None if self.folder is None else start_again_for_others(self.folder)

    def _away_message(self, detail: str) -> str:
        """Return what to say of a server that does not answer, once what can be done about it is done."""
        if self.folder is not None and is_full(self.folder, detail):
            return full_message(f"warehouse at {self.address}")
        lost = f"the warehouse at {self.address} does not answer ({detail})"
        try:
            is_revived = self.revive()
        except StoreLostError as error:
            return error.message
        if is_revived is not None:
            verb = "was started again" if is_revived else "runs"
            return f"the connection to the PostgreSQL in {self.folder} was lost, and it {verb}; run this again to go on"
        if self.folder is not None:
            note = read_note(self.folder.parent)
            remedy = "start it" if note is None else f"start its stack with `{note.command}`"
            return f"the PostgreSQL in {self.folder} does not run; {remedy}, and run this again"
        return f"{lost}; start it and run this again"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction: committed when the block ends, rolled back when it raises.

        Raises:
            StoreUnavailableError: The server cannot be reached, or went away; what was not committed is not there.
            TooLongError: A statement took longer than it may.
            StoreError: The server refuses a statement.
        """
        with self.translated(), self.engine.begin() as connection:
            if self.limits:
                connection.exec_driver_sql(self.limits)
            yield connection

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the driver's errors into ours, once."""
        try:
            yield
        except PendingRollbackError as error:
            # The connection broke before, and the error that said so was taken for another one.
            raise StoreLostError(self._away_message("the connection is lost")) from error
        except PoolTimeoutError as error:
            message = f"all connections to the warehouse at {self.address} are in use; run this again"
            raise StoreUnavailableError(message) from error
        except (DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            detail = " ".join(str(cause).split())[:200]
            if isinstance(cause, psycopg.errors.QueryCanceled):
                message = f"the warehouse at {self.address} gave up what took too long ({detail}); ask for less"
                raise TooLongError(message) from error
            if isinstance(cause, psycopg.errors.DiskFull):
                raise StoreLostError(full_message(f"warehouse at {self.address}")) from error
            if isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError)):
                code = getattr(cause, "sqlstate", None) or ""
                # It answers, that it lacks room or that another transaction went first.
                if code.startswith(("40", "53", "55")):
                    message = f"the warehouse at {self.address} cannot do this just now ({detail}); run this again"
                    raise StoreUnavailableError(message) from error
                raise StoreLostError(self._away_message(detail)) from error
            raise StoreError(f"the warehouse at {self.address} refuses: {detail}") from error


@contextmanager
def open_warehouse(
    settings: Settings, *, wait_s: int | None = None, longest_s: int | None = None, creates: bool = False
) -> Iterator[Warehouse]:
    """Connect to the warehouse and bring its tables up to date; start the embedded server if no address is set.

    `etl.lost` opens it for those who may make one: beside an archive that holds candles it was lost, and is not made.

    Args:
        wait_s: For so long at most wait for the server, and for what somebody else holds: connections, locks, tables
            that are just migrated. Without, for as long as it takes, but not for ever for a server that is silent.
        longest_s: For so long at most a statement goes on, but for a migration's. Without, for as long as it takes.
        creates: Whether one is made where there is none: an embedded store, and the tables of an empty database.

    Raises:
        ConfigError: The address is none, or several embedded warehouses could be meant.
        NoStoreError: There is none, and none may be made.
        StoreUnavailableError: The server cannot be reached.
        SchemaMismatchError: The tables are newer than this version.
    """
    with ExitStack() as stack:
        url, embedded = settings.warehouse_url, None
        if url is None:
            check_store(settings.home, is_chosen=settings.is_home_chosen, creates=creates)
            embedded = settings.home / "postgres"
            url = stack.enter_context(embedded_postgres(embedded, "warehouse"))
        warehouse = stack.enter_context(_connected(url, wait_s, embedded, creates=creates))
        warehouse.limits = _limits(wait_s, longest_s)
        yield warehouse


@contextmanager
def _connected(address: str, wait_s: int | None, embedded: Path | None, *, creates: bool) -> Iterator[Warehouse]:
    try:
        url = make_url(address).set(drivername="postgresql+psycopg")
        own = {name: value for name, value in _patience(wait_s).items() if name not in url.query}
        pool = {} if wait_s is None else {"pool_timeout": wait_s}
        # A connection is kept, since loads are many and short; one that a restarted server has forgotten is no error.
        engine = create_engine(url, pool_pre_ping=True, connect_args=own, **pool)
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigError("the warehouse's address is none; write postgresql://user:password@host:5432/db") from error
    warehouse = Warehouse(engine)
    warehouse.embedded = embedded
    warehouse.limits = _limits(wait_s, None)
    try:
        migrate(warehouse, creates=creates)
        yield warehouse
    finally:
        warehouse.close()


def _patience(wait_s: int | None) -> dict[str, Any]:
    """Return how long libpq waits for a server, unless the address says so."""
    if wait_s is None:
        return {"connect_timeout": _CONNECT_S}
    # So that a connection that is kept is given up, too, once nothing comes through any more.
    return {"connect_timeout": wait_s, "tcp_user_timeout": 2000 * wait_s, "keepalives_idle": wait_s}


def _limits(wait_s: int | None, longest_s: int | None) -> str:
    """Return what keeps a transaction from waiting, and a statement from going on, for longer than that."""
    limits = {"lock_timeout": wait_s, "statement_timeout": longest_s}
    return "; ".join(f"SET LOCAL {name} = '{int(of)}s'" for name, of in limits.items() if of is not None)


def migrate(warehouse: Warehouse, *, creates: bool) -> None:
    """Bring the tables to this version's shape; one process at a time, nothing to do when they are there.

    Args:
        creates: Whether they are made where there are none.

    Raises:
        NoStoreError: There are none, and none may be made.
        SchemaMismatchError: The tables are newer than this version.
    """
    with warehouse.begin() as connection:
        revision = _revision(connection)
        if revision is None and not creates:
            missing = f"the database at {warehouse.address} has no tables"
            raise NoStoreError(
                f"nothing is loaded yet: {missing}; load something (chandler ingest --help, chandler import --help)",
                missing=missing,
            )
        if revision != HEAD:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('chandler migrations'))"))
            _upgrade(connection, warehouse.address)
        warehouse.has_chunks = bool(connection.execute(text(_HAS_CHUNKS)).scalar_one())


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection, address: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise SchemaMismatchError(
            f"the tables at {address} were made by another version of Chandler ({error}); update Chandler"
        ) from error
    log.info("warehouse at %s migrated to %s", address, HEAD)
