"""The rows of a page of a file.

A page is a line of JSON that says how its lines look, and the lines, each behind a stamp: the open time that the file's
own forms, order and zone have given the line, or why there is none, with the times that it may mean if these are two;
before it the line's number, unless it follows the line before. So a page does not depend on the rest of the file.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from etl.exchanges import FILE_LAYOUT
from etl.extract.files.cells import NOT_GIVEN
from etl.extract.files.columns import FileColumns
from etl.extract.files.decimals import to_plain
from etl.extract.files.names import PRICES, currencies
from etl.extract.files.times import Undated
from etl.series import Series
from etl.spelling import counted

log = logging.getLogger(__name__)

_PRICED = ("high", "low", "volume", "quote_volume")
_COLUMNS = sorted(FILE_LAYOUT.columns, key=lambda name: FILE_LAYOUT.columns[name])
_USUAL = frozenset("0123456789.")
_WHOLE = re.compile(r"(\d{1,18})(\.0*)?", re.ASCII)
_BREAKS = re.compile(r"[\t\r\n]")
_UNDATED = re.compile(r"!((?:\d+!)*)(?:x(\d+)!)?(.*)", re.ASCII)
_ZERO = re.compile(r"[+-]?(0+\.?0*|\.0+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class FileRows:
    """The content of the lines of a page.

    Attributes:
        rows: In `FILE_LAYOUT`: the values as they stand there, and the line itself behind them. Times are milliseconds;
            those that cannot be read stay text. A value that says that there is none is None, and so are all of a
            line that has more values than the file's columns. Of equal lines that state no time the later ones have
            their count before the line: each is a row of its own.
        reasons: Why a row is no candle, by its place: it has no open time, or not the file's number of values.
        silent_ms: When the lines open that say that nothing was traded: no price, and no volume. They are no rows.
        readings: When a row may open that states no open time that can be, by its place; see `Undated`.
        numbers: Where the rows stand in the file, from 1; empty if the page does not say, as those of earlier versions.
        numbered: Name of what the numbers count: line or row.
    """

    rows: list[list[Any]]
    reasons: Mapping[int, str]
    silent_ms: Sequence[int]
    readings: Mapping[int, tuple[int, ...]]
    numbers: Sequence[int] = ()
    numbered: str = "line"

    @property
    def silent(self) -> int:
        """The number of lines that say that nothing was traded."""
        return len(self.silent_ms)


def to_body(columns: FileColumns, stamped: Sequence[str], numbered: str = "line") -> str:
    """Return the body of a page."""
    return "\n".join([json.dumps({**json.loads(columns.to_json()), "numbered": numbered}), *stamped])


def to_stamped(line: str, opened: int | Undated, count: int = 1) -> str:
    """Return a line behind its open time in milliseconds, or behind why it has none.

    Args:
        count: How often the file has had the line so far, if it states no time.
    """
    if isinstance(opened, int):
        return f"{opened}\t{line}"
    readings = "".join(f"{at_ms}!" for at_ms in opened.readings_ms) + (f"x{count}!" if count > 1 else "")
    return f"!{readings}{_BREAKS.sub(' ', opened.reason)}\t{line}"


def to_numbered(stamped: str, number: int) -> str:
    """Return a stamped line behind its place in the file; those that follow have the next places."""
    return f"#{number}#{stamped}"


def _to_undated(stamp: str) -> tuple[Undated, int]:
    """Return what a stamp says without an open time: `!`, each reading with a `!` behind it, its count, the reason."""
    match = _UNDATED.fullmatch(stamp)
    if match is None:
        raise ValueError(f"a stamp of a page of a file is broken: {stamp!r}")
    return Undated(match[3], tuple(map(int, match[1].split("!")[:-1]))), int(match[2] or 1)


def file_rows(body: str, series: Series) -> FileRows:
    """Return the rows of a page's body."""
    said, _, rest = body.partition("\n")
    columns = FileColumns.from_json(said)
    stamps, lines, numbers = _unstamped(rest)
    by_place, fits = _by_place(lines, columns)
    values: dict[str, list[Any]] = {
        name: _given(by_place[place], "." if name == "open_time" else columns.decimal_mark)
        for name, place in columns.places.items()
    }
    if "trades" in values:
        values["trades"] = list(map(_to_count, values["trades"]))
    reasons: dict[int, str] = {}
    readings: dict[int, tuple[int, ...]] = {}
    counts: dict[int, int] = {}
    times: list[Any] = []
    for place, (stamp, is_whole) in enumerate(zip(stamps, fits, strict=True)):
        if stamp.startswith("!"):
            undated, counts[place] = _to_undated(stamp)
            reasons[place] = undated.reason
            readings[place] = undated.readings_ms
            times.append(values["open_time"][place])
        else:
            times.append(int(stamp))
        if not is_whole:
            reasons[place] = _width_reason(columns, lines[place])
    others = (values.get(name, repeat(None)) for name in _COLUMNS[1:])
    rows = [list(row) for row in zip(times, *others, lines)]  # noqa: B905 (what is not given is repeated for ever)
    _log_swapped(rows, columns, series)
    for place, count in counts.items():
        if count > 1:
            rows[place].insert(-1, count)
    read = FileRows(rows, reasons, (), readings, numbers, json.loads(said).get("numbered", "line"))
    return _without_silent(read)


