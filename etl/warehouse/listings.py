"""Beginning and end of each series, as far as loads have found out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, text, update

from etl.schema import AbsenceKind
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe, from_ms, to_ms
from etl.warehouse import tables
from etl.warehouse.absences import Absence, read_absences
from etl.warehouse.reading import known_series, span_of_candles
from etl.warehouse.slots import span_of_retired

# Of each series a few look-ups in indexes: judging asks for it again and again, and absences are many. The first
# retired range that holds candles begins with one, or with an absence that ends before its first.
_KNOWN_FROM = text(
    """
    SELECT series.id, least(
        series.first_open,
        (SELECT min(open_time) FROM candles WHERE series_id = series.id),
        (SELECT lower(span) FROM absences WHERE series_id = series.id AND kind = 'refused' ORDER BY span LIMIT 1),
        CASE WHEN before.span @> retired.range_start THEN upper(before.span) ELSE retired.range_start END
    ) AS since
    FROM series
    LEFT JOIN LATERAL (
        SELECT range_start FROM checkpoints WHERE series_id = series.id AND is_retired AND rows > 0
        ORDER BY range_start LIMIT 1
    ) retired ON true
    LEFT JOIN LATERAL (
        SELECT span FROM absences WHERE series_id = series.id AND span <= tstzrange(retired.range_start, NULL)
        ORDER BY span DESC LIMIT 1
    ) before ON true
    WHERE exchange = :exchange AND timeframe = :timeframe
    """
)

_FIRST_FROM = text("SELECT min(open_time) FROM candles WHERE series_id = :series_id AND open_time >= :start")


@dataclass(frozen=True, slots=True)
class Listing:
    """Known facts of a series.

    Attributes:
        first_ms: When its first candle opens, if an exchange was asked for it.
        ended_ms: When its last one closed, if an exchange said that it trades it no more.
        held_until_ms: When the last candle that we hold closed; None if we hold none.
        unlisted_ms: When the exchange's list lacked it first, if it does.
    """

    first_ms: int | None = None
    ended_ms: int | None = None
    held_until_ms: int | None = None
    unlisted_ms: int | None = None


def read_listing(connection: Connection, series: Series) -> Listing:
    """Return what is known of `series`; nothing, if it was never loaded."""
    series_id = known_series(connection).get(series)
    if series_id is None:
        return Listing()
    own = tables.series
    columns = (own.c.first_open, own.c.ended, own.c.unlisted_since)
    first, ended, unlisted = connection.execute(select(*columns).where(own.c.id == series_id)).one()
    spans = (span_of_candles(connection, series_id), span_of_retired(connection, series_id, series.timeframe))
    last_ms = max((span.end_ms - 1 for span in spans if span is not None), default=None)
    return Listing(
        first_ms=None if first is None else to_ms(first),
        ended_ms=None if ended is None else to_ms(ended),
        held_until_ms=None if last_ms is None else last_ms + series.timeframe.ms,
        unlisted_ms=None if unlisted is None else to_ms(unlisted),
    )


def mark_unlisted(connection: Connection, series: Series, since_ms: int | None) -> None:
    """Keep when the exchange's list lacked `series` first; None once it lists it again."""
    own = tables.series
    where = own.c.id == known_series(connection)[series]
    since = None if since_ms is None else from_ms(since_ms)
    connection.execute(update(own).where(where).values(unlisted_since=since))


def write_listing(
    connection: Connection, series_id: int, *, first_ms: int | None, end_ms: int | None, last_ms: int | None
) -> None:
    """Keep where the series begins and ends, as far as a load has found out.

    What was taken as delisted of a series that goes on is due to be asked for again.

    Args:
        first_ms: When its first candle opens, if the exchange was asked.
        end_ms: When its last one closed, if the exchange trades it no more.
        last_ms: When the last candle opens that the load holds: a series that has one after its end goes on.
    """
    own = tables.series
    where = own.c.id == series_id
    if first_ms is not None:
        connection.execute(update(own).where(where).values(first_open=from_ms(first_ms)))
    if end_ms is not None:
        connection.execute(update(own).where(where).values(ended=from_ms(end_ms)))
    elif last_ms is not None:
        going_on = update(own).where(where, own.c.ended <= from_ms(last_ms)).values(ended=None)
        if connection.execute(going_on).rowcount:
            absent = tables.absences
            wrong = update(absent).where(absent.c.series_id == series_id, absent.c.kind == AbsenceKind.DELISTED.value)
            connection.execute(wrong.values(next_probe=func.now()))


def known_from(connection: Connection, exchange: str, timeframe: Timeframe) -> dict[int, int]:
    """Return by series since when it is known to be listed, in milliseconds; it is not there if that is not known.

    That is when its first candle opens, as the exchange says; or the first that came: stored, refused or retired.
    """
    rows = connection.execute(_KNOWN_FROM, {"exchange": exchange, "timeframe": timeframe.value})
    return {series_id: to_ms(since) for series_id, since in rows if since is not None}


def absences_before_first(connection: Connection, series_id: int, start: datetime) -> list[Absence]:
    """Return the absences from `start` to the next stored candle, or all after it without one."""
    first = connection.execute(_FIRST_FROM, {"series_id": series_id, "start": start}).scalar_one()
    if first is None:
        return [absence for absence in read_absences(connection, series_id) if absence.span.end > start]
    return read_absences(connection, series_id, TimeRange(start, first)) if first > start else []
