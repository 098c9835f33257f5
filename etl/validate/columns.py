"""The rows of a page as columns: at once from plain text, or value by value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl.exchanges import Layout
from etl.schema import CANDLE_COLUMNS, ColumnKind, Origin
from etl.series import TimeRange
from etl.spelling import counted
from etl.timeframe import Timeframe
from etl.validate.numbers import to_floats, to_integers
from etl.validate.rules import Columns, Mask
from etl.validate.text import read_texts

_RECEIVED = tuple(column for column in CANDLE_COLUMNS if column.is_value)
_NOT_GIVEN = {ColumnKind.FLOAT: np.float64(np.nan), ColumnKind.INT: np.int64(-1)}


@dataclass(frozen=True, slots=True)
class ReceivedRows:
    """The rows of one page.

    Attributes:
        rows: As received, in the order of their arrival; or how to get them, which is seldom asked for if there is
            `text`.
        fetched_at_ms: The exchange's clock when they were asked for.
        layout: How they look.
        origin: How they reached us.
        text: The same rows as they arrived, without a header: JSON that has been read before, or lines of values.
        reasons: Why a row is of no shape that a rule could look at, by its place, where whoever read them knows.
        silent_ms: When rows open, milliseconds since the epoch, that state that nothing was traded; they are not among
            `rows`.
        readings: When a row may open that does not say so, by its place: one or two moments, ascending.
        numbers: Where the rows stand in an imported file, from 1; empty if that is not known.
        numbered: Name of what the numbers count.
    """

    rows: Sequence[Any] | Callable[[], Sequence[Any]]
    fetched_at_ms: int
    layout: Layout
    origin: Origin = Origin.API
    text: str | None = None
    reasons: Mapping[int, str] = field(default_factory=dict)
    silent_ms: Sequence[int] = ()
    readings: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    numbers: Sequence[int] = ()
    numbered: str = "line"

    def all_rows(self) -> Sequence[Any]:
        """Return the rows as received."""
        return self.rows() if callable(self.rows) else self.rows

    def number(self, place: int) -> int | None:
        """Return where a row stands in an imported file; None if that is not known."""
        return self.numbers[place] if self.numbers else None

    def in_file(self, place: int) -> str:
        """Return the end of the evidence of a row: where it stands in an imported file; empty if that is not known."""
        return f"; {self.numbered} {self.numbers[place]}" if self.numbers else ""


@dataclass(frozen=True, slots=True)
class Misshapen:
    """A row that no rule can look at: torn, too long, or without an open time as the exchange writes it.

    Attributes:
        row: As JSON.
        evidence: What is wrong with it.
        open_time_ms: When it opens, or may open, if it says so, and that is in the range.
        later_open_time_ms: The later of two moments at which it may open, of which one at least is in the range.
        cells: Its values by the names of our columns, as JSON, those that it lacks null; None if they have no places.
        number: Where it stands in an imported file, if that is known.
    """

    row: str
    evidence: str
    open_time_ms: int | None
    later_open_time_ms: int | None
    cells: str | None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of a page that open inside the range, as columns of length n.

    Attributes:
        count: How many rows the page has.
        places: (n,) which of them these are.
        open_time_ms: (n,) int64.
        values: By column name, (n,) each; as in `Columns`.
        is_bad: By column name, (n,) where something is given that is no number; what is not named is nowhere bad.
        outside: How many open outside the range.
    """

    page: ReceivedRows
    count: int
    places: NDArray[np.intp]
    open_time_ms: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]]
    is_bad: Mapping[str, Mask]
    misshapen: Sequence[Misshapen]
    outside: int


def read_batches(pages: Iterable[ReceivedRows], time_range: TimeRange) -> list[Batch]:
    """Read the pages of a partition, each by its text if that is plain."""
    batches: list[Batch] = []
    for _, alike in groupby(pages, key=lambda page: id(page.layout)):
        group = list(alike)
        for page, columns in zip(group, read_texts([page.text for page in group], group[0].layout), strict=True):
            batches.append(_by_rows(page, time_range) if columns is None else _by_columns(page, columns, time_range))
    return batches


def join(batches: Sequence[Batch], timeframe: Timeframe) -> Columns:
    """Put the batches of a partition one after the other."""
    counts = [len(batch.places) for batch in batches]
    clocks = np.array([batch.page.fetched_at_ms for batch in batches], dtype=np.int64)
    is_fine = [np.zeros(count, dtype=np.bool_) for count in counts]
    bad = {name for batch in batches for name in batch.is_bad}
    return Columns(
        timeframe,
        _concatenated([batch.open_time_ms for batch in batches], np.int64),
        {
            column.name: _concatenated(
                [batch.values[column.name] for batch in batches], _NOT_GIVEN[column.kind].dtype.type
            )
            for column in _RECEIVED
        },
        {
            name: _concatenated([b.is_bad.get(name, fine) for b, fine in zip(batches, is_fine, strict=True)], np.bool_)
            for name in sorted(bad)
        },
        np.repeat(clocks, counts),
        None,
    )


