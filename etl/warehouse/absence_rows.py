"""Rows of the tables of absences, many in one statement: a thin series has an absence for nearly each candle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from etl.series import TimeRange
from etl.timeframe import EPOCH
from etl.warehouse.reading import driver_of

if TYPE_CHECKING:
    from etl.warehouse.absences import Absence

_MICROSECOND = timedelta(microseconds=1)
_READ = """
SELECT lower(span) AT TIME ZONE 'UTC', upper(span) AT TIME ZONE 'UTC',
    kind, evidence, first_seen, asked_at, probes, next_probe
FROM absences WHERE series_id = %(series_id)s {overlapping} ORDER BY span
"""
_READ_ALL = _READ.format(overlapping="").encode()
_READ_RANGE = _READ.format(overlapping="AND span && tstzrange(%(start)s, %(end)s)").encode()
# Numbers as one text, since psycopg takes longer over an array of moments than the server over the rows.
_MOMENT = "'epoch'::timestamptz + {} * interval '1 microsecond'"
_MOMENTS = "string_to_array(%({})s, ',', '')::int8[]"
_SPAN = f"tstzrange({_MOMENT.format('a')}, {_MOMENT.format('b')})"
_ROWS = f"""
unnest({_MOMENTS.format("starts")}, {_MOMENTS.format("ends")}, string_to_array(%(kinds)s, ','),
       string_to_array(%(places)s, ',')::int[], {_MOMENTS.format("first_seen")}, {_MOMENTS.format("asked_at")},
       string_to_array(%(probes)s, ',')::int[], {_MOMENTS.format("next_probe")})
AS row (a, b, kind, place, first_seen, asked_at, probes, next_probe)
"""
_DELETE = """
DELETE FROM absences USING unnest({starts}, {ends}) AS gone (a, b) WHERE series_id = %(series_id)s AND span = {span}
"""
_DELETE_ROWS = _DELETE.format(starts=_MOMENTS.format("starts"), ends=_MOMENTS.format("ends"), span=_SPAN).encode()
_INSERT = """
INSERT INTO absences (series_id, span, kind, evidence, first_seen, asked_at, probes, next_probe)
SELECT %(series_id)s, {span}, kind, (%(evidence)s::text[])[place], coalesce({first_seen}, now()), {asked_at}, probes,
    {next_probe}
FROM {rows}
"""
_UPDATE = """
UPDATE absences SET kind = row.kind, evidence = (%(evidence)s::text[])[place],
    first_seen = coalesce({first_seen}, now()), asked_at = {asked_at}, probes = row.probes, next_probe = {next_probe}
FROM {rows} WHERE series_id = %(series_id)s AND span = {span}
"""
_CHANGE = """
INSERT INTO absence_changes (series_id, span, kind_before, kind_after, evidence, run)
SELECT %(series_id)s, {span}, kind_before, kind_after, (%(evidence)s::text[])[place], %(run)s
FROM unnest({starts}, {ends}, string_to_array(%(before)s, ','), string_to_array(%(after)s, ',', ''),
            string_to_array(%(places)s, ',')::int[]) AS row (a, b, kind_before, kind_after, place)
"""
_WRITTEN = {name: _MOMENT.format(f"row.{name}") for name in ("first_seen", "asked_at", "next_probe")}
_INSERT_ROWS = _INSERT.format(rows=_ROWS, span=_SPAN, **_WRITTEN).encode()
_UPDATE_ROWS = _UPDATE.format(rows=_ROWS, span=_SPAN, **_WRITTEN).encode()
_INSERT_CHANGES = _CHANGE.format(starts=_MOMENTS.format("starts"), ends=_MOMENTS.format("ends"), span=_SPAN).encode()

AbsenceRow = tuple[datetime | None, datetime | None, str, str, datetime, datetime | None, int, datetime | None]
"""Start, end, kind, evidence, first_seen, asked_at, probes, next_probe."""


def read_rows(connection: Connection, series_id: int, time_range: TimeRange | None) -> list[AbsenceRow]:
    """Return the rows that overlap `time_range`, ascending; without a range all of the series."""
    cursor = driver_of(connection).cursor(binary=True)
    if time_range is None:
        cursor.execute(_READ_ALL, {"series_id": series_id})
    else:
        bounds = {"start": time_range.start, "end": time_range.end}
        cursor.execute(_READ_RANGE, {"series_id": series_id, **bounds})
    # Naive moments take on UTC in a third of the time that those of the session's zone take to turn to it.
    return [(_in_utc(start), _in_utc(end), *rest) for start, end, *rest in cursor.fetchall()]


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def delete_rows(connection: Connection, series_id: int, gone: Sequence[Absence]) -> None:
    """Delete absences of just these spans."""
    if gone:
        driver_of(connection).execute(_DELETE_ROWS, {"series_id": series_id, **_spans([one.span for one in gone])})


def update_rows(connection: Connection, series_id: int, altered: Sequence[Absence]) -> None:
    """Let absences of just these spans be as given."""
    if altered:
        driver_of(connection).execute(_UPDATE_ROWS, {"series_id": series_id, **_values(altered)})


def insert_rows(connection: Connection, series_id: int, fresh: Sequence[Absence]) -> None:
    """Insert absences."""
    if fresh:
        driver_of(connection).execute(_INSERT_ROWS, {"series_id": series_id, **_values(fresh)})


def insert_changes(
    connection: Connection, series_id: int, changes: Sequence[tuple[TimeRange, Absence, Absence | None]], run: str
) -> None:
    """Record changes of kind: where, what was, and what is; nothing where the candles are there."""
    if not changes:
        return
    values = {
        **_spans([span for span, _, _ in changes]),
        "before": ",".join(old.kind for _, old, _ in changes),
        "after": ",".join("" if new is None else new.kind for _, _, new in changes),
        **_evidence(["the candles are there now" if new is None else new.evidence for _, _, new in changes]),
    }
    driver_of(connection).execute(_INSERT_CHANGES, {"series_id": series_id, "run": run, **values})


def _values(rows: Sequence[Absence]) -> dict[str, Any]:
    return {
        **_spans([row.span for row in rows]),
        "kinds": ",".join(row.kind for row in rows),
        **_evidence([row.evidence for row in rows]),
        "first_seen": _moments(row.first_seen for row in rows),
        "asked_at": _moments(row.asked_at for row in rows),
        "probes": ",".join(str(row.probes) for row in rows),
        "next_probe": _moments(row.next_probe for row in rows),
    }


def _spans(spans: Sequence[TimeRange]) -> dict[str, Any]:
    return {"starts": _moments(span.start for span in spans), "ends": _moments(span.end for span in spans)}


def _evidence(texts: Sequence[str]) -> dict[str, Any]:
    """Return each text once, and which of them each row has, counted from 1."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts), 1)}
    return {"evidence": list(places), "places": ",".join(str(places[text]) for text in texts)}


def _moments(moments: Iterable[datetime | None]) -> str:
    """Return microseconds since the epoch, separated by commas; nothing for None."""
    return ",".join("" if moment is None else str((moment - EPOCH) // _MICROSECOND) for moment in moments)
