"""What people write: moments, durations, names that they meant, and files of settings."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from etl.errors import ConfigError

_DURATION = re.compile(r"(\d+)\s*([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at what was meant: ` (nearest: 1m)`, or the names there are, or nothing."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5) or get_close_matches(name.upper(), names, n=1, cutoff=0.5)
    if close:
        return f"; nearest: {close[0]}"
    return f"; known: {', '.join(names[:12])}" if names else ""


def counted(count: int, noun: str) -> str:
    """Return `1 row`, `1,200 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def spell_duration(duration: timedelta) -> str:
    """Return a duration as settings write it, in its largest whole unit: `24h`, `90m`, `7d`; else as `1:30:05`."""
    for letter, unit in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1))):
        # A day is 24h, as the examples have it.
        if duration % unit == timedelta(0) and (letter != "d" or duration > unit):
            return f"{duration // unit}{letter}"
    return str(duration)


def _to_duration(value: object) -> object:
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    if isinstance(value, timedelta):
        return value
    raise ValueError(f"{value!r} is no duration; write a number and m, h or d, such as '24h'")


def _to_moment(value: object) -> object:
    try:
        return parse_moment(value.isoformat() if isinstance(value, date) else str(value))
    except ConfigError as error:
        raise ValueError(error.message) from error


def parse_moment(text: str) -> datetime:
    """Read a date or an ISO 8601 moment; without an offset it is UTC.

    Raises:
        ConfigError: It is neither, or before or after all that the calendar has.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{text!r} is no moment; write 2024-01-31 or 2024-01-31T12:00") from error


def read_toml(path: Path, variable: str) -> dict[str, Any]:
    """Read a file of settings; nothing if it is not there.

    Args:
        variable: The environment may name the file by it; then it must be there.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if variable in os.environ:
            raise ConfigError(f"{variable} names {path}, which is not there") from error
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def problem_lines(
    error: ValidationError, known_keys: Callable[[tuple[int | str, ...]], Iterable[str]]
) -> Iterable[str]:
    """Yield a line for each thing that is wrong in a file of settings, with what would have been right.

    Args:
        known_keys: Returns the keys that there are where an unknown one stands.
    """
    for detail in error.errors():
        place = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            key = str(detail["loc"][-1])
            yield f"unknown key {place}{nearest(key, known_keys(detail['loc']))}"
        elif detail["type"] == "missing":
            yield f"{place} is missing"
        else:
            message = detail["msg"].removeprefix("Value error, ")
            for line in message.splitlines():
                yield f"{place}: {line}" if place else line


Duration = Annotated[timedelta, BeforeValidator(_to_duration)]
Moment = Annotated[datetime, BeforeValidator(_to_moment)]
