"""Bulk files held against the exchange's API: which pages of a file are asked for besides, and what differs.

Pure. The archives are made apart from the API and replaced at times, so a file that agrees with its checksum may still
have other values than the exchange has.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

from etl.exchanges import BULK_LAYOUT, Layout
from etl.extract.source import Page
from etl.series import Series, TimeRange

_PAGES_A_MONTH, _MONTH_DAYS = 20, 30
_COMPARED = ("open", "high", "low", "close", "volume")


def sample(series: Series, window: TimeRange, page_width_ms: int) -> list[TimeRange]:
    """Return the windows of the API's pages by which a file is judged: twenty a month, and half of its pages at most.

    A file has always the same ones, so that a fetch that is run again finds them on disk; another series has others.

    Args:
        window: What the file holds.
        page_width_ms: How far one page of the API reaches.

    Returns:
        Ascending and disjoint; at least one.
    """
    pages = list(window.windows(page_width_ms))
    days = round((window.end_ms - window.start_ms) / 86_400_000)
    count = max(1, min(_PAGES_A_MONTH * days // _MONTH_DAYS, len(pages) // 2))
    drawn = sorted(pages, key=lambda page: zlib.crc32(f"{series} {page.start_ms}".encode()))[:count]
    return sorted(drawn, key=lambda page: page.start_ms)


def differing(file: Page, pages: Iterable[Page], layout: Layout) -> list[int]:
    """Return when candles open of which a file and the API say different things; milliseconds, ascending.

    A candle that only one of them has is no difference: the archives have holes of their own.

    Args:
        file: A page of `Route.BULK`.
        pages: Of the API, in `layout`.
    """
    theirs = {at_ms: row for page in pages for row in page.rows() if (at_ms := layout.open_time_ms(row)) is not None}
    found = set()
    for row in file.rows():
        at_ms = BULK_LAYOUT.open_time_ms(row)
        if at_ms in theirs and _values(row, BULK_LAYOUT) != _values(theirs[at_ms], layout):
            found.add(at_ms)
    return sorted(at_ms for at_ms in found if at_ms is not None)


def _values(row: Any, layout: Layout) -> list[float | str]:
    """Return what is compared of a row; what is no number as it is, for rules to judge."""
    values: list[float | str] = []
    for name in _COMPARED:
        cell = row[layout.columns[name]] if len(row) > layout.columns[name] else None
        try:
            values.append(float(cell))  # type: ignore[arg-type]  # whatever stands there: see below
        except (TypeError, ValueError):
            values.append(repr(cell))
    return values
