"""JSON values as lines of separated values. Numbers keep the digits that they have in the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etl.errors import ConfigError
from etl.extract.files.cells import to_line


def _by_name(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        for name, value in pairs:
            if value != named[name]:
                raise ConfigError(
                    f"an object in it has {name!r} twice, with different values: {str(value)[:40]!r} and "
                    f"{str(named[name])[:40]!r}; rename or remove one of them"
                )
    return named


DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_by_name)


_MAX_EARLY = 1000  # elements before the first row


class Rows:
    """Turns rows into lines: arrays as they are, objects by the names of the first of them, all else as it is written.

    What is no row and comes before the first row follows it, so that no line before the names is taken for a remark.
    """

    def __init__(self) -> None:
        self._names: Sequence[str] | None = None
        self._early: list[str] = []
        self._has_begun = False

    def lines(self, row: Any, text: str) -> Iterator[str]:
        """Yield the lines of an element, before the first object's a line of its names.

        An object that has other names than the first one has more values than these, so that it is refused.

        Args:
            text: The element as it is written, without breaks of lines.
        """
        if isinstance(row, dict) and self._names is None:
            self._names = list(row)
            yield to_line(self._names)
        if isinstance(row, list | dict):
            yield to_line(
                [_text(value) for value in row] if isinstance(row, list) else _by_names(row, self._names or ())
            )
            yield from self.rest()
            self._has_begun = True
        elif self._has_begun:
            yield text
        else:
            self._early.append(text)
            self._has_begun = len(self._early) >= _MAX_EARLY

    def rest(self) -> Iterator[str]:
        """Yield what is kept back."""
        yield from self._early
        self._early = []


def _by_names(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    others = [f"{name}={_text(value)}" for name, value in row.items() if name not in names]
    return [_text(row.get(name)) for name in names] + others


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
