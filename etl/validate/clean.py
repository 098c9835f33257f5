"""Rows as received into candles to keep and rows to refuse.

Nothing is lost on the way: each received row is accepted, refused with rule and evidence, equal to one of these, or
outside the range that was asked for. Sound rows decide nothing about unsound ones: a refused row never supersedes.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.rules import Rules
from etl.schema import Flag, Origin, from_columns, to_column
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe, from_ms
from etl.validate.absences import refused_slots
from etl.validate.columns import Batch, ReceivedRows, drop_bad_options, join, read_batches
from etl.validate.rules import OFF_GRID, REFUSING, SHAPE, Columns, Mask, Rule

DEFAULT_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Refused:
    """A row for quarantine.

    Attributes:
        open_time_ms: Where it belongs, if it says so.
        row: The row as received, as JSON.
        cells: Its values as received, by the names of our columns, as JSON; None if they have no places.
        origin: How it reached us.
        later_open_time_ms: Where it belongs if not at `open_time_ms`, which it does not tell; None if it does.
        number: Where it stands in an imported file, which the evidence ends with; None if that is not known.
    """

    open_time_ms: int | None
    rule: str
    evidence: str
    row: str
    cells: str | None = None
    origin: int = Origin.API
    later_open_time_ms: int | None = None
    number: int | None = None

    @property
    def shown(self) -> str:
        """The row as a person knows it: the line of an imported file by itself, any other as received."""
        return str(json.loads(self.row)[-1]) if self.origin == Origin.FILE else self.row

    @property
    def times_ms(self) -> tuple[int, ...]:
        """The open times that it may state, ascending: none, one or two."""
        return tuple(at_ms for at_ms in (self.open_time_ms, self.later_open_time_ms) if at_ms is not None)


@dataclass(frozen=True, slots=True)
class CleanReport:
    """Fate of the received rows: `rows = accepted + refused + repeated + outside`.

    Attributes:
        broken: Candles of which only refused rows came, which speaks against the exchange or a rule: each once, however
            often it was asked for. A row off the grid is none of them while others of the partition are on it, and a
            row of a local time that the clock shows twice is none: it speaks against neither.
        repeated: Rows equal to an accepted or a refused one.
        outside: Rows that open outside the range, which belong to another partition.
        refused: Rows refused, by rule.
        timeless: Rows among the broken ones that tell of no candle when it opens.
    """

    rows: int
    accepted: int
    repeated: int
    outside: int
    refused: Mapping[str, int]
    broken: int = 0
    timeless: int = 0


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A partition, judged.

    Attributes:
        candles: CANDLE_SCHEMA, ascending by open_time, each open_time once.
        stated_ms: When the slots of the range open of which a file states that nothing was traded; ascending.
    """

    candles: pa.Table
    refused: tuple[Refused, ...]
    report: CleanReport
    stated_ms: tuple[int, ...] = ()


def clean(
    pages: Iterable[ReceivedRows],
    series: Series,
    time_range: TimeRange,
    rules: Rules = DEFAULT_RULES,
    waived: str | None = None,
) -> Cleaned:
    """Judge the rows of one partition.

    Args:
        pages: In the order of their windows; of two rows for one candle the later wins.
        time_range: What was asked for; candles that open outside are left to their own partition.
        waived: A rule that a person has found to be wrong about these rows.
    """
    batches = read_batches(pages, time_range)
    columns, is_dropped = drop_bad_options(join(batches, series.timeframe))
    broken, is_last = judge(columns, rules, waived)
    received = [
        Refused(
            row.open_time_ms,
            SHAPE,
            row.evidence,
            row.row,
            row.cells,
            batch.page.origin,
            row.later_open_time_ms,
            row.number,
        )
        for batch in batches
        for row in batch.misshapen
    ]
    received += _refused(batches, columns, broken)
    # A row that was received twice, as from a page that was asked for again, is one row to refuse.
    refused = list({(row.rule, row.row): row for row in reversed(received)}.values())[::-1]
    origins = np.repeat(
        np.array([batch.page.origin for batch in batches], dtype=np.int16), [len(batch.places) for batch in batches]
    )
    flags = np.where(is_dropped, np.int16(Flag.VALUE_DROPPED), np.int16(0))
    candles = to_candles(columns, origins, is_last, flags)
    return Cleaned(
        candles,
        tuple(refused),
        CleanReport(
            rows=sum(batch.count for batch in batches),
            accepted=candles.num_rows,
            repeated=int(((broken < 0) & ~is_last).sum()) + len(received) - len(refused),
            outside=sum(batch.outside for batch in batches),
            refused=dict(sorted(Counter(row.rule for row in refused).items())),
            broken=_count_broken(refused, to_column(candles, "open_time"), series.timeframe),
            timeless=sum(not row.times_ms for row in refused),
        ),
        _stated(batches, series.timeframe, time_range),
    )


