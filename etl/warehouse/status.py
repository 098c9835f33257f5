"""How each series stands, for people: one row a series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Table, func, select

from etl.schema import Series
from etl.timeframe import from_ms, to_ms
from etl.warehouse import tables
from etl.warehouse.absences import read_absences
from etl.warehouse.checkpoints import covered_ranges, read_checkpoints
from etl.warehouse.reading import count_candles, known_series, span_of_candles


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """One series.

    Attributes:
        start: Where the first accounted-for range begins.
        watermark: The exclusive end of the contiguous accounted-for range that begins there.
        end: The exclusive end of the last accounted-for range; beyond the watermark there is something to load.
        first: Open time of the first stored candle.
        last: Open time of the last one.
        absent: Expected and not held, by kind.
        quarantined: Refused rows.
        first_open: When the exchange's first candle opens, if it was asked.
        ended: When the last candle closed of a series that is traded no more.
    """

    series: Series
    start: datetime | None
    watermark: datetime | None
    end: datetime | None
    first: datetime | None
    last: datetime | None
    candles: int
    absent: Mapping[str, int]
    quarantined: int
    revisions: int
    last_load: datetime | None
    first_open: datetime | None
    ended: datetime | None


def read_status(connection: Connection) -> list[SeriesStatus]:
    """Return a row for every series that was ever loaded, in the order of their names."""
    return [_status(connection, series, series_id) for series, series_id in known_series(connection).items()]


def _status(connection: Connection, series: Series, series_id: int) -> SeriesStatus:
    covered = covered_ranges(connection, series_id)
    held = span_of_candles(connection, series_id)
    checkpoints = read_checkpoints(connection, series_id)
    own = tables.series
    first_open, ended = connection.execute(select(own.c.first_open, own.c.ended).where(own.c.id == series_id)).one()
    absent: dict[str, int] = {}
    for span in covered:
        for absence in read_absences(connection, series_id, span):
            absent[absence.kind] = absent.get(absence.kind, 0) + absence.span.count(series.timeframe)
    return SeriesStatus(
        series=series,
        start=covered[0].start if covered else None,
        watermark=covered[0].end if covered else None,
        end=covered[-1].end if covered else None,
        first=held.start if held else None,
        last=from_ms(to_ms(held.end) - 1) if held else None,
        candles=count_candles(connection, series_id),
        absent=absent,
        quarantined=_count(connection, tables.quarantine, series_id),
        revisions=_count(connection, tables.candle_revisions, series_id),
        last_load=checkpoints[-1].loaded_at if checkpoints else None,
        first_open=first_open,
        ended=ended,
    )


def _count(connection: Connection, table: Table, series_id: int) -> int:
    return connection.execute(select(func.count()).where(table.c.series_id == series_id)).scalar_one()
