"""Reading by several transactions that see the same, so that what is long is read side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql
from sqlalchemy import Connection, func, select, text

from etl.warehouse.database import Warehouse
from etl.warehouse.reading import cursor_of

_READING = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@contextmanager
def begin_reading(warehouse: Warehouse, beside: Connection | None = None) -> Iterator[Connection]:
    """Open a transaction that sees what was committed when it first looks, and nothing that comes later.

    Args:
        beside: Another such transaction, under way: see just what it sees.

    Raises:
        StoreUnavailableError: The server cannot be reached, or went away.
    """
    snapshot = None if beside is None else beside.execute(select(func.pg_export_snapshot())).scalar_one()
    with warehouse.begin() as connection:
        connection.execute(_READING)
        if snapshot is not None:
            with cursor_of(connection) as cursor:
                cursor.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        yield connection
