"""The text inside one of Binance's archives into rows, as its API would send them."""

from __future__ import annotations

import re
from itertools import repeat
from typing import Any

WIDTH = 12
"""Values of a row."""

_HEADER = "open_time,"
_INTEGERS = (0, 6, 8)  # open_time, close_time, trades
_DIGITS = re.compile(r"\d{1,4300}", re.ASCII)  # more of them Python does not convert
_MARKS = "+-_ \t\r\v\f\x1c\x1d\x1e\x1f"  # what Python's int() takes besides digits


def csv_rows(body: str) -> list[list[Any]]:
    """Return the rows of a file's text, as the API would send them.

    Times and trades become integers where they are digits; the other values stay decimal strings, and an empty one is
    None, as the API has null. A row that is not twelve values wide is kept as text, for quarantine to show. Times are
    as received: in milliseconds, from 2025-01-01 in microseconds. A header line and empty lines hold no row.
    """
    text = without_header(body).rstrip("\n")
    lines = text.split("\n")
    if text.isascii() and not any(mark in text for mark in _MARKS):
        rows = list(map(str.split, lines, repeat(",")))
        if set(map(len, rows)) <= {WIDTH} and not any("" in row for row in rows) and _read_integers(rows):
            return rows
    return [_to_row(line.removesuffix("\r")) for line in lines if line.removesuffix("\r")]


def without_header(body: str) -> str:
    """Return the text without the line of names that newer files begin with."""
    return body.partition("\n")[2] if body.startswith(_HEADER) else body


def _read_integers(rows: list[list[Any]]) -> bool:
    """Turn times and trades into integers, in place; False if one is no number, and the rows are not to be used."""
    try:
        for row in rows:
            row[0], row[6], row[8] = int(row[0]), int(row[6]), int(row[8])
    except ValueError:
        return False
    return True


def _to_row(line: str) -> list[Any]:
    cells: list[Any] = line.split(",")
    if len(cells) != WIDTH:
        return cells
    row = [cell or None for cell in cells]
    for place in _INTEGERS:
        if _DIGITS.fullmatch(cells[place]):
            row[place] = int(cells[place])
    return row
