"""Widths of candles in the words of other tools: 240, 4h, PT4H, H4, FOUR_HOUR, daily."""

from __future__ import annotations

import re

_MINUTE_MS = 60_000
_DAY_MS = 1440 * _MINUTE_MS
_UNITS_MS = {
    **dict.fromkeys(("ms", "msec", "millisecond"), 1),
    **dict.fromkeys(("s", "sec", "second"), 1000),
    **dict.fromkeys(("m", "t", "min", "minute"), _MINUTE_MS),
    **dict.fromkeys(("h", "hr", "hour"), 60 * _MINUTE_MS),
    **dict.fromkeys(("d", "day"), _DAY_MS),
    **dict.fromkeys(("w", "wk", "week"), 7 * _DAY_MS),
    **dict.fromkeys(("mn", "mo", "mon", "month"), 30 * _DAY_MS),
}
_COUNTS = {
    word: count
    for count, word in zip(
        (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 30),
        ("one", "two", "three", "four", "five", "six", "eight", "ten", "twelve", "fifteen", "thirty"),
        strict=True,
    )
}
_WORDS = {"minutely": "minute", "hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}
_ISO = re.compile(r"P(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+)S)?)?", re.ASCII)
_COUNT_FIRST = re.compile(r"(\d{1,9}|[a-z]+(?=[ _-]))?[ _-]?([a-z]+)", re.ASCII)
_UNIT_FIRST = re.compile(r"([a-z]+?)[ _-]?(\d{1,9})", re.ASCII)


def widths_ms(text: str) -> frozenset[int]:
    """Return the widths that a text may mean, in milliseconds; none if it cannot be read.

    A number alone is minutes (Kraken, TradingView), seconds (Coinbase) or milliseconds. A single large M is a minute or
    a month.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return frozenset(int(text) * unit for unit in (_MINUTE_MS, 1000, 1))
    if (iso := _ISO.fullmatch(text.upper())) and any(iso.groupdict().values()):
        return frozenset({sum(int(count or 0) * _UNITS_MS[unit] for unit, count in iso.groupdict().items())})
    word = _WORDS.get(text.lower(), text.lower())
    if match := _COUNT_FIRST.fullmatch(word):
        count, unit = match.groups()
    elif match := _UNIT_FIRST.fullmatch(word):
        unit, count = match.groups()
    else:
        return frozenset()
    number = 1 if count is None else _COUNTS.get(count) or (int(count) if count.isdigit() else 0)
    unit = unit if unit in _UNITS_MS else unit.removesuffix("s")
    width_ms = number * _UNITS_MS.get(unit, 0)
    if not width_ms:
        return frozenset()
    month_ms = number * _UNITS_MS["month"]
    return frozenset({width_ms, month_ms} if unit == "m" and "M" in text else {width_ms})