def drop_bad_options(columns: Columns) -> tuple[Columns, Mask]:
    """Leave out optional values that are no numbers, or below zero: what else the row says is as good as before.

    Returns:
        columns: With NaN or -1 in the place of such values.
        is_dropped: (n,) where there was one.
    """
    values: dict[str, NDArray[Any]] = dict(columns.values)
    is_dropped = np.zeros(len(columns.open_time_ms), dtype=np.bool_)
    for column in _RECEIVED:
        if not column.is_nullable:
            continue
        mine = values[column.name]
        is_bad = columns.is_bad.get(column.name, np.False_) | (mine < 0 if column.kind is ColumnKind.FLOAT else False)
        if np.any(is_bad):
            values[column.name] = np.where(is_bad, _NOT_GIVEN[column.kind], mine)
            is_dropped |= is_bad
    return (replace(columns, values=values) if is_dropped.any() else columns), is_dropped


def _by_columns(page: ReceivedRows, columns: Mapping[str, NDArray[Any]], time_range: TimeRange) -> Batch:
    times = columns["open_time"]
    places = np.flatnonzero((times >= time_range.start_ms) & (times < time_range.end_ms))
    # Nearly always all of it: then nothing is copied.
    here = slice(None) if len(places) == len(times) else places
    values = {
        column.name: columns[column.name][here]
        if column.name in columns
        else np.full(len(places), _NOT_GIVEN[column.kind])
        for column in _RECEIVED
    }
    return Batch(page, len(times), places, times[here], values, {}, (), len(times) - len(places))


def _by_rows(page: ReceivedRows, time_range: TimeRange) -> Batch:
    layout, received = page.layout, page.all_rows()
    width = max(layout.columns.values()) + 1
    times = [
        layout.open_time_ms(row) if i not in page.reasons and _has_shape(row, layout, width) else None
        for i, row in enumerate(received)
    ]
    start_ms, end_ms = time_range.start_ms, time_range.end_ms
    inside = [i for i, at_ms in enumerate(times) if at_ms is not None and start_ms <= at_ms < end_ms]
    misshapen = [_misshapen(page, i, received[i], width, time_range) for i, at_ms in enumerate(times) if at_ms is None]
    values: dict[str, NDArray[Any]] = {}
    is_bad: dict[str, Mask] = {}
    for column in _RECEIVED:
        to_numbers = to_integers if column.kind is ColumnKind.INT else to_floats
        place = layout.columns.get(column.name)
        cells = [None if place is None else received[i][place] for i in inside]
        values[column.name], is_bad[column.name] = to_numbers(cells)
    places, open_time_ms = np.array(inside, dtype=np.intp), np.array([times[i] for i in inside], dtype=np.int64)
    outside = len(received) - len(inside) - len(misshapen)
    return Batch(page, len(received), places, open_time_ms, values, is_bad, misshapen, outside)


def _concatenated(arrays: Sequence[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.array([], dtype=kind)


def _has_shape(row: Any, layout: Layout, width: int) -> bool:
    return type(row) is list and len(row) >= width and layout.width in (None, len(row))


def _misshapen(page: ReceivedRows, place: int, row: Any, width: int, time_range: TimeRange) -> Misshapen:
    layout, cells = page.layout, None
    if isinstance(row, list) and (layout.width is None or len(row) <= layout.width):
        given = {name: at for name, at in layout.columns.items() if name != "open_time"}
        cells = json.dumps({name: row[at] if at < len(row) else None for name, at in given.items()})
    at_ms = layout.stated_ms(row)
    readings = page.readings.get(place) or (() if at_ms is None else (at_ms,))
    # A row of two readings may be of slots of which its file says nothing else: they are in no partition of it.
    is_told = len(readings) > 1 or any(time_range.start_ms <= reading < time_range.end_ms for reading in readings)
    first, later, *_ = (*readings, None, None) if is_told else (None, None)
    evidence = (page.reasons.get(place) or _shape_evidence(row, layout, width)) + page.in_file(place)
    return Misshapen(json.dumps(row), evidence, first, later, cells, page.number(place))


def _shape_evidence(row: Any, layout: Layout, width: int) -> str:
    if not isinstance(row, list):
        return f"a {type(row).__name__} where a list belongs"
    if _has_shape(row, layout, width):
        return f"{str(row[layout.columns['open_time']])[:40]!r} where an open time belongs"
    belong = f"{width} or more belong" if layout.width is None else f"{layout.width} belong"
    return f"{counted(len(row), 'value')} where {belong}, the first an open time"
