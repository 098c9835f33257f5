"""Refused rows, one by one and in a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etl.quality import by_name
from etl.quarantine import AROUND, Inspection
from etl.schema import UNLOADED, VALUE_COLUMNS, AbsenceKind, to_columns
from etl.show.parts import new_table, to_iso, to_minute
from etl.spelling import counted
from etl.timeframe import from_ms, to_ms
from etl.validate import flag_names
from etl.warehouse import Absence, Quarantined, State

_NEAR = 5  # slots before and after a row whose candles are written out
_LEVELS = "▁▂▃▄▅▆▇█"
_COLOURS = {State.OPEN: "yellow", State.RELEASED: "green", State.CONFIRMED: "dim"}


def quarantine_counts(counts: Mapping[str, int]) -> str:
    """Return how many rows each rule has refused, in a line."""
    total = sum(counts.values())
    return f"{counted(total, 'row')} in quarantine: {by_name(counts)}"


def quarantine_table(rows: Sequence[Quarantined]) -> Table:
    """Return a line a row."""
    table = new_table("id", "series", "open time", "rule", "evidence", "state", "refused at", "note")
    for row in rows:
        table.add_row(
            str(row.id),
            str(row.series),
            _times(row),
            row.rule,
            Text(row.evidence),
            Text(row.state, style=_COLOURS[row.state]),
            to_minute(row.refused_at),
            Text(row.note or ""),
        )
    return table


def quarantine_json(rows: Sequence[Quarantined]) -> list[dict[str, Any]]:
    """Return the same for a script, with the rows as received."""
    return [
        {
            "id": row.id,
            "series": str(row.series),
            "open_time": to_iso(row.open_time),
            "later_open_time": to_iso(row.later_open_time),
            "rule": row.rule,
            "evidence": row.evidence,
            "row": row.row,
            "cells": None if row.cells is None else {name: _shown(cell) for name, cell in row.cells.items()},
            "state": row.state,
            "refused_at": to_iso(row.refused_at),
            "run": row.run,
            "decided_at": to_iso(row.decided_at),
            "note": row.note,
        }
        for row in rows
    ]


def inspection(one: Inspection) -> Iterator[RenderableType]:
    """Yield what there is to judge a row by, part by part."""
    row = one.row
    place = f" {_times(row)}" if row.open_time is not None else ""
    yield Text.assemble((f"{row.series}{place}", "bold"), f"  row {row.id}, ", (row.state, _COLOURS[row.state]))
    if row.decided_at is not None:
        yield Text(f"decided at {to_minute(row.decided_at)}: {row.note or 'no note'}")
    yield Text.assemble("\nrefused by ", (row.rule, "red"), f" at {to_minute(row.refused_at)}, run {row.run}")
    yield Text(f"{row.evidence}\n", style="red")
    yield Text(one.reason, style="dim")
    yield Text(f"\nas received: {row.row}\n")
    yield _columns(one)
    width_ms = row.series.timeframe.ms
    for slot in row.slots if one.around.num_rows else ():
        yield Text.assemble("\ncloses around it  ", _sparkline(one.around, slot.start, width_ms), "\n")
        yield _near(one, slot.start, width_ms)
    if row.state is State.RELEASED:
        return
    at = " or ".join(f"--at {slot.start:%Y-%m-%dT%H:%M}" for slot in row.slots) if len(row.slots) > 1 else ""
    release = f"chandler quarantine release {row.id} {at}{' ' if at else ''}--note ..."
    yield Text(f"\nIt can never be a candle: {one.never}." if one.never else f"\nIf it is a candle: {release}")
    if row.state is State.OPEN:
        yield Text(f"If it is none: chandler quarantine confirm {row.id} --note ...")


def inspection_json(one: Inspection) -> dict[str, Any]:
    """Return the same for a script."""
    (row,) = quarantine_json([one.row])
    return {
        **row,
        "reason": one.reason,
        "never": one.never,
        "around": [{**each, "open_time": to_iso(each["open_time"])} for each in one.around.to_pylist()],
        "absences": [{**absence.span.to_dict(), "kind": absence.kind} for absence in one.absences],
    }


def _columns(one: Inspection) -> Table:
    """Return the row's values beside those of the candle that is stored in its place."""
    slots = one.row.slots
    names = ["stored"] if len(slots) < 2 else [f"stored at {slot.start:%H:%M}" for slot in slots]  # noqa: PLR2004 (two)
    table = new_table("column", "received", *names)
    around = {each["open_time_ms"]: each for each in _candles(one.around)}
    stored: list[dict[str, Any]] = [around.get(slot.start_ms, {}) for slot in slots] or [{}]
    for name in VALUE_COLUMNS:
        cell = (one.row.cells or {}).get(name)
        if cell is not None or any(name in each for each in stored):
            table.add_row(name, Text("" if cell is None else str(cell)), *(_number(each.get(name)) for each in stored))
    return table


def _near(one: Inspection, at: datetime, width_ms: int) -> Table:
    table = new_table("open time", "open", "high", "low", "close", "volume", "flags")
    stored = {each["open_time_ms"]: each for each in _candles(one.around)}
    for slot in range(-_NEAR, _NEAR + 1):
        at_ms = to_ms(at) + slot * width_ms
        candle = stored.get(at_ms)
        values = [_number((candle or {}).get(name)) for name in ("open", "high", "low", "close", "volume")]
        flags = "" if candle is None else ", ".join(flag_names(candle["flags"]))
        style = "red" if slot == 0 else "" if candle else "dim"
        name = f"{'> ' if slot == 0 else '  '}{to_minute(from_ms(at_ms))}"
        table.add_row(name, *values, flags if candle else _lack(one.absences, at_ms), style=style)
    return table


def _lack(absences: Sequence[Absence], at_ms: int) -> str:
    """Return why there is no candle in a slot."""
    kinds = (absence.kind for absence in absences if absence.span.start_ms <= at_ms < absence.span.end_ms)
    kind = next(kinds, AbsenceKind.NOT_REQUESTED)
    return kind.replace("_", " ") if kind in UNLOADED else f"absent: {kind.replace('_', ' ')}"


def _sparkline(around: pa.Table, at: datetime, width_ms: int) -> Text:
    """Return the closes as a line of blocks, a dot where none is held, the row's own slot in red brackets."""
    columns = to_columns(around)
    close = columns["close"]
    span = float(close.max() - close.min()) or 1.0
    levels = ((close - close.min()) / span * (len(_LEVELS) - 1)).round().astype(np.int64)
    slots = (columns["open_time"] - to_ms(at)) // width_ms + AROUND
    blocks = dict(zip(slots.tolist(), (_LEVELS[level] for level in levels.tolist()), strict=True))
    line = Text()
    for slot in range(2 * AROUND + 1):
        if slot == AROUND:
            line.append(f"[{blocks.get(slot, '·')}]", style="red")
        else:
            line.append(blocks.get(slot, "·"))
    return line


def _candles(around: pa.Table) -> list[dict[str, Any]]:
    return [{**each, "open_time_ms": to_ms(each["open_time"])} for each in around.to_pylist()]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.12g}"


def _times(row: Quarantined) -> str:
    """Return when a row opens; both times of one that may be of either."""
    later = "" if row.later_open_time is None else f" or {row.later_open_time:%H:%M}"
    return to_minute(row.open_time) + later


def _shown(cell: Any) -> Any:
    """Return a value as JSON has it; it knows neither NaN nor infinity."""
    return cell if isinstance(cell, (str, int, type(None))) else json.dumps(cell)
