"""What the lines of somebody's file of candles say: its columns by their names, its times in whatever unit.

Pure. Nothing in a file is taken on trust: a line that cannot be read is a row all the same, for quarantine to show.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

from etl.errors import ConfigError
from etl.exchanges import FILE_LAYOUT
from etl.series import Series
from etl.timeframe import to_ms

log = logging.getLogger(__name__)

_FIRST_MS = 1_230_940_800_000  # 2009-01-03, before which nothing of ours was traded
_REQUIRED = ("open_time", "open", "high", "low", "close", "volume")
_PRICED = ("high", "low", "volume", "quote_volume")
_COLUMNS = sorted(FILE_LAYOUT.columns, key=lambda name: FILE_LAYOUT.columns[name])
_USUAL = frozenset("0123456789.")
_SEPARATORS = ",;\t"
_HALF_DAY = "%Y-%m-%d %I-%p"
_NOT_GIVEN = frozenset({"", "null", "none", "nan", "n/a", "na", "-"})
_DIGITS = re.compile(r"\d{1,19}", re.ASCII)
_NUMBER = re.compile(r"\d{1,19}\.?\d{0,9}([eE]\+?\d{1,2})?", re.ASCII)
_WHOLE = re.compile(r"(\d{1,18})(\.0*)?", re.ASCII)

# By preference. BASE and QUOTE stand for the symbol's currencies; an index that pandas wrote may have no name.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "open_time": (
        *("open_time", "open_time_ms", "opentime", "unix", "unix_timestamp", "unix_time", "timestamp", "time", "ts"),
        *("datetime", "date", "index_level_0", ""),
    ),
    "open": ("open", "open_price", "o"),
    "high": ("high", "high_price", "h"),
    "low": ("low", "low_price", "l"),
    "close": ("close", "close_price", "c"),
    "volume": ("volume_BASE", "volume", "vol", "base_volume", "v"),
    "quote_volume": ("volume_QUOTE", "quote_volume", "quote_asset_volume", "volume_currency", "turnover"),
    "trades": ("trades", "tradecount", "trade_count", "number_of_trades", "num_trades", "count"),
    "taker_buy_volume": ("taker_buy_volume", "taker_buy_base_volume", "taker_buy_base_asset_volume"),
    "taker_buy_quote_volume": ("taker_buy_quote_volume", "taker_buy_quote_asset_volume"),
}
# Files without a header that are known by how many values a line has.
# Source: https://support.kraken.com/articles/360047124832 (OHLCVT)
# Source: https://github.com/binance/binance-public-data
_WITHOUT_HEADER: Mapping[int, str] = {
    7: "time,open,high,low,close,volume,trades",
    12: "open_time,open,high,low,close,volume,close_time,quote_volume,trades,taker_buy_volume,"
    "taker_buy_quote_volume,ignore",
}


@dataclass(frozen=True, slots=True)
class FileColumns:
    """How the lines of a file look.

    Attributes:
        header: The line that names the columns, as it stands in the file; a page of the file begins with it.
        width: How many values a line has.
        places: Which of our columns stands where.
    """

    header: str
    separator: str
    width: int
    places: Mapping[str, int]

    def cells(self, line: str) -> list[str]:
        """Return the values of a line, as text."""
        return _cells(line, self.separator)

    def open_time_ms(self, line: str, clock_ms: int) -> int | None:
        """Return a line's open time in milliseconds since the epoch; None if it states none that can be.

        Args:
            clock_ms: When the file was written: nothing in it opened later.
        """
        place = self.places["open_time"]
        cells = self.cells(line) if '"' in line else line.split(self.separator, place + 1)
        return _possible_ms(cells[place], clock_ms) if len(cells) > place else None


def find_columns(lines: Sequence[str], series: Series) -> tuple[FileColumns, int]:
    """Find out how the lines of a file look.

    Args:
        lines: Its first lines; a few of them may be remarks that stand before the header.

    Returns:
        The columns, and how many lines stand before the first row.

    Raises:
        ConfigError: No line names the columns, and they are of no known kind without.
    """
    if not any(line.strip() for line in lines):
        raise ConfigError("it is empty")
    for number, line in enumerate(lines):
        columns = _named(line, series)
        if all(name in columns.places for name in _REQUIRED):
            return columns, number + 1
    for number, line in enumerate(lines):
        cells = _cells(line, ",")
        header = _WITHOUT_HEADER.get(len(cells))
        if header is not None and all(_NUMBER.fullmatch(cell) for cell in cells[:6]) and _to_ms(cells[0]):
            return _named(header, series), number
    raise ConfigError(_unknown(lines, series))


def file_rows(body: str, series: Series, clock_ms: int) -> list[list[Any]]:
    """Return the rows of a page of a file, in `FILE_LAYOUT`: the values as they stand there, and the line itself.

    Times become whole milliseconds and trades integers; a value that says that there is none is None. A time that
    cannot be, and that of a line that has not the header's width, stays text, so that the row is refused.
    """
    header, _, rest = body.partition("\n")
    columns = _named(header, series)
    lines = [line for line in rest.split("\n") if line.strip()]
    by_place, is_whole = _by_place(lines, columns)
    values: dict[str, list[Any]] = {name: _given(by_place[place]) for name, place in columns.places.items()}
    if "trades" in values:
        values["trades"] = list(map(_to_count, values["trades"]))
    place = columns.places["open_time"]
    moments = (
        _possible_ms(cell, clock_ms) if fits else None for cell, fits in zip(by_place[place], is_whole, strict=True)
    )
    times = [raw if at_ms is None else at_ms for raw, at_ms in zip(values["open_time"], moments, strict=True)]
    others = (values.get(name, repeat(None)) for name in _COLUMNS[1:])
    rows = [list(row) for row in zip(times, *others, lines)]  # noqa: B905 (what is not given is repeated for ever)
    if "quote_volume" in values and (swapped := sum(map(_put_right, rows))):
        log.warning(
            "%s: in %d of %d rows the volumes in %s and %s stand the other way round, as the price shows: read so",
            *(series, swapped, len(rows), *_currencies(series)),
        )
    return rows


def _by_place(lines: Sequence[str], columns: FileColumns) -> tuple[Sequence[Sequence[str]], Sequence[bool]]:
    """Return the values of the lines by their place, and which lines have the header's width; others are made fit."""
    separator, width = columns.separator, columns.width
    if lines and all(line.count(separator) == width - 1 for line in lines) and not any('"' in line for line in lines):
        # A list for each of many lines would keep the garbage collector busy.
        values = separator.join(lines).split(separator)
        return [values[place::width] for place in range(width)], [True] * len(lines)
    cells = [columns.cells(line) for line in lines]
    fitted = [(values + [""] * width)[:width] for values in cells]
    return list(zip(*fitted, strict=True)) or [()] * width, [len(values) == width for values in cells]


