"""The PostgreSQL that the tests run on: our own, or the one whose address stands in CHANDLER_TEST_DATABASE."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from etl.settings import Settings
from etl.warehouse import open_warehouse
from etl.warehouse.embedded import embedded_postgres

# Any database of a server on which its role may create others; read before a test hides it.
_GIVEN = os.environ.get("CHANDLER_TEST_DATABASE")


@contextmanager
def folder_for_postgres() -> Iterator[Path]:
    """Yield a folder that an embedded server may live in.

    Not one of pytest's: those are closed to the user that the server runs as when the tests run as root, and every
    other session of pytest that begins closes them again.
    """
    with tempfile.TemporaryDirectory(prefix="chandler-test-") as folder:
        yield Path(folder)


@contextmanager
def template_database() -> Iterator[str]:
    """Yield the address of a migrated database that nobody connects to: for `fresh_database` to copy."""
    with folder_for_postgres() as folder:
        if _GIVEN is None:
            with embedded_postgres(folder / "postgres", "template") as url:
                _migrate(url, folder)
                yield url
        else:
            with _created(_GIVEN, f"template_{uuid.uuid4().hex[:12]}") as url:
                _migrate(url, folder)
                yield url


@contextmanager
def fresh_database(template: str) -> Iterator[str]:
    """Yield the address of a new copy of `template`, which is dropped afterwards."""
    with _created(admin_address(template), f"test_{uuid.uuid4().hex[:12]}", make_url(template).database) as url:
        yield url


@contextmanager
def empty_database(template: str) -> Iterator[str]:
    """Yield the address of a new database without any tables, on the same server; it is dropped afterwards."""
    with _created(admin_address(template), f"test_{uuid.uuid4().hex[:12]}") as url:
        yield url


def admin_address(url: str) -> str:
    """Return the address of a database of the same server from which others can be made and dropped."""
    return _GIVEN or address_of(url, "postgres")


def address_of(url: str, database: str) -> str:
    """Return `url` with another database in it."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def _migrate(url: str, home: Path) -> None:
    with open_warehouse(Settings(home=home, warehouse_url=url), creates=True):
        pass
    closed = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(str(make_url(url).database)))
    with psycopg.connect(admin_address(url), autocommit=True) as connection:
        # A database cannot be copied while anybody is connected, and TimescaleDB sends a worker into each that is open.
        connection.execute(closed)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (make_url(url).database,)
        )


@contextmanager
def _created(admin: str, name: str, template: str | None = None) -> Iterator[str]:
    create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        create += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(create)
        try:
            yield address_of(admin, name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
