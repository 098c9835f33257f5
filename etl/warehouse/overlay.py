"""Two lists of spans laid one over the other, so that what was is held against what is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from etl.series import TimeRange


class Spanned(Protocol):
    """Whatever has a span."""

    @property
    def span(self) -> TimeRange:
        """Where it is."""


_One = TypeVar("_One", bound=Spanned)
_Other = TypeVar("_Other", bound=Spanned)


def overlay(ones: Sequence[_One], others: Sequence[_Other]) -> Iterator[tuple[TimeRange, _One | None, _Other | None]]:
    """Yield the stretches that either list covers, cut where a span of either begins or ends, with whose they are.

    Args:
        ones: Ascending and disjoint.
        others: Likewise.
    """
    bounds = sorted({bound for each in (ones, others) for item in each for bound in (item.span.start, item.span.end)})
    i = j = 0
    for start, end in zip(bounds, bounds[1:], strict=False):
        while i < len(ones) and ones[i].span.end <= start:
            i += 1
        while j < len(others) and others[j].span.end <= start:
            j += 1
        one = ones[i] if i < len(ones) and ones[i].span.start <= start else None
        other = others[j] if j < len(others) and others[j].span.start <= start else None
        if one is not None or other is not None:
            yield TimeRange(start, end), one, other