def _stated(batches: Sequence[Batch], timeframe: Timeframe, time_range: TimeRange) -> tuple[int, ...]:
    slots = {at_ms // timeframe.ms * timeframe.ms for batch in batches for at_ms in batch.page.silent_ms}
    return tuple(sorted(at_ms for at_ms in slots if time_range.start_ms <= at_ms < time_range.end_ms))


def _count_broken(refused: Sequence[Refused], accepted_ms: NDArray[np.int64], timeframe: Timeframe) -> int:
    """Count the candles of which only refused rows came; see `CleanReport`."""
    counting = [row for row in refused if row.rule != OFF_GRID] if len(accepted_ms) else refused
    slots = set(refused_slots([row for row in counting if len(row.times_ms) == 1], timeframe))
    return len(slots.difference(accepted_ms.tolist())) + sum(not row.times_ms for row in counting)


def judge(columns: Columns, rules: Rules, waived: str | None = None) -> tuple[NDArray[np.int8], Mask]:
    """Apply the rules that refuse, but for the one that is waived.

    Returns:
        broken: (n,) the place in REFUSING of the first rule that a row breaks; -1 if it breaks none.
        is_last: (n,) where a row is the one to keep of its candle: sound, and the last of those that are.
    """
    broken = _first_broken_rule(columns, rules, waived)
    sound = np.flatnonzero(broken < 0)
    is_last = broken < 0
    # Nearly always the sound rows are in order, each candle once.
    if not (np.diff(columns.open_time_ms[sound]) > 0).all():
        is_last, is_conflicting = _resolve_duplicates(columns, sound)
        if is_conflicting.any():
            judged = _first_broken_rule(replace(columns, is_conflicting=is_conflicting), rules, waived)
            broken = np.where(broken < 0, judged, broken).astype(np.int8)
    return broken, is_last


def to_candles(columns: Columns, origins: NDArray[np.int16], is_kept: Mask, flags: NDArray[np.int16]) -> pa.Table:
    """Return the kept rows as candles: CANDLE_SCHEMA, ascending by open_time."""
    kept = np.flatnonzero(is_kept)
    times = columns.open_time_ms[kept]
    order = kept if (np.diff(times) > 0).all() else kept[np.argsort(times, kind="stable")]
    values = {name: column[order] for name, column in columns.values.items()}
    ours = {"flags": flags[order], "source": origins[order]}
    return from_columns({"open_time": columns.open_time_ms[order], **values, **ours})


def _first_broken_rule(columns: Columns, rules: Rules, waived: str | None) -> NDArray[np.int8]:
    broken = np.full(len(columns.open_time_ms), -1, dtype=np.int8)
    for index, rule in enumerate(REFUSING):
        if rule.name == waived:
            continue
        found = rule.finds(columns, rules)
        if found.any():
            broken[(broken < 0) & found] = index
    return broken


def _resolve_duplicates(columns: Columns, sound: NDArray[np.intp]) -> tuple[Mask, Mask]:
    """Find, among the sound rows, the last one for each candle, and those earlier ones that differ from it."""
    # A stable sort keeps the order of arrival among equal open times.
    order = sound[np.argsort(columns.open_time_ms[sound], kind="stable")]
    times = columns.open_time_ms[order]
    is_end = np.append(np.diff(times) > 0, True)
    ends = np.flatnonzero(is_end)
    is_last = np.zeros(len(columns.open_time_ms), dtype=np.bool_)
    is_last[order[ends]] = True
    is_conflicting = np.zeros(len(columns.open_time_ms), dtype=np.bool_)
    earlier = np.flatnonzero(~is_end)
    mine, later = order[earlier], order[ends[np.searchsorted(ends, earlier)]]
    for values in columns.values.values():
        one, other = values[mine], values[later]
        is_conflicting[mine] |= (one != other) & ~(np.isnan(one) & np.isnan(other))
    return is_last, is_conflicting


def _refused(batches: Sequence[Batch], columns: Columns, broken: NDArray[np.int8]) -> Iterator[Refused]:
    """Yield the rows that break a rule, as received; just the pages that have some are read row by row."""
    starts = itertools.accumulate((len(batch.places) for batch in batches), initial=0)
    for batch, start in zip(batches, starts, strict=False):
        found = np.flatnonzero(broken[start : start + len(batch.places)] >= 0)
        rows = batch.page.all_rows() if len(found) else ()
        for k in found:
            place = int(batch.places[k])
            refused = _refuse(REFUSING[broken[start + k]], columns, int(start + k), batch.page, rows[place])
            in_file = f"{refused.evidence}{batch.page.in_file(place)}"
            yield replace(refused, evidence=in_file, number=batch.page.number(place))


def _refuse(rule: Rule[Columns], columns: Columns, index: int, page: ReceivedRows, row: Any) -> Refused:
    open_time_ms = int(columns.open_time_ms[index])
    shown = {name: columns.values[name][index].item() for name in rule.evidence if name in columns.values}
    shown |= {name: None for name, value in shown.items() if value != value or (name == "trades" and value < 0)}
    facts = [f"{name} {value}" for name, value in shown.items()]
    if "open_time" in rule.evidence:
        facts.insert(0, f"open_time {from_ms(open_time_ms).isoformat()}")
    if "fetched_at" in rule.evidence:
        facts.append(f"asked for at {from_ms(int(columns.fetched_at_ms[index])).isoformat()}")
    cells = {name: row[place] for name, place in page.layout.columns.items() if name != "open_time"}
    return Refused(open_time_ms, rule.name, ", ".join(facts), json.dumps(row), json.dumps(cells), page.origin)
