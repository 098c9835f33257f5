"""From when to when a series is held and accounted for, without looking at its candles one by one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from etl.series import Series
from etl.timeframe import Timeframe

# The days say where the first and the last candle lie; where the archive alone keeps those, the day is all we have.
_LAST = """
    LEFT JOIN LATERAL (
        SELECT CAST(day AS timestamp) AT TIME ZONE 'UTC' AS midnight FROM quality
        WHERE series_id = series.id AND stored > 0 ORDER BY day DESC LIMIT 1
    ) last ON true
    LEFT JOIN LATERAL (
        SELECT max(open_time) AS at FROM candles WHERE series_id = series.id
        AND open_time >= last.midnight AND open_time < last.midnight + interval '24 hours'
    ) closing ON true
"""
_LAST_OPENS = text(
    f"""
    SELECT series.exchange, series.symbol, series.timeframe, coalesce(closing.at, last.midnight) AS last
    FROM series {_LAST} WHERE last.midnight IS NOT NULL
    """  # noqa: S608  # made of a constant
)
_EXTENTS = text(
    f"""
    SELECT series.exchange, series.symbol, series.timeframe, series.ended,
           coalesce(opening.at, first.midnight) AS first, coalesce(closing.at, last.midnight) AS last,
           (SELECT upper(span) FROM unnest(covered.spans) AS span ORDER BY span LIMIT 1) AS watermark,
           upper(covered.spans) AS end, covered.last_load
    FROM series {_LAST}
    LEFT JOIN LATERAL (
        SELECT CAST(day AS timestamp) AT TIME ZONE 'UTC' AS midnight FROM quality
        WHERE series_id = series.id AND stored > 0 ORDER BY day LIMIT 1
    ) first ON true
    LEFT JOIN LATERAL (
        SELECT min(open_time) AS at FROM candles WHERE series_id = series.id
        AND open_time >= first.midnight AND open_time < first.midnight + interval '24 hours'
    ) opening ON true
    LEFT JOIN LATERAL (
        SELECT range_agg(tstzrange(range_start, range_end)) AS spans, max(loaded_at) AS last_load
        FROM checkpoints WHERE series_id = series.id
    ) covered ON true
    """  # noqa: S608  # made of a constant
)


@dataclass(frozen=True, slots=True)
class Extent:
    """Reach of a series.

    Attributes:
        first: Open time of the first candle that is held; of one that the archive alone keeps the midnight before it.
        last: Of the last one, likewise.
        watermark: The exclusive end of the contiguous accounted-for range that begins first.
        end: The exclusive end of the last accounted-for range.
        ended: When the last candle closed of a series that is traded no more.
        last_load: When a load of the series was committed for the last time.
    """

    series: Series
    first: datetime | None
    last: datetime | None
    watermark: datetime | None
    end: datetime | None
    ended: datetime | None
    last_load: datetime | None


def read_extents(connection: Connection) -> list[Extent]:
    """Return how far each series reaches, in the order of their names."""
    rows = connection.execute(_EXTENTS)
    found = [
        Extent(
            Series(row.exchange, row.symbol, Timeframe(row.timeframe)),
            *(row.first, row.last, row.watermark, row.end, row.ended, row.last_load),
        )
        for row in rows
    ]
    return sorted(found, key=lambda extent: extent.series)


def read_last_opens(connection: Connection) -> dict[Series, datetime]:
    """Return `Extent.last` of each series that holds a candle, without a look at its checkpoints."""
    rows = connection.execute(_LAST_OPENS)
    return {Series(exchange, symbol, Timeframe(timeframe)): last for exchange, symbol, timeframe, last in rows}
