"""Rows of the tables of absences, many in one statement: a thin series has an absence for nearly each candle."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.errors import StoreError
from etl.schema import AbsenceKind, ColumnKind
from etl.series import TimeRange
from etl.timeframe import EPOCH, from_ms
from etl.warehouse.copying import PG_EPOCH_MS, raw, signed, to_array
from etl.warehouse.reading import driver_of

if TYPE_CHECKING:
    from etl.warehouse.absences import Absence

_AT_ONCE = 8192  # rows; what is encoded while the server takes in those before
_MICROSECOND = timedelta(microseconds=1)
_PG_EPOCH = from_ms(PG_EPOCH_MS)
_PROBES = struct.Struct(">ii")
_READ = """
SELECT lower(span) AT TIME ZONE 'UTC', upper(span) AT TIME ZONE 'UTC',
    kind, evidence, first_seen, asked_at, probes, next_probe
FROM absences WHERE series_id = %(series_id)s {overlapping} ORDER BY span
"""
_READ_ALL = _READ.format(overlapping="").encode()
_READ_RANGE = _READ.format(overlapping="AND span && tstzrange(%(start)s, %(end)s)").encode()
_READ_COLUMNS = b"""
SELECT array_agg(coalesce(lower(span), '-infinity')), array_agg(coalesce(upper(span), 'infinity')),
    array_agg(coalesce(asked_at, 'epoch')), string_agg(kind, ','), json_agg(evidence)
FROM (SELECT span, asked_at, kind, evidence FROM absences
      WHERE series_id = %(series_id)s AND span && tstzrange(%(start)s, %(end)s) ORDER BY span) ordered
"""
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
_COPY = b"COPY absences (series_id, span, kind, evidence, asked_at, probes, next_probe%s) FROM STDIN (FORMAT binary)"
# Of a row: its number of columns, and before each value its width. A range says that its start belongs to it.
_SERIES_AND_SPAN = struct.Struct(">hiiiBiqiq")
_BOUNDED, _BOUNDS_WIDTH = 2, 25
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


@dataclass(frozen=True, slots=True, eq=False)
class AbsenceColumns:
    """Absences of one series, ascending: a column each.

    Attributes:
        start_ms: (n,) milliseconds since the epoch.
        end_ms: (n,) exclusive.
        asked_ms: (n,) when the exchange was last asked; 0 if it never was.
        kinds: n of them.
        evidence: n texts.
    """

    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    asked_ms: NDArray[np.int64]
    kinds: Sequence[AbsenceKind]
    evidence: Sequence[str]


def read_columns(connection: Connection, series_id: int, time_range: TimeRange) -> AbsenceColumns:
    """Return the absences that overlap `time_range`, whole: a hundredth of what `read_absences` takes for many.

    Raises:
        StoreError: One has no bounds.
    """
    bounds = {"series_id": series_id, "start": time_range.start, "end": time_range.end}
    answer = driver_of(connection).cursor(binary=True).execute(_READ_COLUMNS, bounds)
    moments = [to_array(raw(answer, place), ColumnKind.TIME) for place in range(3)]
    kinds, evidence = ((raw(answer, place) or b"").decode() for place in (3, 4))
    infinite = np.iinfo(np.int64)
    if len(moments[0]) and (moments[0].min() == infinite.min or moments[1].max() == infinite.max):
        raise StoreError(f"an absence of series {series_id} without bounds is recorded; delete it, and ingest again")
    start_ms, end_ms, asked_ms = (moment // 1000 + PG_EPOCH_MS for moment in moments)
    known = {kind.value: kind for kind in AbsenceKind}
    named = [known[kind] for kind in kinds.split(",")] if kinds else []
    return AbsenceColumns(start_ms, end_ms, asked_ms, named, json.loads(evidence or "[]"))


def delete_rows(connection: Connection, series_id: int, gone: Sequence[Absence]) -> None:
    """Delete absences of just these spans."""
    if gone:
        driver_of(connection).execute(_DELETE_ROWS, {"series_id": series_id, **_spans([one.span for one in gone])})


def update_rows(connection: Connection, series_id: int, altered: Sequence[Absence]) -> None:
    """Let absences of just these spans be as given."""
    if altered:
        driver_of(connection).execute(_UPDATE_ROWS, {"series_id": series_id, **_values(altered)})


def insert_rows(connection: Connection, series_id: int, fresh: Sequence[Absence]) -> None:
    """Insert absences, by COPY since there may be as many as candles; what was not seen before is as of now."""
    for is_new in (True, False):
        rows = [one for one in fresh if (one.first_seen is None) is is_new]
        if rows:
            statement = _COPY % (b"" if is_new else b", first_seen")
            with driver_of(connection).cursor().copy(statement) as copy, signed(copy.write) as write:
                for first in range(0, len(rows), _AT_ONCE):
                    write(b"".join(_encoded(series_id, one, is_new) for one in rows[first : first + _AT_ONCE]))


def _encoded(series_id: int, one: Absence, is_new: bool) -> bytes:
    span = (_sent(one.span.start), _sent(one.span.end))
    parts = (
        _SERIES_AND_SPAN.pack(7 if is_new else 8, 4, series_id, _BOUNDS_WIDTH, _BOUNDED, 8, span[0], 8, span[1]),
        _text(one.kind.value),
        _text(one.evidence),
        _moment(one.asked_at),
        _PROBES.pack(4, one.probes),
        _moment(one.next_probe),
        b"" if is_new else _moment(one.first_seen),
    )
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">i", len(encoded)) + encoded


@lru_cache(maxsize=1024)
def _moment(moment: datetime | None) -> bytes:
    return struct.pack(">i", -1) if moment is None else struct.pack(">iq", 8, _sent(moment))


def _sent(moment: datetime) -> int:
    """Return the microseconds that PostgreSQL counts."""
    return (moment - _PG_EPOCH) // _MICROSECOND


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
