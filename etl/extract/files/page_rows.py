"""The rows of a page of a file.

A page is a line of JSON that says how its lines look, and the lines, each behind a stamp: the open time that the file's
own forms, order and zone have given the line, or why there is none, with the times that it may mean if these are two.
So a page does not depend on the rest of the file.
"""

from __future__ import annotations

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
_UNDATED = re.compile(r"!((?:\d+!)*)(.*)", re.ASCII)
_ZERO = re.compile(r"[+-]?(0+\.?0*|\.0+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class FileRows:
    """The content of the lines of a page.

    Attributes:
        rows: In `FILE_LAYOUT`: the values as they stand there, and the line itself behind them. Times are milliseconds;
            those that cannot be read stay text. A value that says that there is none is None, and so are all of a
            line that has more values than the file's columns.
        reasons: Why a row is no candle, by its place: it has no open time, or not the file's number of values.
        silent_ms: When the lines open that say that nothing was traded: no price, and no volume. They are no rows.
        readings: When a row may open that states no open time that can be, by its place; see `Undated`.
    """

    rows: list[list[Any]]
    reasons: Mapping[int, str]
    silent_ms: Sequence[int]
    readings: Mapping[int, tuple[int, ...]]

    @property
    def silent(self) -> int:
        """The number of lines that say that nothing was traded."""
        return len(self.silent_ms)


def to_body(columns: FileColumns, stamped: Sequence[str]) -> str:
    """Return the body of a page."""
    return "\n".join([columns.to_json(), *stamped])


def to_stamped(line: str, opened: int | Undated) -> str:
    """Return a line behind its open time in milliseconds, or behind why it has none."""
    if isinstance(opened, int):
        return f"{opened}\t{line}"
    readings = "".join(f"{at_ms}!" for at_ms in opened.readings_ms)
    return f"!{readings}{_BREAKS.sub(' ', opened.reason)}\t{line}"


def _to_undated(stamp: str) -> Undated | None:
    """Return what a stamp says that has no open time: `!`, each reading with a `!` behind it, and the reason."""
    match = _UNDATED.fullmatch(stamp)
    return None if match is None else Undated(match[2], tuple(map(int, match[1].split("!")[:-1])))


def file_rows(body: str, series: Series) -> FileRows:
    """Return the rows of a page's body."""
    said, _, rest = body.partition("\n")
    columns = FileColumns.from_json(said)
    stamps, lines = _unstamped(rest)
    by_place, fits = _by_place(lines, columns)
    values: dict[str, list[Any]] = {
        name: _given(by_place[place], "." if name == "open_time" else columns.decimal_mark)
        for name, place in columns.places.items()
    }
    if "trades" in values:
        values["trades"] = list(map(_to_count, values["trades"]))
    reasons: dict[int, str] = {}
    readings: dict[int, tuple[int, ...]] = {}
    times: list[Any] = []
    for place, (stamp, is_whole) in enumerate(zip(stamps, fits, strict=True)):
        undated = _to_undated(stamp)
        if undated is not None:
            reasons[place] = undated.reason
            readings[place] = undated.readings_ms
        if not is_whole:
            reasons[place] = _width_reason(columns, lines[place])
        times.append(int(stamp) if undated is None else values["open_time"][place])
    others = (values.get(name, repeat(None)) for name in _COLUMNS[1:])
    rows = [list(row) for row in zip(times, *others, lines)]  # noqa: B905 (what is not given is repeated for ever)
    _log_swapped(rows, columns, series)
    return _without_silent(rows, reasons, readings)


def _unstamped(text: str) -> tuple[list[str], list[str]]:
    stamps, lines = [], []
    for stamped in text.split("\n") if text else ():
        stamp, _, line = stamped.partition("\t")
        stamps.append(stamp)
        lines.append(line)
    return stamps, lines


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


def _without_silent(
    rows: list[list[Any]], reasons: Mapping[int, str], readings: Mapping[int, tuple[int, ...]]
) -> FileRows:
    """Leave out the rows without any price and volume: so pandas and some sites write minutes without trades."""
    prices = [FILE_LAYOUT.columns[name] for name in PRICES]
    opened, volume = prices[0], FILE_LAYOUT.columns["volume"]
    silent = {
        place: row[0]
        for place, row in enumerate(rows)
        if row[opened] is None
        and place not in reasons
        and all(row[price] is None for price in prices)
        and (row[volume] is None or _ZERO.fullmatch(row[volume]))
    }
    if not silent:
        return FileRows(rows, reasons, (), readings)
    kept = [place for place in range(len(rows)) if place not in silent]
    moved = {new: reasons[old] for new, old in enumerate(kept) if old in reasons}
    moved_readings = {new: readings[old] for new, old in enumerate(kept) if old in readings}
    return FileRows([rows[place] for place in kept], moved, list(silent.values()), moved_readings)


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
