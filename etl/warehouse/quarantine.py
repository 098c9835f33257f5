"""Refused rows, and what a person has decided about them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from etl.schema import Origin
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe, from_ms
from etl.warehouse.tables import quarantine, series


class State(StrEnum):
    """Decision of a person: nothing yet, that the row is a candle, or that the refusal stands."""

    OPEN = "open"
    RELEASED = "released"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A refused row.

    Attributes:
        open_time: Where it belongs, if it says so.
        later_open_time: Where it belongs if not at `open_time`, which it does not tell; None if it does.
        row: As received, as JSON.
        cells: Its values as received, by the names of our columns; None if they had no places.
        origin: How it reached us.
        decided_at: When a person decided; None while it is open.
    """

    id: int
    series: Series
    open_time: datetime | None
    rule: str
    evidence: str
    row: str
    cells: Mapping[str, Any] | None
    origin: Origin
    refused_at: datetime
    run: str
    state: State
    decided_at: datetime | None
    note: str | None
    later_open_time: datetime | None = None

    @property
    def slots(self) -> tuple[TimeRange, ...]:
        """The slots in which the row may open, on the grid or off it: none, one, or two."""
        starts = [self.series.timeframe.floor(at) for at in (self.open_time, self.later_open_time) if at is not None]
        return tuple(TimeRange(start, start + self.series.timeframe.delta) for start in starts)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filter of refused rows; what is None or empty keeps none out.

    Attributes:
        time_range: Those that belong there, or may; rows that say no time belong nowhere.
    """

    series: Collection[Series] = ()
    rule: str | None = None
    states: Collection[State] = ()
    time_range: TimeRange | None = None


class QuarantineRow(Protocol):
    """A refused row, as validation describes it."""

    @property
    def open_time_ms(self) -> int | None:
        """The open time of the row in milliseconds, if it says so."""

    @property
    def rule(self) -> str:
        """The rule that refused it."""

    @property
    def evidence(self) -> str:
        """The evidence of the rule."""

    @property
    def row(self) -> str:
        """The row as received."""

    @property
    def cells(self) -> str | None:
        """Its values as received, by the names of our columns, as JSON; None if they have no places."""

    @property
    def origin(self) -> int:
        """The route by which it reached us."""

    @property
    def later_open_time_ms(self) -> int | None:
        """The later of two open times, if it states one of them and does not tell which."""


def write_quarantine(connection: Connection, series_id: int, refused: Sequence[QuarantineRow], run: str) -> None:
    """Put rows into quarantine. One that was refused before is there already, and stays as a person decided."""
    rows = [
        {
            "series_id": series_id,
            "open_time": None if row.open_time_ms is None else from_ms(row.open_time_ms),
            "later_open_time": None if row.later_open_time_ms is None else from_ms(row.later_open_time_ms),
            "rule": row.rule,
            "evidence": row.evidence,
            "row": row.row,
            "cells": row.cells,
            "source": row.origin,
            "run": run,
        }
        for row in refused
    ]
    own, insertion = quarantine.c, upsert(quarantine)
    new = insertion.excluded
    # Earlier versions did not keep the cells, nor the time of a row that is torn.
    lacks_facts = (own.cells.is_(None) & new.cells.is_not(None)) | (
        own.open_time.is_(None) & new.open_time.is_not(None)
    )
    same = [own.series_id, own.rule, func.md5(own.row)]
    kept = {
        "open_time": func.coalesce(own.open_time, new.open_time),
        "later_open_time": case((own.open_time.is_(None), new.later_open_time), else_=own.later_open_time),
        "cells": new.cells,
        "source": new.source,
    }
    connection.execute(insertion.on_conflict_do_update(index_elements=same, set_=kept, where=lacks_facts), rows)


def read_quarantine(connection: Connection, wanted: Wanted, limit: int | None = None) -> list[Quarantined]:
    """Return refused rows, the latest refusal first."""
    return _read(connection, _conditions(wanted), limit)


def find_quarantined(connection: Connection, row_id: int) -> Quarantined | None:
    """Return the refused row of that number, if there is one."""
    found = _read(connection, [quarantine.c.id == row_id], 1)
    return found[0] if found else None


def read_slot(connection: Connection, row: Quarantined, slot: TimeRange) -> list[Quarantined]:
    """Return the refused rows of a slot besides `row`, the latest refusal first."""
    return [one for one in read_quarantine(connection, Wanted([row.series], time_range=slot)) if one.id != row.id]


def released_among(connection: Connection, series_id: int, rows: Collection[str]) -> set[str]:
    """Return those of some rows, as received, that a person has released."""
    own = quarantine.c
    query = select(own.row).where(own.series_id == series_id, own.state == State.RELEASED.value)
    return set(connection.execute(query.where(func.md5(own.row).in_([func.md5(row) for row in rows]))).scalars())


def count_quarantine(connection: Connection, wanted: Wanted) -> dict[str, int]:
    """Return how many rows each rule has refused."""
    own = quarantine.c
    query = select(own.rule, func.count()).join(series).where(*_conditions(wanted)).group_by(own.rule)
    return {rule: count for rule, count in connection.execute(query.order_by(own.rule))}


def decide(connection: Connection, row_id: int, before: State, state: State, note: str | None) -> bool:
    """Record what a person decides. Returns False if it is not what it was: somebody else has decided meanwhile."""
    own = quarantine
    statement = update(own).where(own.c.id == row_id, own.c.state == before.value)
    done = connection.execute(statement.values(state=state.value, decided_at=func.now(), note=note))
    return done.rowcount == 1


def settle_open_time(connection: Connection, row_id: int, open_time: datetime) -> None:
    """Let a row be of one of the times that it may state, as a person has told."""
    own = quarantine
    connection.execute(update(own).where(own.c.id == row_id).values(open_time=open_time, later_open_time=None))


def leave_confirmed_alone(connection: Connection, series_id: int, timeframe: Timeframe, time_range: TimeRange) -> None:
    """Let no exchange be asked again for stretches of refused rows each of which a person has confirmed."""
    statement = text(
        """
        UPDATE absences SET next_probe = NULL
        WHERE series_id = :series_id AND span && tstzrange(:start, :end)
          AND kind = 'refused' AND next_probe IS NOT NULL
          AND upper(span) - lower(span) <= :width * (
              SELECT count(DISTINCT date_bin(:width, at, 'epoch'))
              FROM quarantine, unnest(ARRAY[open_time, later_open_time]) AS stated(at)
              WHERE quarantine.series_id = absences.series_id AND state = 'confirmed' AND at <@ span
          )
        """
    )
    bounds = {"start": time_range.start, "end": time_range.end}
    connection.execute(statement, {"series_id": series_id, "width": timeframe.delta, **bounds})


def _read(connection: Connection, conditions: list[ColumnElement[bool]], limit: int | None) -> list[Quarantined]:
    own = series.c
    query = select(quarantine, own.exchange, own.symbol, own.timeframe).join(series).where(*conditions)
    query = query.order_by(quarantine.c.refused_at.desc(), quarantine.c.id.desc()).limit(limit)
    return [_to_quarantined(row) for row in connection.execute(query)]


def _to_quarantined(row: Row[Any]) -> Quarantined:
    return Quarantined(
        id=row.id,
        series=Series(row.exchange, row.symbol, Timeframe(row.timeframe)),
        open_time=row.open_time,
        rule=row.rule,
        evidence=row.evidence,
        row=row.row,
        cells=None if row.cells is None else json.loads(row.cells),
        origin=Origin(row.source or Origin.API),
        refused_at=row.refused_at,
        run=row.run,
        state=State(row.state),
        decided_at=row.decided_at,
        note=row.note,
        later_open_time=row.later_open_time,
    )


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    own = quarantine.c
    conditions: list[ColumnElement[bool]] = []
    if wanted.series:
        names = [(one.exchange, one.symbol, one.timeframe.value) for one in wanted.series]
        conditions.append(tuple_(series.c.exchange, series.c.symbol, series.c.timeframe).in_(names))
    if wanted.rule is not None:
        conditions.append(own.rule == wanted.rule)
    if wanted.states:
        conditions.append(own.state.in_([state.value for state in wanted.states]))
    if wanted.time_range is not None:
        conditions.append(may_open_in(wanted.time_range))
    return conditions


def may_open_in(time_range: TimeRange) -> ColumnElement[bool]:
    """Return the condition that a row states a time in the range, or may."""
    start, end = time_range.start, time_range.end
    return or_(*(and_(at >= start, at < end) for at in (quarantine.c.open_time, quarantine.c.later_open_time)))
