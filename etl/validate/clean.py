"""Rows as received into candles to keep and rows to refuse.

Nothing is lost on the way: each received row is accepted, refused with rule and evidence, equal to one of these, or
outside the range that was asked for. Sound rows decide nothing about unsound ones: a refused row never supersedes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.exchanges import Layout
from etl.schema import CANDLE_COLUMNS, ColumnKind, Origin, Series, TimeRange, from_columns
from etl.timeframe import from_ms
from etl.validate.numbers import to_floats, to_integers
from etl.validate.rules import RULES, Columns, Mask, Rule

_RECEIVED = tuple(column for column in CANDLE_COLUMNS if column.is_value)


@dataclass(frozen=True, slots=True)
class ReceivedRows:
    """The rows of one page.

    Attributes:
        rows: As received, in the order of their arrival.
        fetched_at_ms: The exchange's clock when they were asked for.
        layout: How they look.
        origin: How they reached us.
    """

    rows: Sequence[Any]
    fetched_at_ms: int
    layout: Layout
    origin: Origin = Origin.API


@dataclass(frozen=True, slots=True)
class Refused:
    """A row for quarantine.

    Attributes:
        open_time_ms: Where it belongs, if it says so.
        row: The row as received, as JSON.
    """

    open_time_ms: int | None
    rule: str
    evidence: str
    row: str


@dataclass(frozen=True, slots=True)
class CleanReport:
    """What became of the received rows: `rows = accepted + refused + repeated + outside`.

    Attributes:
        repeated: Rows equal to an accepted or a refused one.
        outside: Rows that open outside the range, which belong to another partition.
        refused: Rows refused, by rule.
    """

    rows: int
    accepted: int
    repeated: int
    outside: int
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A partition, judged.

    Attributes:
        candles: CANDLE_SCHEMA, ascending by open_time, each open_time once.
    """

    candles: pa.Table
    refused: tuple[Refused, ...]
    report: CleanReport


def clean(pages: Iterable[ReceivedRows], series: Series, time_range: TimeRange) -> Cleaned:
    """Judge the rows of one partition.

    Args:
        pages: In the order of their windows; of two rows for one candle the later wins.
        time_range: What was asked for; candles that open outside are left to their own partition.
    """
    batches = [_read(page, time_range) for page in pages]
    rows = list(itertools.chain.from_iterable(batch.rows for batch in batches))
    columns = _joined(batches, series)
    broken = _first_broken_rule(columns)
    is_last, broken = _resolve_duplicates(columns, broken)
    received = list(itertools.chain.from_iterable(batch.misshapen for batch in batches))
    received += [_refuse(RULES[broken[k]], columns, int(k), rows[k]) for k in np.flatnonzero(broken >= 0)]
    # A row that was received twice, as from a page that was asked for again, is one row to refuse.
    refused = list({(row.rule, row.row): row for row in received}.values())
    origins = np.repeat(
        np.array([batch.page.origin for batch in batches], dtype=np.int16), [len(batch.rows) for batch in batches]
    )
    candles = _to_candles(columns, origins, np.flatnonzero(is_last & (broken < 0)))
    return Cleaned(
        candles,
        tuple(refused),
        CleanReport(
            rows=sum(len(batch.page.rows) for batch in batches),
            accepted=candles.num_rows,
            repeated=int((~is_last & (broken < 0)).sum()) + len(received) - len(refused),
            outside=sum(batch.outside for batch in batches),
            refused={rule: sum(row.rule == rule for row in refused) for rule in sorted({r.rule for r in refused})},
        ),
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    """The rows of a page that open inside the range, as columns.

    Attributes:
        rows: As received; n of them.
        open_time_ms: (n,) int64.
        values: By column name, (n,) each; as in `Columns`.
        misshapen: Rows that say no open time.
        outside: How many open outside the range.
    """

    page: ReceivedRows
    rows: Sequence[Any]
    open_time_ms: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]]
    is_bad: Mapping[str, Mask]
    misshapen: Sequence[Refused]
    outside: int


def _read(page: ReceivedRows, time_range: TimeRange) -> _Batch:
    layout = page.layout
    width = max(layout.columns.values()) + 1
    times = [layout.open_time_ms(row) if type(row) is list and len(row) >= width else None for row in page.rows]
    start_ms, end_ms = time_range.start_ms, time_range.end_ms
    inside = [i for i, at_ms in enumerate(times) if at_ms is not None and start_ms <= at_ms < end_ms]
    misshapen = [
        Refused(None, "shape", _shape_evidence(page.rows[i], width), json.dumps(page.rows[i]))
        for i, at_ms in enumerate(times)
        if at_ms is None
    ]
    rows = [page.rows[i] for i in inside]
    values: dict[str, NDArray[Any]] = {}
    is_bad: dict[str, Mask] = {}
    for column in _RECEIVED:
        to_numbers = to_integers if column.kind is ColumnKind.INT else to_floats
        place = layout.columns.get(column.name)
        values[column.name], is_bad[column.name] = to_numbers([None if place is None else row[place] for row in rows])
    open_time_ms = np.array([times[i] for i in inside], dtype=np.int64)
    return _Batch(page, rows, open_time_ms, values, is_bad, misshapen, len(page.rows) - len(inside) - len(misshapen))


