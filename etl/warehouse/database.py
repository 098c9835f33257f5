"""The way to the warehouse: its address, its engine, its migrations, and what psycopg's errors mean to us."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from etl.errors import ConfigError, SchemaMismatchError, StoreError, StoreUnavailableError
from etl.settings import Settings
from etl.warehouse.embedded import embedded_postgres

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0009"
_HAS_CHUNKS = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"


class Warehouse:
    """One database that is migrated and answers.

    Args:
        engine: How to connect.
        address: Where it is, without a password, for people.
        idle: Connections that loads have left to the next ones.
        has_chunks: Whether TimescaleDB may keep the candles, as far as was known when it was opened.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.has_chunks = False
        self.idle: deque[Connection] = deque()
        self.address = engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close what is open."""
        while self.idle:
            self.idle.pop().close()
        self.engine.dispose()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction: committed when the block ends, rolled back when it raises.

        Raises:
            StoreUnavailableError: The server cannot be reached, or went away; what was not committed is not there.
            StoreError: The server refuses a statement.
        """
        with self.translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the driver's errors into ours, once."""
        try:
            yield
        except (DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            detail = " ".join(str(cause).split())[:200]
            if isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError)):
                code = getattr(cause, "sqlstate", None) or ""
                # It answers, that it lacks room or that another transaction went first.
                is_there = code.startswith(("40", "53", "55"))
                how = "cannot do this just now" if is_there else "does not answer"
                advice = "run this again" if is_there else "start it and run this again"
                raise StoreUnavailableError(f"the warehouse at {self.address} {how} ({detail}); {advice}") from error
            raise StoreError(f"the warehouse at {self.address} refuses: {detail}") from error


@contextmanager
def open_warehouse(settings: Settings) -> Iterator[Warehouse]:
    """Connect to the warehouse and bring its tables up to date; start the embedded server if no address is set.

    Raises:
        ConfigError: The address is none.
        StoreUnavailableError: The server cannot be reached.
        SchemaMismatchError: The tables are newer than this version.
    """
    if settings.warehouse_url is None:
        with embedded_postgres(settings.home / "postgres", "warehouse") as url, _connected(url) as warehouse:
            yield warehouse
    else:
        with _connected(settings.warehouse_url) as warehouse:
            yield warehouse


@contextmanager
def _connected(url: str) -> Iterator[Warehouse]:
    try:
        # A connection is kept, since loads are many and short; one that a restarted server has forgotten is no error.
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigError("the warehouse's address is none; write postgresql://user:password@host:5432/db") from error
    warehouse = Warehouse(engine)
    try:
        migrate(warehouse)
        yield warehouse
    finally:
        warehouse.close()


def migrate(warehouse: Warehouse) -> None:
    """Bring the tables to this version's shape; one process at a time, nothing to do when they are there.

    Raises:
        SchemaMismatchError: The tables are newer than this version.
    """
    with warehouse.begin() as connection:
        if _revision(connection) != HEAD:
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
