"""The quality of each day of a series: a row a day, written in the transaction of whatever changes the day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Row, select

from etl.schema import COUNTED_FLAGS, UNLOADED, AbsenceKind, Flag
from etl.series import TimeRange, clip, subtract, united, utc_day
from etl.timeframe import Timeframe, from_ms
from etl.warehouse import tables
from etl.warehouse.absences import Absence
from etl.warehouse.around import Accounts, days_of, read_accounts
from etl.warehouse.copying import COUNTED_COLUMNS
from etl.warehouse.day_candles import DayCandle, day_slices, make_day_candles
from etl.warehouse.reading import driver_of, read_counted

_DELETE = "DELETE FROM quality WHERE series_id = %(series_id)s AND day >= %(start)s AND day < %(end)s"
_WRITE = """
INSERT INTO quality
    (series_id, day, expected, stored, absent, refused, flagged, unjudged, revisions, open, high, low, close, volume)
VALUES (%(series_id)s, %(day)s, %(expected)s, %(stored)s, %(absent)s, %(refused)s, %(flagged)s, %(unjudged)s,
    %(revisions)s, %(open)s, %(high)s, %(low)s, %(close)s, %(volume)s)
ON CONFLICT (series_id, day) DO UPDATE SET
    expected = excluded.expected, stored = excluded.stored, absent = excluded.absent, refused = excluded.refused,
    flagged = excluded.flagged, unjudged = excluded.unjudged, revisions = excluded.revisions, open = excluded.open,
    high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume
