"""Silences that files state: slots for which an imported file has a row that says that nothing was traded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

from etl.series import TimeRange, united
from etl.timeframe import Timeframe
from etl.warehouse.reading import driver_of

_INSERT = """
INSERT INTO stated_silences (series_id, span, run)
SELECT %(series_id)s, tstzrange(a, b), %(run)s
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS row (a, b)
ON CONFLICT DO NOTHING
"""
# By the index that knows ranges: a series may have as many of them as it has slots.
_OF_RANGE = text(
    """
    SELECT span FROM stated_silences
    WHERE int4range(series_id, series_id, '[]') = int4range(:series_id, :series_id, '[]')
    AND span && tstzrange(:start, :end)
    """
)


def write_stated(
    connection: Connection, series_id: int, timeframe: Timeframe, slots_ms: Iterable[int], run: str
) -> None:
    """Keep which slots a file states to be silent; what was stated before stays.

    Args:
        slots_ms: When they open, milliseconds since the epoch.
        run: The import.
    """
    spans = united(TimeRange.from_ms(at_ms, at_ms + timeframe.ms) for at_ms in slots_ms)
    if spans:
        bounds = {"starts": [span.start for span in spans], "ends": [span.end for span in spans]}
        driver_of(connection).execute(_INSERT, {"series_id": series_id, "run": run, **bounds})


def read_stated(connection: Connection, series_id: int, time_range: TimeRange) -> Sequence[TimeRange]:
    """Return the stretches that overlap a range and that files state to be silent; some may overlap one another."""
    found = connection.execute(_OF_RANGE, {"series_id": series_id, "start": time_range.start, "end": time_range.end})
    return [TimeRange(span.lower, span.upper) for span in found.scalars()]
