"""A line of separated values as cells, and cells as a line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable

SEPARATORS = ",;\t"
NOT_GIVEN = frozenset({"", "null", "none", "nan", "n/a", "na", "nat", "-"})
"""Texts of a cell that has no value; lower case."""

_SPECIAL = re.compile(r'[",\r\n]')
_BREAKS = re.compile(r"[\r\n]+")


def to_cells(line: str, separator: str) -> list[str]:
    """Return the values of a line, as text."""
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return [line]


def to_line(cells: Iterable[str]) -> str:
    """Return cells as one line, separated by commas."""
    return ",".join(_quoted(cell) if _SPECIAL.search(cell) else cell for cell in cells)


def _quoted(cell: str) -> str:
    return '"' + _BREAKS.sub(" ", cell).replace('"', '""').replace("\0", "\\x00") + '"'
