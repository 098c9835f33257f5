"""Moments as files write them. A form is read if it can mean one moment only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum

FORMS = (
    "seconds, milliseconds, microseconds or nanoseconds since 1970, 2024-03-31, 2024-03-31 14:00:00, "
    "2024-03-31T14:00Z, 2024.03.31 14:00, 2024/03/31, 20240331, 20240331 140000, 31-Mar-2024, Mar 31, 2024 2:00 PM, "
    "and 31/03/2024 or 03/31/2024 where a day after the 12th tells which"
)

_DIGITS = re.compile(r"\d{1,19}", re.ASCII)
_FRACTION = re.compile(r"\d{1,19}\.\d{0,9}|\d{1,19}\.?\d{0,9}[eE]\+?\d{1,2}", re.ASCII)
_COMPACT = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?", re.ASCII)
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: n for n, name in enumerate(_MONTH_NAMES, 1)}
_MONTH = r"(?P<{}>[A-Za-z]{{3,9}})\.?"
_TEXT = re.compile(
    r"(?:"
    r"(?P<y1>\d{4})(?P<s1>[-./])(?P<m1>\d{1,2})(?P=s1)(?P<d1>\d{1,2})"
    r"|(?P<y2>(?:19|20)\d\d)(?P<m2>\d\d)(?P<d2>\d\d)"
    r"|(?P<a>\d{1,2})(?P<s3>[-./])(?P<b>\d{1,2})(?P=s3)(?P<y3>\d{4})"
    r"|(?P<d4>\d{1,2})[- ]" + _MONTH.format("n4") + r"[- ,]+(?P<y4>\d{4})"
    r"|" + _MONTH.format("n5") + r" (?P<d5>\d{1,2}),? (?P<y5>\d{4})"
    r")"
    r"(?:(?:[T ]|, )\s*(?:"
    r"(?P<h1>\d{1,2}):(?P<min1>\d\d)(?::(?P<sec1>\d\d)(?:[.,](?P<sub>\d{1,9}))?)?(?:\s?(?P<half1>[AaPp])\.?[Mm]\.?)?"
    r"|(?P<h2>\d\d)(?P<min2>\d\d)(?P<sec2>\d\d)?"
    r"|(?P<h3>\d{1,2})-(?P<half3>[AaPp])[Mm]"
    r"))?"
    r"\s*(?P<zone>Z|z|UTC|GMT|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d([.,]\d{1,9})?)?(\s?[AaPp]\.?[Mm]\.?)?|\d{4}|\d{6}", re.ASCII)
"""A time of day in a column of its own."""


class DayOrder(StrEnum):
    """The order of day and month in a date such as 01/02/2024."""

    DAY_FIRST = "day first"
    MONTH_FIRST = "month first"


@dataclass(frozen=True, slots=True)
class Undecided:
    """The two first numbers of a date that names the day and the month by numbers, before the year."""

    a: int
    b: int


def to_moment(text: str, order: DayOrder | None) -> int | datetime | Undecided | None:
    """Read a moment.

    Args:
        order: Of days and months, if the file has told.

    Returns:
        Milliseconds since the epoch; a datetime, naive where the text says no zone; what cannot be read without an
        order; or None for what is no moment.
    """
    if _DIGITS.fullmatch(text):
        compact = _COMPACT.fullmatch(text)
        return _of_epoch(int(text)) if compact is None else _of_compact(text, compact)
    if _FRACTION.fullmatch(text):
        value = float(text) * 1000 if float(text) < 1e11 else float(text)
        return _of_epoch(int(value), is_ms=True) if value.is_integer() else None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        match = _TEXT.fullmatch(text)
        return None if match is None else _of_text(match, order)


def _of_epoch(number: int, is_ms: bool = False) -> int | None:
    """Tell the unit by the size, as seconds the year 5138, as milliseconds 1973; likewise with the smaller units."""
    if not is_ms and number < 10**11:
        return number * 1000
    if number < 10**14:
        return number
    unit = 1000 if number < 10**17 else 1_000_000
    return number // unit if number % unit == 0 else None


def _of_compact(text: str, match: re.Match[str]) -> int | datetime | None:
    """Read 20240331, 202403311400 or 20240331140000: as counts since 1970 these are before 2009, or after 2500."""
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 (naive: the text says no zone)
    except ValueError:
        return _of_epoch(int(text))


def _of_text(match: re.Match[str], order: DayOrder | None) -> datetime | Undecided | None:
    part = match.groupdict()
    try:
        if part["a"]:
            a, b = int(part["a"]), int(part["b"])
            if order is None:
                return Undecided(a, b)
            day, month = (a, b) if order is DayOrder.DAY_FIRST else (b, a)
            on = date(int(part["y3"]), month, day)
        elif name := part["n4"] or part["n5"]:
            on = date(int(part["y4"] or part["y5"]), _MONTHS[name[:3].lower()], int(part["d4"] or part["d5"]))
        else:
            on = date(*(int(part[f"{unit}1"] or part[f"{unit}2"]) for unit in "ymd"))
        at = datetime(on.year, on.month, on.day, *_clock(part))  # noqa: DTZ001 (its zone is put in below)
    except (ValueError, KeyError):
        return None
    return at if part["zone"] is None else at.replace(tzinfo=_zone(part["zone"]))


def _clock(part: dict[str, str | None]) -> tuple[int, int, int, int]:
    hour = int(part["h1"] or part["h2"] or part["h3"] or 0)
    if half := part["half1"] or part["half3"]:
        if not 1 <= hour <= 12:
            raise ValueError(f"{hour} is no hour of half a day")
        hour = hour % 12 + (12 if half in "pP" else 0)
    minute, second = int(part["min1"] or part["min2"] or 0), int(part["sec1"] or part["sec2"] or 0)
    return hour, minute, second, int((part["sub"] or "0").ljust(6, "0")[:6])


def _zone(text: str) -> timezone:
    if text[0] not in "+-":
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(offset if text[0] == "+" else -offset)
