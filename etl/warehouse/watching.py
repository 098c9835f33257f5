"""Signs by which the pipeline is watched: absences that are still to be fetched or judged, channels that fail."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from etl.schema import AbsenceKind
from etl.series import Series
from etl.timeframe import Timeframe
from etl.warehouse import tables
from etl.warehouse.absences import ABSENCE_COLUMNS, Absence, to_absence
from etl.warehouse.incident_tables import channels
from etl.warehouse.tables import absences

_OPEN = (AbsenceKind.UNFETCHED.value, AbsenceKind.PENDING.value)


def open_absences(connection: Connection) -> dict[Series, list[Absence]]:
    """Return what could not be fetched so far, or not be judged, by series, ascending."""
    own, series = absences.c, tables.series.c
    query = (
        select(series.exchange, series.symbol, series.timeframe, *ABSENCE_COLUMNS)
        .join(tables.series, own.series_id == series.id)
        .where(own.kind.in_(_OPEN))
        .order_by(own.series_id, own.span)
    )
    found: dict[Series, list[Absence]] = {}
    for exchange, symbol, timeframe, *columns in connection.execute(query):
        found.setdefault(Series(exchange, symbol, Timeframe(timeframe)), []).append(to_absence(*columns))
    return found


def failing_channels(connection: Connection) -> dict[str, datetime]:
    """Return since when each channel fails that does."""
    own = channels.c
    query = select(own.name, own.failing_since).where(own.failing_since.is_not(None)).order_by(own.name)
    return {row.name: row.failing_since for row in connection.execute(query)}