"""
_WRITE_CANDLE = """
UPDATE quality SET open = %(open)s, high = %(high)s, low = %(low)s, close = %(close)s, volume = %(volume)s
WHERE series_id = %(series_id)s AND day = %(day)s AND open IS NULL
"""
_CANDLE = ("open", "high", "low", "close", "volume")
_COUNTED = [flag for flag in Flag if flag in COUNTED_FLAGS]
_EPOCH = date(1970, 1, 1)
_AT_ONCE = timedelta(days=366)  # so that memory does not grow with the range


@dataclass(slots=True)
class Quality:
    """Counts of the candles that open within a day or more.

    Attributes:
        expected: Candles that are accounted for: `stored + sum(absent)`.
        absent: By kind.
        refused: Rows in quarantine, by rule; those that were released are not among them.
        flagged: Candles by flag, of COUNTED_FLAGS; one may have several.
        unjudged: Candles that traded, and before which too few did for the rules about outliers.
        revisions: Values that were replaced.
        candle: Of one day: what is stored of it makes this; None if that is nothing, or an earlier version has counted.
    """

    expected: int = 0
    stored: int = 0
    absent: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    flagged: dict[str, int] = field(default_factory=dict)
    unjudged: int = 0
    revisions: int = 0
    candle: DayCandle | None = None

    def add(self, other: Quality) -> None:
        """Count `other` in, all but its candle."""
        self.expected += other.expected
        self.stored += other.stored
        self.unjudged += other.unjudged
        self.revisions += other.revisions
        for mine, theirs in ((self.absent, other.absent), (self.refused, other.refused), (self.flagged, other.flagged)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count


def read_quality(connection: Connection, series_id: int, time_range: TimeRange | None = None) -> dict[date, Quality]:
    """Return the quality of each day that anything is known of, ascending.

    Args:
        time_range: Which days: all that it touches; without, all there are.
    """
    own = tables.quality.c
    counts = (own.day, own.expected, own.stored, own.absent, own.refused, own.flagged, own.unjudged, own.revisions)
    query = select(*counts, *(own[name] for name in _CANDLE)).where(own.series_id == series_id).order_by(own.day)
    if time_range is not None:
        days = days_of(time_range)
        query = query.where(own.day >= days.start.date(), own.day < days.end.date())
    return {row.day: _to_quality(row) for row in connection.execute(query)}


def _to_quality(row: Row[Any]) -> Quality:
    candle = None if row.open is None else DayCandle(row.open, row.high, row.low, row.close, row.volume)
    return Quality(row.expected, row.stored, row.absent, row.refused, row.flagged, row.unjudged, row.revisions, candle)


def days_without_candle(connection: Connection, series_id: int) -> list[TimeRange]:
    """Return the days of which something is stored and an earlier version has made no candle: ascending, united."""
    own = tables.quality.c
    days = select(own.day).where(own.series_id == series_id, own.stored > 0, own.open.is_(None))
    return united(utc_day(day) for day in connection.execute(days).scalars())


def write_day_candles(connection: Connection, series_id: int, candles: Mapping[date, DayCandle]) -> None:
    """Let days that have no candle have these."""
    rows = [{"series_id": series_id, "day": day, **asdict(candle)} for day, candle in candles.items()]
    driver_of(connection).cursor().executemany(_WRITE_CANDLE, rows)


def refresh_quality(connection: Connection, series_id: int, timeframe: Timeframe, time_range: TimeRange) -> None:
    """Count anew each day that `time_range` touches."""
    days = days_of(time_range)
    write_quality(connection, series_id, days, count_quality(connection, series_id, timeframe, days))


def write_quality(connection: Connection, series_id: int, days: TimeRange, counted: Mapping[date, Quality]) -> None:
    """Let `counted` be what is known of `days`."""
    cursor = driver_of(connection).cursor()
    if len(counted) < days.count(Timeframe.D1):
        cursor.execute(_DELETE, {"series_id": series_id, "start": days.start.date(), "end": days.end.date()})
    for day, quality in counted.items():
        cursor.execute(_WRITE, _to_row(series_id, day, quality))


def _to_row(series_id: int, day: date, quality: Quality) -> dict[str, Any]:
    counts = {name: getattr(quality, name) for name in ("expected", "stored", "unjudged", "revisions")}
    by_name = {name: Jsonb(getattr(quality, name)) for name in ("absent", "refused", "flagged")}
    candle = {name: quality.candle and getattr(quality.candle, name) for name in _CANDLE}
    return {"series_id": series_id, "day": day, **counts, **by_name, **candle}


def count_quality(
    connection: Connection, series_id: int, timeframe: Timeframe, time_range: TimeRange
) -> dict[date, Quality]:
    """Count the quality of each day that `time_range` touches, from the candles and the accounts of them."""
    counted: dict[date, Quality] = {}
    for days in days_of(time_range).windows(_AT_ONCE // timedelta(milliseconds=1)):
        columns = read_counted(connection, series_id, days)
        accounts = read_accounts(driver_of(connection), series_id, days)
        counted |= _as_retired(connection, series_id, accounts, tally(days, accounts, timeframe, columns))
    return counted


def _as_retired(
    connection: Connection, series_id: int, accounts: Accounts, counted: dict[date, Quality]
) -> dict[date, Quality]:
    """Let stay what is known of candles that have left the warehouse, which they do by whole days."""
    spans = [clip(days_of(one.time_range), accounts.days) for one in accounts.checkpoints if one.is_retired]
    for span in filter(None, spans):
        for day, known in read_quality(connection, series_id, span).items():
            counted.setdefault(day, Quality())
            own = counted[day]
            own.stored, own.candle = known.stored, known.candle
            own.flagged, own.unjudged = known.flagged, known.unjudged
    return dict(sorted(counted.items()))


def tally(
    days: TimeRange, accounts: Accounts, timeframe: Timeframe, columns: Mapping[str, NDArray[Any]]
) -> dict[date, Quality]:
    """Count the quality of each day that anything is known of, ascending.

    Args:
        days: Whole ones, of those that `accounts` tells of.
        columns: What is stored, of other days, too: COUNTED_COLUMNS at least, (n,) each, as `to_columns`; in any order.
    """
    counted: defaultdict[date, Quality] = defaultdict(Quality)
    _count_candles(days, columns, counted)
    for (day, kind), slots in _absent_by_day(accounts.absences, days, timeframe).items():
        counted[day].absent[kind] = slots
        if kind in UNLOADED:
            counted[day].expected += slots
    for span in (*accounts.covered, *_refused_alone(accounts)):
        for day, slots in _slots_by_day(span, days, timeframe):
            counted[day].expected += slots
    for day in (days.start.date() + timedelta(days=n) for n in range(days.count(Timeframe.D1))):
        if day in accounts.refused:
            counted[day].refused = dict(accounts.refused[day])
        if day in accounts.revisions:
            counted[day].revisions = accounts.revisions[day]
    return dict(sorted(counted.items()))


def _refused_alone(accounts: Accounts) -> Iterator[TimeRange]:
    """Yield what is refused and no checkpoint covers: a row may be of it, and nobody has asked for it."""
    for absence in accounts.absences:
        if absence.kind is AbsenceKind.REFUSED:
            yield from subtract(absence.span, accounts.covered)


def _count_candles(days: TimeRange, columns: Mapping[str, NDArray[Any]], counted: defaultdict[date, Quality]) -> None:
    columns = _ascending(columns)
    for day, candle in make_day_candles(days, columns).items():
        counted[day].candle = candle
    is_flagged = (columns["flags"] & np.int16(COUNTED_FLAGS | Flag.UNJUDGED)) != 0
    for day, own in day_slices(days, columns["open_time"]).items():
        counted[day].stored = own.stop - own.start
        flags = columns["flags"][own][is_flagged[own]]
        counted[day].unjudged = int(np.count_nonzero(flags & np.int16(Flag.UNJUDGED)))
        for flag in _COUNTED if len(flags) else ():
            if count := np.count_nonzero(flags & np.int16(flag)):
                counted[day].flagged[str(flag.name).lower()] = int(count)


def _ascending(columns: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    times = columns["open_time"]
    if (np.diff(times) > 0).all():
        return columns
    order = np.argsort(times, kind="stable")
    return {column.name: columns[column.name][order] for column in COUNTED_COLUMNS}


def _absent_by_day(
    absences: Sequence[Absence], days: TimeRange, timeframe: Timeframe
) -> dict[tuple[date, AbsenceKind], int]:
    """Return how many candles of each kind each day lacks; nearly all absences begin and end within a day."""
    by_day: defaultdict[tuple[int, AbsenceKind], int] = defaultdict(int)
    day_ms, width_ms, first_ms, end_ms = Timeframe.D1.ms, timeframe.ms, days.start_ms, days.end_ms
    for absence in absences:
        start, end = absence.span.start_ms, absence.span.end_ms
        day = start // day_ms
        if first_ms <= start and end <= min(end_ms, (day + 1) * day_ms):
            by_day[day, absence.kind] += -(-end // width_ms) - -(-start // width_ms)
        else:
            for on, slots in _slots_by_day(absence.span, days, timeframe):
                by_day[(on - _EPOCH).days, absence.kind] += slots
    return {(_EPOCH + timedelta(days=day), kind): slots for (day, kind), slots in by_day.items() if slots}


def _slots_by_day(span: TimeRange, days: TimeRange, timeframe: Timeframe) -> Iterator[tuple[date, int]]:
    """Yield how many candles open in what each day has of a span. A timeframe divides a day, so a day begins a slot."""
    start_ms, end_ms = max(span.start_ms, days.start_ms), min(span.end_ms, days.end_ms)
    first = -(-start_ms // timeframe.ms) * timeframe.ms
    while first < end_ms:
        day_ms = first // Timeframe.D1.ms * Timeframe.D1.ms
        until = min(end_ms, day_ms + Timeframe.D1.ms)
        yield from_ms(day_ms).date(), -(-(until - first) // timeframe.ms)
        first = day_ms + Timeframe.D1.ms
