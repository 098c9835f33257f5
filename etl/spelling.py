"""Parsing and formatting of moments and durations, suggestions of names, and joined sentences."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from typing import Annotated

from pydantic import BeforeValidator

from etl.errors import ConfigError

_DURATION = re.compile(r"(\d+)\s*([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_WEEKS = re.compile(r"(\d{1,4})\s*w")
LONGEST_DAYS = 36_500.0  # nobody knows what is more seldom
_RARITIES = ((365.25, "year"), (365.25 / 12, "month"), (1.0, "day"), (1 / 24, "hour"), (1 / 1440, "minute"))
_TWO = 1.95  # what rounds to two, nearly
_MOMENTS = "write 2024-01-31 or 2024-01-31T12:00"
_ENDS = (".", "!", "?", "…", ":")
_SHOWN = 60  # characters of a value
_LOGIN = re.compile(r"//\S*@")  # a login in an address; a password may have an @ or a / in it


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at what was meant: ` (nearest: 1m)`, or the names there are, or nothing."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5) or get_close_matches(name.upper(), names, n=1, cutoff=0.5)
    if close:
        return f"; nearest: {close[0]}"
    return f"; known: {', '.join(names[:12])}" if names else ""


def close_to(name: str, known: Iterable[str]) -> str:
    """Return `; nearest: binance:BTC/USDT` if a known name is but for a letter or so the same, or nothing."""
    return "".join(f"; nearest: {one}" for one in get_close_matches(name, sorted(known), n=1, cutoff=0.9))


def as_written(value: object) -> str:
    """Return a value as a file of settings has it, cut, and without logins: no spelling of a language's."""
    text = without_login(_as_toml(value))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def without_login(text: str) -> str:
    """Return a text of which no address says who logs in."""
    return _LOGIN.sub("//***@", text)


def _as_toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date | time):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_as_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    return "nothing" if value is None else repr(value) if isinstance(value, str) else str(value)


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return `1 row`, `1,200 rows`.

    Args:
        plural: Of the noun, where it is not the noun with an s.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def spell_duration(duration: timedelta) -> str:
    """Return a duration as settings write it, in its largest whole unit: `24h`, `90m`, `7d`; else as `1:30:05`."""
    for letter, unit in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1))):
        # A day is 24h, as the examples have it.
        if duration % unit == timedelta(0) and (letter != "d" or duration > unit):
            return f"{duration // unit}{letter}"
    return str(duration)


def once_in(days: float | None) -> str:
    """Return how seldom something is, in the unit that gives a number of two or more: `40 days`; nothing for None."""
    if days is None:
        return ""
    if days >= LONGEST_DAYS:
        return "over 100 years"
    width, unit = next((one for one in _RARITIES if days >= _TWO * one[0]), _RARITIES[-1])
    return counted(round(days / width), unit)


def sentence(text: str) -> str:
    """Return a text that another sentence may follow: with a full stop, unless something like it ends it."""
    text = text.rstrip()
    return text if text.endswith(_ENDS) or not text else f"{text}."


def _to_duration(value: object) -> object:
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        try:
            return timedelta(**{_UNITS[match[2]]: int(match[1])})
        except OverflowError as error:
            raise ValueError(f"{value!r} is longer than any calendar") from error
    if isinstance(value, timedelta):
        return value
    weeks = _WEEKS.fullmatch(value.strip()) if isinstance(value, str) else None
    example = f"{7 * int(weeks[1])}d" if weeks else "24h"
    raise ValueError(f"{as_written(value)} is no duration; write a number and m, h or d, such as {example!r}")


def _to_moment(value: object) -> object:
    if isinstance(value, date | str):
        try:
            return parse_moment(value if isinstance(value, str) else value.isoformat())
        except ConfigError as error:
            raise ValueError(error.message) from error
    raise ValueError(f"{as_written(value)} is no moment; {_MOMENTS}")


def parse_moment(text: str) -> datetime:
    """Read a date or an ISO 8601 moment; without an offset it is UTC.

    Raises:
        ConfigError: It is neither, or before or after all that the calendar has.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{text!r} is no moment; {_MOMENTS}") from error


Duration = Annotated[timedelta, BeforeValidator(_to_duration)]
Moment = Annotated[datetime, BeforeValidator(_to_moment)]