def _unstamped(text: str) -> tuple[list[str], list[str], list[int]]:
    """Return the stamps of the lines, the lines, and their places in the file; none if the page does not say."""
    stamps, lines, numbers = [], [], []
    number = 0
    for stamped in text.split("\n") if text else ():
        stamp, _, line = stamped.partition("\t")
        if stamp.startswith("#"):
            _, stated, stamp = stamp.split("#", 2)
            number = int(stated) - 1
        number += 1
        numbers.append(number)
        stamps.append(stamp)
        lines.append(line)
    return stamps, lines, numbers if text.startswith("#") else []


def _by_place(lines: Sequence[str], columns: FileColumns) -> tuple[Sequence[Sequence[str]], Sequence[bool]]:
    """Return the values of the lines by their place, and which lines have the header's width.

    Of those that are shorter the last values are not given; of those that are longer none is, for nothing tells which
    is which.
    """
    separator, width = columns.separator, columns.width
    if lines and all(line.count(separator) == width - 1 for line in lines) and not any('"' in line for line in lines):
        # A list for each of many lines would keep the garbage collector busy.
        values = separator.join(lines).split(separator)
        return [values[place::width] for place in range(width)], [True] * len(lines)
    cells = [columns.cells(line) for line in lines]
    fitted = [(values + [""] * width)[:width] if len(values) <= width else [""] * width for values in cells]
    return list(zip(*fitted, strict=True)) or [()] * width, [len(values) == width for values in cells]


def _width_reason(columns: FileColumns, line: str) -> str:
    count = len(columns.cells(line))
    return f"{counted(count, 'value')} where the file's columns are {columns.width}"


def _given(cells: Sequence[str], decimal_mark: str) -> list[str | None]:
    """Return a column's values without spaces around them; None for those that say that there is none."""
    if "" not in cells and _USUAL.issuperset("".join(cells)) and decimal_mark == ".":
        return list(cells)
    stripped = map(str.strip, cells)
    return [None if cell.lower() in NOT_GIVEN else to_plain(cell, decimal_mark) for cell in stripped]


def _to_count(value: str | None) -> int | str | None:
    # Where some of a column are missing, pandas makes floats of the others.
    match = None if value is None else _WHOLE.fullmatch(value)
    return value if match is None else int(match[1])


def _without_silent(read: FileRows) -> FileRows:
    """Leave out the rows without any price and volume: so pandas and some sites write minutes without trades."""
    prices = [FILE_LAYOUT.columns[name] for name in PRICES]
    opened, volume = prices[0], FILE_LAYOUT.columns["volume"]
    silent = {
        place: row[0]
        for place, row in enumerate(read.rows)
        if row[opened] is None
        and place not in read.reasons
        and all(row[price] is None for price in prices)
        and (row[volume] is None or _ZERO.fullmatch(row[volume]))
    }
    if not silent:
        return read
    kept = [place for place in range(len(read.rows)) if place not in silent]
    return FileRows(
        [read.rows[place] for place in kept],
        {new: read.reasons[old] for new, old in enumerate(kept) if old in read.reasons},
        list(silent.values()),
        {new: read.readings[old] for new, old in enumerate(kept) if old in read.readings},
        [read.numbers[place] for place in kept] if read.numbers else (),
        read.numbered,
    )


def _log_swapped(rows: Sequence[list[Any]], columns: FileColumns, series: Series) -> None:
    if "quote_volume" in columns.places and (swapped := sum(map(_put_right, rows))):
        log.warning(
            "%s: in %d of %s the volumes in %s and %s stand the other way round, as the price shows: read so",
            *(series, swapped, counted(len(rows), "row"), *currencies(series)),
        )


def _put_right(row: list[Any]) -> bool:
    """Swap the two volumes in place if that is what the price says: quote over base is a price, not its inverse."""
    try:
        high, low, base, quote = (float(row[FILE_LAYOUT.columns[name]]) for name in _PRICED)
    except (TypeError, ValueError):
        return False
    # Volumes may be rounded to a few digits, so the mean price need be only about right.
    lowest, highest = low / 2, high * 2
    if not (base > 0 and quote > 0 and low > 0) or lowest <= quote / base <= highest:
        return False
    if not lowest <= base / quote <= highest:
        return False
    here, there = FILE_LAYOUT.columns["volume"], FILE_LAYOUT.columns["quote_volume"]
    row[here], row[there] = row[there], row[here]
    return True
