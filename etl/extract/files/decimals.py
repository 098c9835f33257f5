"""Numbers as people write them: decimal point or decimal comma, thousands in groups."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from etl.errors import ConfigError

_COMMA_IS_DECIMAL = re.compile(
    r"[+-]?(\d+,(\d{1,2}|\d{4,})|0\d*,\d+|\d{1,3}(\.\d{3})+,\d+|\d{1,3}(\.\d{3}){2,})", re.ASCII
)
_POINT_IS_DECIMAL = re.compile(r"[+-]?(\d{1,3}(,\d{3})+\.\d*|\d{1,3}(,\d{3}){2,}|\d+\.\d*|\.\d+)", re.ASCII)
_EITHER = re.compile(r"[+-]?\d{1,3},\d{3}", re.ASCII)
_EITHER_BY_POINT = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)
_WITH_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+|[+-]?[1-9]\d{0,2}(\.\d{3})+", re.ASCII)
_IN_GROUPS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Decimals:
    """The numbers of a file that tell how its decimals are written: the first of each kind, or None.

    Attributes:
        comma: One whose decimals are behind a comma, or whose thousands are behind points.
        point: One whose decimals are behind a point.
        either: One that can be read in both ways, a thousand times as large in one of them.
    """

    comma: str | None = None
    point: str | None = None
    either: str | None = None

    @property
    def is_told(self) -> bool:
        """True if any number can be read in one way only."""
        return self.comma is not None or self.point is not None

    def mark(self) -> str:
        """Return what separates decimals, point or comma.

        Raises:
            ConfigError: The numbers could be read in two ways, or are not all of one kind.
        """
        if self.comma and self.point:
            raise ConfigError(
                f"its numbers have decimal commas and decimal points: {self.comma!r} and {self.point!r}; "
                "write all with points"
            )
        if self.either and not self.is_told:
            plain = re.sub(r"[,.]", "", self.either)
            raise ConfigError(
                f"a number in it can be read in two ways, and no other tells which: {self.either!r} is {plain} or "
                f"{self.either.replace(',', '.')}; write it without groups of digits, and not with three decimals"
            )
        return "," if self.comma else "."


def find_decimals(cells: Iterable[str], separator: str) -> Decimals:
    """Return the numbers that tell how decimals are written.

    Args:
        separator: Of the file's values. Where decimals are behind commas, values are separated by semicolons: there
            42.000 may be 42 thousand. Elsewhere a single point is taken for the decimal one.
    """
    comma = point = either = None
    for cell in map(str.strip, cells):
        if _COMMA_IS_DECIMAL.fullmatch(cell):
            comma = comma or cell
        elif separator == ";" and _EITHER_BY_POINT.fullmatch(cell):
            either = either or cell
        elif _POINT_IS_DECIMAL.fullmatch(cell):
            point = point or cell
        elif "," in cell and _EITHER.fullmatch(cell):
            either = either or cell
    return Decimals(comma, point, either)


def to_plain(cell: str, mark: str) -> str:
    """Return a number with a decimal point and without groups; anything else as it is."""
    if mark == ",":
        return cell.replace(".", "").replace(",", ".") if _WITH_COMMA.fullmatch(cell) else cell
    return cell.replace(",", "") if "," in cell and _IN_GROUPS.fullmatch(cell) else cell


def is_number(cell: str, mark: str) -> bool:
    """Return whether a cell is a decimal number."""
    return _PLAIN.fullmatch(to_plain(cell.strip(), mark)) is not None