def _named(header: str, series: Series) -> FileColumns:
    separator = max(_SEPARATORS, key=header.count)
    cells = _cells(header, separator)
    found: dict[str, int] = {}
    for place, cell in enumerate(cells):
        found.setdefault(re.sub(r"[^a-z0-9]+", "_", cell.lower()).strip("_"), place)
    base, quote = (currency.lower() for currency in _currencies(series))
    places = {}
    for column, names in _NAMES.items():
        spelt = (name.replace("BASE", base).replace("QUOTE", quote) for name in names)
        if (name := next((name for name in spelt if name in found), None)) is not None:
            places[column] = found[name]
    return FileColumns(header, separator, len(cells), places)


def _unknown(lines: Sequence[str], series: Series) -> str:
    widest = max((_named(line, series) for line in lines), key=lambda columns: columns.width)
    missing = [name for name in _REQUIRED if name not in widest.places]
    found = ", ".join(repr(cell.strip()[:40]) for cell in widest.cells(widest.header)[:20])
    base, quote = _currencies(series)
    return (
        f"found the columns {found}, but none for {', '.join(missing)}; expected a line that names open_time (or unix, "
        f"timestamp, time, date), open, high, low, close and volume (or Volume {base}), and where they are known "
        f"Volume {quote} and trades"
    )


def _currencies(series: Series) -> tuple[str, str]:
    base, _, quote = series.symbol.partition(":")[0].partition("/")
    return base, quote


def _given(cells: Sequence[str]) -> list[str | None]:
    """Return a column's values without spaces around them; None for those that say that there is none."""
    if "" not in cells and _USUAL.issuperset("".join(cells)):
        return list(cells)
    return [None if cell.strip().lower() in _NOT_GIVEN else cell.strip() for cell in cells]


def _to_count(value: str | None) -> int | str | None:
    # Where some of a column are missing, pandas makes floats of the others.
    match = None if value is None else _WHOLE.fullmatch(value)
    return value if match is None else int(match[1])


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


def _cells(line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return [line]


def _possible_ms(text: str, clock_ms: int) -> int | None:
    at_ms = _to_ms(text.strip())
    return at_ms if at_ms is not None and _FIRST_MS <= at_ms <= clock_ms else None


def _to_ms(text: str) -> int | None:
    """Return a moment in milliseconds since the epoch, its unit told by its size; None if it is none that is whole."""
    if _DIGITS.fullmatch(text):
        number = int(text)
    elif _NUMBER.fullmatch(text):
        value = float(text) * 1000 if float(text) < 1e11 else float(text)
        if not value.is_integer():
            return None
        number = int(value)
    else:
        return _from_date(text)
    if number < 10**11:  # as seconds the year 5138, as milliseconds 1973; likewise with the smaller units
        return number * 1000
    if number < 10**14:
        return number
    unit = 1000 if number < 10**17 else 1_000_000
    return number // unit if number % unit == 0 else None


def _from_date(text: str) -> int | None:
    try:
        # 2020-10-24 07-AM stands in files of some years.
        is_half_day = text.endswith(("-AM", "-PM"))
        moment = datetime.strptime(text, _HALF_DAY) if is_half_day else datetime.fromisoformat(text)  # noqa: DTZ007 (below)
    except ValueError:
        return None
    return to_ms(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)
