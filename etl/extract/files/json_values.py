"""JSON values as lines of separated values. Numbers keep the digits that they have in the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from etl.extract.files.cells import to_line

DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)


class Rows:
    """Turns rows into lines: arrays as they are, objects by the names of the first of them."""

    def __init__(self) -> None:
        self._names: Sequence[str] | None = None

    def lines(self, row: Any) -> list[str] | None:
        """Return the lines of a row, before the first object's a line of its names; None if it is no row.

        An object that has other names than the first one has more values than these, so that it is refused.
        """
        if isinstance(row, list):
            return [to_line([_text(value) for value in row])]
        if not isinstance(row, dict):
            return None
        header = []
        if self._names is None:
            self._names = list(row)
            header = [to_line(self._names)]
        return [*header, to_line(_by_names(row, self._names))]


def _by_names(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    others = [f"{name}={_text(value)}" for name, value in row.items() if name not in names]
    return [_text(row.get(name)) for name in names] + others


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
