"""The mapping of a line's values to our columns: by the names in its header, or by the layout of files without one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from etl.errors import ConfigError
from etl.extract.files.cells import NOT_GIVEN, SEPARATORS, to_cells
from etl.extract.files.decimals import find_decimals, is_number, to_plain
from etl.extract.files.identity import check_is_of, check_same
from etl.extract.files.moments import CLOCK, Undecided, to_moment
from etl.extract.files.names import (
    PRICES,
    REQUIRED,
    VOLUMES,
    WITHOUT_HEADER,
    currencies,
    find_date_and_clock,
    find_places,
    normalised,
)
from etl.series import Series
from etl.timeframe import BEGINNING, to_ms

_MAX_REMARKS = 10
_HEADER_LINES = 3  # of pandas, for columns of several levels


@dataclass(frozen=True, slots=True)
class FileColumns:
    """The shape of the lines of a file.

    Attributes:
        names: What the file calls its columns, or its known layout does.
        places: Which of our columns stands where.
        clock_place: Where the time of day stands, if `open_time` is a date alone.
        same: Where names stand that must be the same in all rows, by SAME_IN_ALL_ROWS.
        decimal_mark: Point or comma.
        layout: Which known layout it is, if no line names columns.
    """

    names: tuple[str, ...]
    separator: str
    places: Mapping[str, int]
    clock_place: int | None = None
    same: Mapping[str, int] | None = None
    decimal_mark: str = "."
    layout: str | None = None

    @property
    def width(self) -> int:
        """The number of values in a line."""
        return len(self.names)

    def twins(self) -> list[tuple[int, int]]:
        """Return the places of the columns that are read, each with a later one of the same name.

        Columns without a name, such as an index and what a separator ends a line with, have none in common.
        """
        names = [normalised(name) for name in self.names]
        clock = () if self.clock_place is None else (self.clock_place,)
        read = {place for place in (*self.places.values(), *clock, *(self.same or {}).values()) if names[place]}
        return [
            (one, other) for one in sorted(read) for other in range(one + 1, self.width) if names[one] == names[other]
        ]

    def cells(self, line: str) -> list[str]:
        """Return the values of a line, as text."""
        return to_cells(line, self.separator)

    def time_text(self, line: str) -> str | None:
        """Return what a line states as its open time; None if it ends before that."""
        place, clock = self.places["open_time"], self.clock_place
        last = place if clock is None else max(place, clock)
        cells = self.cells(line) if '"' in line else line.split(self.separator, last + 1)
        if len(cells) <= last:
            return None
        return cells[place].strip() if clock is None else f"{cells[place].strip()} {cells[clock].strip()}"

    def to_json(self) -> str:
        """Return what `from_json` reads, on one line."""
        facts = {"names": self.names, "separator": self.separator, "places": dict(self.places)}
        return json.dumps({**facts, "decimal_mark": self.decimal_mark})

    @classmethod
    def from_json(cls, text: str) -> FileColumns:
        """Return what a page of a file begins with: the columns, without what its times and names need."""
        facts = json.loads(text)
        return cls(tuple(facts["names"]), facts["separator"], facts["places"], decimal_mark=facts["decimal_mark"])


@dataclass(frozen=True, slots=True)
class Header:
    """The place where the rows of a file begin.

    Attributes:
        lines: The numbers of the lines that name the columns.
        remarks: The numbers of those before them that are no rows.
    """

    lines: frozenset[int] = frozenset()
    remarks: frozenset[int] = frozenset()

    @property
    def skipped(self) -> frozenset[int]:
        """The numbers of the lines that hold no row."""
        return self.lines | self.remarks


def find_columns(
    lines: Sequence[str], series: Series, every: Callable[[], Iterable[str]] | None = None
) -> tuple[FileColumns, Header]:
    """Find out how the lines of a file look.

    Args:
        lines: Its first lines; a few of them may be remarks that stand before the header.
        every: Reads all lines, should the first ones not tell how decimals are written; None if there are no others.

    Raises:
        ConfigError: No line names the columns, and they are of no known layout; or they can be read in two ways.
    """
    if not any(line.strip() for line in lines):
        raise ConfigError("it is empty")
    found = _by_header(lines, series) or _by_layout(lines, series)
    if found is None:
        raise ConfigError(_unknown(lines[:_MAX_REMARKS], series))
    columns, header = found
    decimals = find_decimals(_numbers(lines, columns, header), columns.separator)
    if every is not None and not decimals.is_told:
        decimals = find_decimals(_numbers(every(), columns, header), columns.separator)
    return replace(columns, decimal_mark=decimals.mark()), header


def _by_header(lines: Sequence[str], series: Series) -> tuple[FileColumns, Header] | None:
    for number in range(min(len(lines), _MAX_REMARKS)):
        for depth in range(1, _HEADER_LINES + 1):
            columns = _named(lines[number : number + depth], series)
            if columns is None:
                continue
            columns = _with_clock(columns, lines[number + depth :])
            remarks = {n for n in range(number) if not _has_moment(columns, lines[n])}
            return columns, Header(frozenset(range(number, number + depth)), frozenset(remarks))
    return None


def _named(header: Sequence[str], series: Series) -> FileColumns | None:
    """Return the columns that a header names; of several lines the first names columns, and the last an index.

    pandas writes so what yfinance returns: `Price,Close,High,...`, `Ticker,BTC-USD,BTC-USD,...`, `Date,,,...`.

    Raises:
        ConfigError: The lines between name several symbols.
    """
    separator = max(SEPARATORS, key=header[0].count)
    cells = [cell.strip() for cell in to_cells(header[0], separator)]
    if len(header) > 1:
        first, *others = to_cells(header[-1], separator)
        if not first.strip() or any(cell.strip() for cell in others):
            return None
        cells[0] = first.strip()
    places, same = find_places(cells, series)
    if not all(name in places for name in REQUIRED):
        return None
    for line in header[1:-1]:
        named, *symbols = (cell.strip() for cell in to_cells(line, separator))
        check_same("symbols", filter(None, symbols))
        for symbol in filter(None, symbols):
            check_is_of("symbols", symbol, named, series)
    return FileColumns(tuple(cells), separator, places, same=same)


def _with_clock(columns: FileColumns, rows: Sequence[str]) -> FileColumns:
    """Join a date and a time of day that are columns of their own, if the rows bear it out."""
    pair = find_date_and_clock(columns.names)
    if pair is None or columns.places["open_time"] not in pair:
        return columns
    date, clock = pair
    joined = replace(columns, places={**columns.places, "open_time": date}, clock_place=clock)
    for row in rows:
        cells = [cell.strip() for cell in columns.cells(row)]
        if len(cells) != columns.width:
            continue
        text = joined.time_text(row)
        if CLOCK.fullmatch(cells[clock]) and text and _is_moment(text):
            return joined
    return columns


def _by_layout(lines: Sequence[str], series: Series) -> tuple[FileColumns, Header] | None:
    """Return the known layout that most lines have. All of them are rows: nothing is skipped."""
    rows = [line for line in lines if line.strip()]
    for separator in (";", "\t", ","):
        for layout, names in WITHOUT_HEADER:
            cells = names.split(",")
            places, same = find_places(cells, series)
            columns = FileColumns(tuple(cells), separator, places, same=same, layout=layout)
            columns = _with_clock(columns, rows)
            if any(_is_header(columns, row) for row in rows[:_MAX_REMARKS]):
                continue
            if 2 * sum(_fits(columns, row) for row in rows) >= len(rows) and _is_plausible(columns, rows):
                return columns, Header()
    return None


def _is_header(columns: FileColumns, row: str) -> bool:
    """Return whether a row holds names: of columns that we do not know, in an order that we would have to guess."""
    cells = columns.cells(row)
    if all(cell.strip().lower() in NOT_GIVEN for cell in cells):
        return False
    is_wide = len(cells) == columns.width and not _has_moment(columns, row)
    return is_wide and not any(is_number(cell, ".") or is_number(cell, ",") for cell in cells)


def _fits(columns: FileColumns, row: str) -> bool:
    cells = columns.cells(row)
    if len(cells) != columns.width or not _has_moment(columns, row):
        return False
    values = [cells[columns.places[name]].strip() for name in REQUIRED[1:]]
    return all(value.lower() in NOT_GIVEN or is_number(value, ".") or is_number(value, ",") for value in values)


def _is_plausible(columns: FileColumns, rows: Sequence[str]) -> bool:
    """Return whether high is the highest and low the lowest, mostly: other services order their columns otherwise."""
    fitting = [columns.cells(row) for row in rows if _fits(columns, row)]
    good = told = 0
    for cells in fitting:
        prices = [cells[columns.places[name]].strip() for name in PRICES]
        texts = [to_plain(text, ",") if "," in text else text for text in prices]
        if any(not is_number(text, ".") for text in texts):
            continue
        opened, high, low, closed = map(float, texts)
        told += 1
        good += high >= max(opened, closed) and low <= min(opened, closed)
    return 2 * good >= told


def _has_moment(columns: FileColumns, row: str) -> bool:
    text = columns.time_text(row)
    return text is not None and _is_moment(text)


def _is_moment(text: str) -> bool:
    moment = to_moment(text, None)
    return isinstance(moment, datetime | Undecided) or (moment is not None and moment >= to_ms(BEGINNING))


def _numbers(lines: Iterable[str], columns: FileColumns, header: Header) -> Iterator[str]:
    """Yield the prices and volumes of rows, which are written with decimals."""
    places = [columns.places[name] for name in (*PRICES, *VOLUMES) if name in columns.places]
    for number, line in enumerate(lines):
        if number in header.skipped or not line.strip():
            continue
        cells = columns.cells(line)
        if len(cells) == columns.width and _has_moment(columns, line):
            yield from (cells[place] for place in places)


def _unknown(lines: Sequence[str], series: Series) -> str:
    rows = [line for line in lines if line.strip()]
    separator = max(SEPARATORS, key=lambda each: max(line.count(each) for line in rows))
    widest = max((to_cells(line, separator) for line in rows), key=len)
    places, _ = find_places(widest, series)
    missing = [name for name in REQUIRED if name not in places]
    found = ", ".join(repr(cell.strip()[:40]) for cell in widest[:20])
    base, quote = currencies(series)
    layouts = ", ".join(f"{name} ({layout.count(',') + 1} values)" for name, layout in WITHOUT_HEADER)
    return (
        f"found the columns {found}, but none for {', '.join(missing)}; expected a line that names open_time (or unix, "
        f"timestamp, time, date), open, high, low, close and volume (or Volume {base}), and where they are known "
        f"Volume {quote} and trades; or, without names, the rows of {layouts}"
    )
