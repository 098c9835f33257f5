"""The bucket of a process that has no database at hand."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right

from pyrate_limiter import Decision, InMemoryBucket, RateItem

from etl.warehouse.budget.bucket import Look, decide
from etl.warehouse.budget.terms import Terms


class MemoryBucket:
    """A log of spent units in memory, for this process alone.

    Args:
        terms: What may be spent.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._bucket = InMemoryBucket(list(terms.rates))
        self._epoch_s = time.time() - time.monotonic()
        self._resume_at = 0.0

    def open(self) -> None:
        """Do nothing: it is there."""

    def close(self) -> None:
        """Do nothing: it goes with whoever holds it."""

    def look(self) -> Look:
        """Read time, pause and counts."""
        seen_at, interval_ms = time.monotonic(), self.terms.interval_ms
        now_ms = int((self._epoch_s + seen_at) * 1000)
        return Look(
            now_ms,
            seen_at,
            away_s=self._resume_at - seen_at,
            spent_units=self._count(now_ms - interval_ms, now_ms),
            window_units=self._count(now_ms - now_ms % interval_ms - self.terms.slip_ms, now_ms),
        )

    def put(self, item: RateItem) -> Decision:
        """Count an item if there is room."""
        return decide(self._bucket, item)

    def raise_to(self, units: int, opened_ms: int) -> None:
        """Add what is missing until `units` are counted in the clock window that began at `opened_ms`."""
        missing = units - self._count(opened_ms - self.terms.slip_ms, opened_ms + self.terms.interval_ms)
        self._bucket.items.extend([RateItem("told", opened_ms)] * missing)
        self._bucket.items.sort(key=_moment)

    def tidy(self, now_ms: int) -> None:
        """Remove what no rate counts any longer."""
        self._bucket.leak(now_ms)

    def pause(self, seconds: float) -> None:
        """Stay away for `seconds`; a pause that ends later goes on."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def _count(self, start_ms: int, end_ms: int) -> int:
        items = self._bucket.items
        return bisect_right(items, end_ms, key=_moment) - bisect_left(items, start_ms, key=_moment)


def _moment(item: RateItem) -> int:
    return item.timestamp
