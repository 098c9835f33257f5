"""Status of each series, for people: one row a series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from etl.series import Series
from etl.timeframe import from_ms
from etl.warehouse import tables
from etl.warehouse.absences import read_absences
from etl.warehouse.checkpoints import covered_ranges, read_checkpoints
from etl.warehouse.quality import Quality, read_quality
from etl.warehouse.quarantine import State, Wanted, count_quarantine
from etl.warehouse.reading import count_candles, known_series, span_of_candles
from etl.warehouse.revisions import count_revisions
from etl.warehouse.slots import span_of_retired


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """One series.

    Attributes:
        start: Where the first accounted-for range begins.
        watermark: The exclusive end of the contiguous accounted-for range that begins there.
        end: The exclusive end of the last accounted-for range; between the watermark and it something is not loaded.
        first: Open time of the first candle that is held.
        last: Open time of the last one.
        candles: How many are held.
        retired: How many of them the archive alone holds.
        absent: Expected and not held, by kind.
        refused: Rows in quarantine, by rule; those that were released are not among them.
        flagged: Candles by flag, of COUNTED_FLAGS; one may have several.
        last_load: When a load of the series was committed for the last time, whatever range it was of.
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
    retired: int
    absent: Mapping[str, int]
    refused: Mapping[str, int]
    flagged: Mapping[str, int]
    revisions: int
    last_load: datetime | None
    first_open: datetime | None
    ended: datetime | None

    @property
    def quarantined(self) -> int:
        """The number of rows in quarantine."""
        return sum(self.refused.values())

    def lag(self, now: datetime) -> timedelta | None:
        """Return how long ago the last accounted-for range ended; None if there is none or the series has ended."""
        return None if self.end is None or self.ended is not None else max(now - self.end, timedelta(0))


def read_status(connection: Connection) -> list[SeriesStatus]:
    """Return a row for every series that was ever loaded, in the order of their names."""
    rows = [_status(connection, series, series_id) for series, series_id in known_series(connection).items()]
    # A first load that was cut off leaves no more than the series' name.
    return [row for row in rows if row.start or row.candles or row.absent or row.first_open or row.ended]


def _status(connection: Connection, series: Series, series_id: int) -> SeriesStatus:
    covered = covered_ranges(connection, series_id)
    checkpoints = read_checkpoints(connection, series_id)
    held = (span_of_candles(connection, series_id), span_of_retired(connection, series_id, series.timeframe))
    spans = [span for span in held if span is not None]
    own = tables.series
    first_open, ended = connection.execute(select(own.c.first_open, own.c.ended).where(own.c.id == series_id)).one()
    absent: Counter[str] = Counter()
    for absence in read_absences(connection, series_id):
        absent[absence.kind] += absence.span.count(series.timeframe)
    known = Quality()
    for day in read_quality(connection, series_id).values():
        known.add(day)
    retired = sum(checkpoint.rows for checkpoint in checkpoints if checkpoint.is_retired)
    return SeriesStatus(
        series=series,
        start=covered[0].start if covered else None,
        watermark=covered[0].end if covered else None,
        end=covered[-1].end if covered else None,
        first=min((span.start for span in spans), default=None),
        last=max((from_ms(span.end_ms - 1) for span in spans), default=None),
        candles=count_candles(connection, series_id) + retired,
        retired=retired,
        absent=absent,
        refused=count_quarantine(connection, Wanted([series], states=(State.OPEN, State.CONFIRMED))),
        flagged=known.flagged,
        revisions=count_revisions(connection, series_id),
        last_load=max((checkpoint.loaded_at for checkpoint in checkpoints), default=None),
        first_open=first_open,
        ended=ended,
    )
