"""Two lists of spans laid one over the other, so that what was is held against what is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from etl.series import TimeRange


class Spanned(Protocol):
    """Whatever has a span."""

    @property
    def span(self) -> TimeRange:
        """The range."""


_One = TypeVar("_One", bound=Spanned)
_Other = TypeVar("_Other", bound=Spanned)


def overlay(ones: Sequence[_One], others: Sequence[_Other]) -> Iterator[tuple[TimeRange, _One | None, _Other | None]]:
    """Yield the stretches that either list covers, cut where a span of either begins or ends, with whose they are.

    Args:
        ones: Ascending and disjoint.
        others: Likewise.
    """
    i = j = 0
    at: datetime | None = None  # up to where all is yielded
    while i < len(ones) or j < len(others):
        one, other = (ones[i] if i < len(ones) else None), (others[j] if j < len(others) else None)
        starts = [
            item.span.start if at is None else max(item.span.start, at) for item in (one, other) if item is not None
        ]
        start = min(starts)
        here = one if one is not None and one.span.start <= start else None
        there = other if other is not None and other.span.start <= start else None
        end = min(_next_bound(item, start) for item in (one, other) if item is not None)
        yield _span(here or there, start, end), here, there
        at = end
        i += one is not None and one.span.end <= end
        j += other is not None and other.span.end <= end


def _next_bound(item: Spanned, after: datetime) -> datetime:
    """Return the first bound of a span after a moment before its end."""
    return item.span.start if item.span.start > after else item.span.end


def _span(item: Spanned | None, start: datetime, end: datetime) -> TimeRange:
    """Return a range; that of the item if it is the same."""
    if item is not None and item.span.start == start and item.span.end == end:
        return item.span
    return TimeRange(start, end)
