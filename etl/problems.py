"""Mistakes in files of settings and in questions: where each is, and a line about it in our words, not a library's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from etl.errors import ConfigError
from etl.spelling import as_written, nearest, without_login

Place = tuple[str, ...]
FEEDS, EXCHANGE_TABLES, SERIES_TABLES = "feeds", "exchanges", "series"
"""Tables of feeds.toml that hold a table for each name. A mistake in one of the first two leaves the others."""
_PREFIX = "Value error, "
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in a file of settings.

    Attributes:
        place: The keys that lead to it, the outermost first; empty if it is the file's as a whole.
        problem: `<problem>: <value>; <remedy>`, without a full stop.
        origin: The file, or the variable of the environment that says it.
    """

    place: Place
    problem: str
    origin: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.origin, ".".join(self.place), self.problem) if part)


def problems_of(error: ValidationError, known_keys: Callable[[Place], Iterable[str]]) -> Iterator[tuple[Place, str]]:
    """Yield the place and the problem of each mistake that a validation has found.

    Args:
        known_keys: Returns the keys that there are where an unknown one stands.
    """
    for detail in error.errors():
        if detail["type"] == "too_short" and detail["input"]:
            continue  # what is in it is wrong, and told
        place = tuple(str(part) for part in detail["loc"] if part != "[key]")
        if detail["type"] == "extra_forbidden":
            yield place, f"unknown key{nearest(place[-1], known_keys(place))}"
        else:
            for line in in_our_words(detail).splitlines():
                yield place, line


def root_of(place: Place) -> Place:
    """Return what is left out for a mistake: a whole feed or exchange, or else what stands at the top of the file."""
    return place[: 2 if place[:1] in {(FEEDS,), (EXCHANGE_TABLES,)} else 1]


def leave_out(content: dict[str, Any], faults: Iterable[Fault]) -> bool:
    """Take out of the file's content what has a mistake; return whether anything was there to be taken out."""
    is_changed = False
    for root in {root_of(fault.place) for fault in faults if fault.place}:
        table = content if len(root) == 1 else content.get(root[0], {})
        if root[-1] in table:
            del table[root[-1]]
            is_changed = True
    return is_changed


def file_order(fault: Fault, feeds: Sequence[str]) -> tuple[bool, int]:
    """Return by what mistakes are sorted: feeds last, as they stand in the file."""
    name = fault.place[1] if fault.place[:1] == (FEEDS,) and len(fault.place) > 1 else ""
    return bool(name), feeds.index(name) if name in feeds else -1


def in_our_words(detail: Mapping[str, Any]) -> str:
    """Return what is wrong by one of pydantic's errors: the value, and what to write instead.

    Args:
        detail: Of `ValidationError.errors()`, or of what FastAPI refuses.
    """
    place = tuple(str(part) for part in detail["loc"] if part != "[key]")
    kind, value, context = str(detail["type"]), as_written(detail.get("input")), detail.get("ctx") or {}
    if kind in {"value_error", "assertion_error"}:
        return without_login(str(detail["msg"]).removeprefix(_PREFIX))
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return "is not known here; leave it out"
    if kind in {"too_short", "string_too_short"}:
        return "empty; name at least one" if kind == "too_short" else f"{value} is too short"
    if kind in {"too_long", "string_too_long"}:
        return f"{value} is too long: at most {context.get('max_length')}"
    if kind in {"enum", "literal_error"}:
        return f"{value} is unknown; write {_choices(str(context.get('expected', '')))}"
    if bound := _BOUNDS.get(kind):
        return f"{value} is out of bounds; write a number {bound} {context[_LIMIT[kind]]}"
    return f"{value} {_expected(kind, place)}"


def _expected(kind: str, place: Place) -> str:
    """Return what a value is not, and what to write there instead, by the name of pydantic's error."""
    if kind.startswith(_TABLES):
        return f"is no table; write its keys below a line {header_of(place)}"
    if kind.startswith(_LISTS):
        if place[-1:] == ("routes",):
            return f"is no list of tables; write the keys of each below a line {header_of(place)}"
        example = LIST_EXAMPLES.get(place[-1]) if place else None
        return "is no list; write one in brackets" + ("" if example is None else f", such as {example}")
    return next((advice for stem, advice in _EXPECTED.items() if kind.startswith(stem)), "cannot be meant")


_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "of at least",
    "less_than": "below",
    "less_than_equal": "of at most",
}
_LIMIT = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
# By what pydantic's names of errors begin with.
_LISTS = ("tuple", "list", "frozen_set", "set")
_TABLES = ("mapping", "dict", "model")
_EXPECTED = {
    "string_pattern": "has a character that is not taken here",
    "string": "is no text; write it in quotes",
    "bool": "is neither true nor false",
    "int_from_float": "is no whole number",
    "int": "is no whole number",
    "float": "is no number",
    "finite_number": "is no finite number",
    "url_scheme": "is no web address; write http:// or https:// before it",
    "url": "is no web address; write one such as http://127.0.0.1:8900",
    "path": "is no path; write it in quotes",
    "date": "is no date; write one such as 2024-01-31",
    "time": "is no time of day; write one such as '22:00'",
    "json": "cannot be read as JSON",
}


LIST_EXAMPLES: Mapping[str, str] = {
    "symbols": '["BTC/USDT"]',
    "timeframes": '["1h"]',
    "split": "[2022-05-31T06:00:00Z]",
    "off": '["jump"]',
    "channels": '["desk"]',
    "kinds": '["crash"]',
    "exchanges": '["binance"]',
}
"""By the key of a list: one that is right there."""
NAME_EXAMPLES: Mapping[str, str] = {
    FEEDS: "majors",
    EXCHANGE_TABLES: "binance",
    SERIES_TABLES: '"binance:LUNA/USDT"',
    "channels": "desk",
}
"""By a table of tables: the name of one that may stand there."""


def header_of(place: Place) -> str:
    """Return the line above the keys of a table, as TOML has it."""
    if place[:1] == ("routes",):
        return "[[routes]]"
    keys = [key if _BARE_KEY.fullmatch(key) else f'"{key}"' for key in place]
    if len(place) == 1 and place[0] in NAME_EXAMPLES:
        return f"such as [{place[0]}.{NAME_EXAMPLES[place[0]]}]"
    return f"[{'.'.join(keys) or 'rules'}]"


def _choices(expected: str) -> str:
    """Return pydantic's `'low', 'high' or 'critical'` without quotes."""
    return re.sub(r"'([^']*)'", r"\1", expected)


def refuse(faults: Iterable[Fault]) -> None:
    """Refuse what is wrong, if anything is.

    Raises:
        ConfigError: A line for each mistake.
    """
    if lines := [str(fault) for fault in faults]:
        raise ConfigError("\n".join(lines))
