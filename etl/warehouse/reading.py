"""Series that the warehouse knows, and their stored candles."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import numpy as np
import psycopg
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from etl.errors import ConfigError
from etl.series import Series, TimeRange, spelled_as
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import tables
from etl.warehouse.copying import (
    copy_last,
    copy_out,
    copy_overruled,
    fetch_counted,
    fetch_out,
    fetch_sourced,
    fetch_times,
)

Driver = psycopg.Connection[tuple[Any, ...]]


def known_series(connection: Connection) -> dict[Series, int]:
    """Return every series with its id, in the order of their names."""
    rows = connection.execute(select(tables.series))
    found = {Series(row.exchange, row.symbol, Timeframe(row.timeframe)): row.id for row in rows}
    return dict(sorted(found.items()))


def find_series(connection: Connection, series: Series) -> int:
    """Return the number of a series.

    Raises:
        ConfigError: It was never loaded; the message names the nearest that was.
    """
    known = known_series(connection)
    if series not in known:
        raise ConfigError(f"{series} was never loaded{spelled_as(series, known)}")
    return known[series]


def span_of_candles(connection: Connection, series_id: int) -> TimeRange | None:
    """Return the range from the first stored candle's open time to just after the last one's; None if there is none."""
    opened = tables.candles.c.open_time
    first, last = connection.execute(
        select(func.min(opened), func.max(opened)).where(tables.candles.c.series_id == series_id)
    ).one()
    return None if first is None else TimeRange.from_ms(to_ms(first), to_ms(last) + 1)


def count_candles(connection: Connection, series_id: int) -> int:
    """Return how many candles of the series are stored."""
    return connection.execute(select(func.count()).where(tables.candles.c.series_id == series_id)).scalar_one()


def read_candles(
    connection: Connection, series_id: int, time_range: TimeRange, as_of: datetime | None = None
) -> pa.Table:
    """Return the stored candles that open in `time_range`: CANDLE_SCHEMA, ascending by open_time.

    Args:
        as_of: Return what was stored at that moment, by the database's clock, with the flags that it had when it was
            replaced; without, what is now.
    """
    with cursor_of(connection) as cursor:
        return copy_out(cursor, series_id, time_range, as_of)


def read_candles_at_once(connection: Connection, series_id: int, time_range: TimeRange) -> pa.Table:
    """Return what `read_candles` does, sooner, of a range that holds a million candles at most."""
    with cursor_of(connection) as cursor:
        return fetch_out(cursor, series_id, time_range)


def read_last_candle(
    connection: Connection, series_id: int, before: datetime, as_of: datetime | None = None
) -> pa.Table:
    """Return the last stored candle that opens before a moment, or none; as `read_candles`."""
    with cursor_of(connection) as cursor:
        return copy_last(cursor, series_id, before, as_of)


def read_overruled(connection: Connection, series_id: int, time_range: TimeRange) -> pa.Table:
    """Return, of the candles in `time_range` that a person has released, the values that they have replaced."""
    with cursor_of(connection) as cursor:
        return copy_overruled(cursor, series_id, time_range)


def read_open_times(connection: Connection, series_id: int, time_range: TimeRange) -> NDArray[np.int64]:
    """Return when the stored candles open that do in `time_range`: (n,) milliseconds since the epoch, ascending."""
    with cursor_of(connection) as cursor:
        return fetch_times(cursor, series_id, time_range)


def read_counted(
    connection: Connection, series_id: int, time_range: TimeRange, as_of: datetime | None = None
) -> dict[str, NDArray[Any]]:
    """Return COUNTED_COLUMNS of the stored candles that open in `time_range`: as `to_columns`, ascending by open_time.

    Args:
        time_range: Of a million candles at most.
        as_of: As for `read_candles`.
    """
    with cursor_of(connection) as cursor:
        return fetch_counted(cursor, series_id, time_range, as_of)


def read_sourced(connection: Connection, series_id: int, time_range: TimeRange) -> dict[str, NDArray[Any]]:
    """Return SOURCED_COLUMNS of the stored candles that open in `time_range`: as `to_columns`, ascending."""
    with cursor_of(connection) as cursor:
        return fetch_sourced(cursor, series_id, time_range)


def cursor_of(connection: Connection) -> psycopg.Cursor[tuple[object, ...]]:
    """Return a psycopg cursor in the same transaction: COPY is psycopg's, not SQLAlchemy's."""
    return driver_of(connection).cursor()


def driver_of(connection: Connection) -> Driver:
    """Return the driver's connection beneath SQLAlchemy's."""
    return cast("Driver", connection.connection.driver_connection)