def _joined(batches: Sequence[_Batch], series: Series) -> Columns:
    clocks = np.array([batch.page.fetched_at_ms for batch in batches], dtype=np.int64)
    clock = np.repeat(clocks, [len(batch.rows) for batch in batches])
    times = [np.array([], dtype=np.int64), *(batch.open_time_ms for batch in batches)]
    values: dict[str, NDArray[Any]] = {}
    is_bad: dict[str, Mask] = {}
    nothing = np.array([], dtype=np.bool_)
    for column in _RECEIVED:
        empty = np.array([], dtype=np.int64 if column.kind is ColumnKind.INT else np.float64)
        values[column.name] = np.concatenate([empty, *(batch.values[column.name] for batch in batches)])
        is_bad[column.name] = np.concatenate([nothing, *(batch.is_bad[column.name] for batch in batches)])
    return Columns(series.timeframe, np.concatenate(times), values, is_bad, clock, np.zeros(len(clock), dtype=np.bool_))


def _first_broken_rule(columns: Columns) -> NDArray[np.int8]:
    """Return, per row, the index of the first rule that it breaks; -1 if it breaks none."""
    broken = np.full(len(columns.open_time_ms), -1, dtype=np.int8)
    for index, rule in enumerate(RULES):
        broken[(broken < 0) & rule.breaks(columns)] = index
    return broken


def _resolve_duplicates(columns: Columns, broken: NDArray[np.int8]) -> tuple[Mask, NDArray[np.int8]]:
    """Find, among the sound rows, the last one for each candle; earlier ones that differ from it are superseded."""
    sound = np.flatnonzero(broken < 0)
    # A stable sort keeps the order of arrival among equal open times.
    order = sound[np.argsort(columns.open_time_ms[sound], kind="stable")]
    times = columns.open_time_ms[order]
    ends = np.append(np.flatnonzero(np.diff(times)), len(times) - 1) if len(times) else np.array([], dtype=np.intp)
    last_of = order[np.repeat(ends, np.diff(ends, prepend=-1))]
    is_last = np.zeros(len(broken), dtype=np.bool_)
    is_last[last_of] = True
    is_conflicting = np.zeros(len(broken), dtype=np.bool_)
    for name in columns.values:
        mine, later = columns.values[name][order], columns.values[name][last_of]
        is_conflicting[order] |= (mine != later) & ~(np.isnan(mine) & np.isnan(later))
    judged = Columns(
        columns.timeframe,
        columns.open_time_ms,
        columns.values,
        columns.is_bad,
        columns.fetched_at_ms,
        is_conflicting,
    )
    return is_last, np.where(broken < 0, _first_broken_rule(judged), broken).astype(np.int8)


def _to_candles(columns: Columns, origins: NDArray[np.int16], accepted: NDArray[np.intp]) -> pa.Table:
    order = accepted[np.argsort(columns.open_time_ms[accepted], kind="stable")]
    kept = {name: values[order] for name, values in columns.values.items()}
    flags = np.zeros(len(order), dtype=np.int16)
    return from_columns({"open_time": columns.open_time_ms[order], **kept, "flags": flags, "source": origins[order]})


def _refuse(rule: Rule, columns: Columns, index: int, row: Any) -> Refused:
    open_time_ms = int(columns.open_time_ms[index])
    shown = {name: columns.values[name][index].item() for name in rule.evidence if name in columns.values}
    shown |= {name: None for name, value in shown.items() if value != value or (name == "trades" and value < 0)}
    facts = [f"{name} {value}" for name, value in shown.items()]
    if "open_time" in rule.evidence:
        facts.insert(0, f"open_time {from_ms(open_time_ms).isoformat()}")
    if "fetched_at" in rule.evidence:
        facts.append(f"asked for at {from_ms(int(columns.fetched_at_ms[index])).isoformat()}")
    return Refused(open_time_ms, rule.name, ", ".join(facts), json.dumps(row))


def _shape_evidence(row: Any, width: int) -> str:
    if not isinstance(row, list):
        return f"a {type(row).__name__} where a list belongs"
    return f"{len(row)} values where {width} or more belong, the first an open time"
