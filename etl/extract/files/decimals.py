"""Numbers as people write them: decimal point or decimal comma, thousands in groups."""

from __future__ import annotations

import re
from collections.abc import Iterable

from etl.errors import ConfigError

_COMMA_IS_DECIMAL = re.compile(r"[+-]?(\d+,(\d{1,2}|\d{4,})|0\d*,\d+|\d{1,3}(\.\d{3})+,\d+)", re.ASCII)
_POINT_IS_DECIMAL = re.compile(r"[+-]?(\d{1,3}(,\d{3})+\.\d*|\d{1,3}(,\d{3}){2,}|\d+\.\d*|\.\d+)", re.ASCII)
_EITHER = re.compile(r"[+-]?\d{1,3},\d{3}", re.ASCII)
_WITH_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+", re.ASCII)
_IN_GROUPS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def find_decimal_mark(cells: Iterable[str]) -> str:
    """Return what separates decimals in these numbers, point or comma.

    Raises:
        ConfigError: They could be read in two ways, or are not all of one kind.
    """
    comma = point = either = None
    for cell in map(str.strip, cells):
        if "," in cell and _COMMA_IS_DECIMAL.fullmatch(cell):
            comma = comma or cell
        elif _POINT_IS_DECIMAL.fullmatch(cell):
            point = point or cell
        elif "," in cell and _EITHER.fullmatch(cell):
            either = either or cell
    if comma and point:
        raise ConfigError(
            f"its numbers have decimal commas and decimal points: {comma!r} and {point!r}; write all with points"
        )
    if either and not comma and not point:
        raise ConfigError(
            f"a number in it can be read in two ways: {either!r}; write it with a decimal point and no groups of digits"
        )
    return "," if comma else "."


def to_plain(cell: str, mark: str) -> str:
    """Return a number with a decimal point and without groups; anything else as it is."""
    if mark == ",":
        return cell.replace(".", "").replace(",", ".") if _WITH_COMMA.fullmatch(cell) else cell
    return cell.replace(",", "") if "," in cell and _IN_GROUPS.fullmatch(cell) else cell


def is_number(cell: str, mark: str) -> bool:
    """Return whether a cell is a decimal number."""
    return _PLAIN.fullmatch(to_plain(cell.strip(), mark)) is not None
