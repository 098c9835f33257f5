"""Wide candles of one series, made by the server of the stored ones: sooner than they could be sent."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection

from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.warehouse.features import read_features
from etl.warehouse.reading import driver_of

# Bucket by bucket, each found by the key: to group what lies in its order already PostgreSQL would sort all of it.
_BY_KEY = sql.SQL(
    """
SELECT extract(epoch FROM bucket)::bigint,
       (SELECT open FROM candles WHERE series_id = %(series_id)s AND open_time = made.first), made.high, made.low,
       (SELECT close FROM candles WHERE series_id = %(series_id)s AND open_time = made.last), volume, candles, flags
FROM generate_series(%(start)s, %(end)s - interval '1 ms', %(width)s) AS bucket, LATERAL (
    SELECT min(open_time) AS first, max(open_time) AS last, max(high) AS high, min(low) AS low, sum(volume) AS volume,
           count(*) AS candles, bit_or(flags) AS flags
    FROM candles WHERE series_id = %(series_id)s AND open_time >= bucket AND open_time < bucket + %(width)s
) made
WHERE candles > 0 ORDER BY bucket
"""
).as_bytes()

# In one go, since what is compressed is unpacked a thousand candles at a time.
_BY_TIMESCALE = sql.SQL(
    """
SELECT extract(epoch FROM time_bucket(%(width)s, open_time))::bigint, first(open, open_time), max(high), min(low),
       last(close, open_time), sum(volume), count(*), bit_or(flags)
FROM candles WHERE series_id = %(series_id)s AND open_time >= %(start)s AND open_time < %(end)s GROUP BY 1 ORDER BY 1
"""
).as_bytes()


class MadeCandles(TypedDict):
    """Columns of candles that are made of others, (n,) each, ascending; prices in quote and volume in base currency.

    Attributes:
        time_s: When each opens, seconds since the epoch.
        candles: Of how many stored candles each is.
        flags: Bits of `Flag` that any of them has.
    """

    time_s: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    candles: NDArray[np.int64]
    flags: NDArray[np.int64]


def make_candles(connection: Connection, series_id: int, time_range: TimeRange, width: Timeframe) -> MadeCandles:
    """Return the candles of `width` that those stored in a range make, of each slot that has any.

    Args:
        time_range: It begins and ends on the grid of `width`.
    """
    statement = _BY_TIMESCALE if read_features(connection).has_all else _BY_KEY
    bounds = {"series_id": series_id, "start": time_range.start, "end": time_range.end, "width": width.delta}
    rows = driver_of(connection).cursor(binary=True).execute(statement, bounds).fetchall()
    times, opened, high, low, close, volume, candles, flags = zip(*rows, strict=True) if rows else ((),) * 8
    return MadeCandles(
        time_s=np.array(times, dtype=np.int64),
        open=np.array(opened, dtype=np.float64),
        high=np.array(high, dtype=np.float64),
        low=np.array(low, dtype=np.float64),
        close=np.array(close, dtype=np.float64),
        volume=np.array(volume, dtype=np.float64),
        candles=np.array(candles, dtype=np.int64),
        flags=np.array(flags, dtype=np.int64),
    )
