"""Numbers, moments and texts from outside as people read them: short, and nothing that Markdown takes for its own."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime, timedelta

from etl.series import TimeRange
from etl.spelling import LONGEST_DAYS, once_in

_DIGITS = 6
# Up to what ends a sentence, closes a bracket, or is no part of an address.
_ADDRESS = re.compile(r"((?:https?|postgresql|s3)://[A-Za-z0-9._~:/?#@!$&'*+,;=%-]*[A-Za-z0-9/_=%-])")
# A range as logs write it: brackets that become others would say that it lacks its start.
_RANGE = re.compile(r"\[(\d{4}-\d\d-\d\d[\d:. +TZ]*), (\d{4}-\d\d-\d\d[\d:. +TZ]*)\)")
_BIG = 1e6
# What some renderer or chat takes for markup, a link or a mention, and what stands for it.
_HARMLESS = str.maketrans(
    {
        "`": "'",
        "*": "·",
        "[": "(",
        "]": ")",
        "{": "(",
        "}": ")",
        "<": "‹",
        ">": "›",
        "|": "¦",
        "\\": "/",
        "~": "-",
        "&": "+",
        "@": "(at)",
    }
)


def number(value: float | None) -> str:
    """Return a price or an amount: `12,345.67`, `0.00001234`; `?` if there is none."""
    if value is None or not math.isfinite(value):
        return "?"
    size = abs(value)
    if size >= 1e15:
        return f"{value:.3g}"
    if size >= _BIG or size == 0:
        return f"{value:,.0f}"
    decimals = max(2, _DIGITS - 1 - math.floor(math.log10(size)))
    whole, _, rest = f"{value:,.{min(decimals, 18)}f}".partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(2, '0')}" if rest.strip("0") or size >= 1 else f"{value:.3g}"


def percent(value: float) -> str:
    """Return a change with its sign: `-13.1 %`, `+0.42 %`."""
    if not math.isfinite(value):
        return "?"
    if abs(value) >= _BIG:
        return f"{value:+.3g} %"
    return f"{value:+,.1f} %" if abs(value) >= 10 else f"{value:+.2f} %"


def times(ratio: float) -> str:
    """Return how many times the usual something is: `31`, `4.2`, `0.05`."""
    return f"{ratio:,.0f}" if 10 <= ratio < _BIG else f"{ratio:.2g}"


def how_seldom(once_in_days: float) -> str:
    """Return how often such a thing is to be expected: `about once in 40 days`."""
    if once_in_days >= LONGEST_DAYS:
        return "more seldom than once in 100 years"
    if once_in_days >= 1.5:
        return f"about once in {once_in(once_in_days)}"
    return "about once a day" if once_in_days >= 0.75 else f"about {1 / max(once_in_days, 0.001):.0f} times a day"


def while_in_words(delta: timedelta) -> str:
    """Return a duration as people say it: `45 min`, `2 h`, `3 days`."""
    minutes = int(delta.total_seconds() // 60)
    if minutes < 120 and minutes % 60 or minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"


def moment_in_words(moment: datetime) -> str:
    """Return `2026-01-01 05:04 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def span_in_words(span: TimeRange, *, is_over: bool) -> str:
    """Return from when to when, and whether it still goes on."""
    end = f"{span.end:%H:%M}" if span.end.date() == span.start.date() else f"{span.end:%Y-%m-%d %H:%M}"
    return f"{span.start:%Y-%m-%d %H:%M} to {end} UTC" + ("" if is_over else ", and it may go on")


def plain(text: object, most: int) -> str:
    """Return a text from outside on one line, cut, and without anything that is markup, a link or a mention anywhere.

    Args:
        most: How many characters it may have.
    """
    kept = "".join(one if unicodedata.category(one)[0] != "C" else " " for one in str(text)[: 10 * most])
    kept = _RANGE.sub(r"\1 to \2", kept)
    words = kept.translate(_HARMLESS).replace("://", ": //")
    words = "".join(" " if one == "_" and not _is_inside(words, place) else one for place, one in enumerate(words))
    return cut(" ".join(words.split()), most)


def with_addresses(text: object, most: int) -> str:
    """Return the same as `plain`, but each address whole, as code: it can be copied, and nothing makes a link of it.

    Args:
        most: How many characters it may have; an address that does not fit is left out.
    """
    kept, room = "", most
    for place, part in enumerate(_ADDRESS.split(str(text)[: 10 * most])):
        shown = f"`{part}`" if place % 2 else plain(part, room)
        if place % 2 and len(shown) > room - 1:
            return cut(f"{kept} …", most)
        gap = " " if place % 2 and kept and not kept.endswith("(") else " " if part[:1].isspace() and shown else ""
        kept += f"{gap}{shown}"[:room]
        room = most - len(kept)
        if room < 2 or shown.endswith("…"):
            break
    return kept.strip()


def cut(text: str, most: int) -> str:
    """Return at most so many characters; dots say that there were more."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _is_inside(text: str, place: int) -> bool:
    return 0 < place < len(text) - 1 and text[place - 1].isalnum() and text[place + 1].isalnum()
