"""Protocol of a log of spent weights, and the way to take a slot in it.

Everything here waits for the database; `leased` calls it from threads. Times are the bucket's own: the database's
clock, so that the clocks of the machines do not matter.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Protocol, cast

from pyrate_limiter import AbstractBucket, Decision, RateItem

from etl.warehouse.budget.terms import Terms

HORIZON_S = 1.0
"""How far ahead a slot is taken."""


@dataclass(frozen=True, slots=True)
class Look:
    """State of a bucket.

    Attributes:
        now_ms: Its time, since the epoch.
        seen_at: When that was, by this process's `time.monotonic`.
        away_s: How long everyone is to stay away still; not over 0 if nobody is.
        spent_units: Spent in the last interval, by all.
        window_units: Spent since the present clock window began, or at most a slip earlier.
    """

    now_ms: int
    seen_at: float
    away_s: float
    spent_units: int
    window_units: int


@dataclass(frozen=True, slots=True)
class Slot:
    """The moment at which units may be spent.

    Attributes:
        look: What the bucket said when it was asked.
        ready_at: The moment, by `time.monotonic`.
        is_taken: Whether the units are counted. If not, the moment is when to hope for them.
    """

    look: Look
    ready_at: float
    is_taken: bool


class Bucket(Protocol):
    """A log of spent units."""

    terms: Terms

    def open(self) -> None:
        """Get ready."""

    def close(self) -> None:
        """Let go of everything."""

    def look(self) -> Look:
        """Read time, pause and counts."""

    def put(self, item: RateItem) -> Decision:
        """Count an item if there is room. A refusal that names no wait means that someone else is at it."""

    def raise_to(self, units: int, opened_ms: int) -> None:
        """Add what is missing until `units` are counted in the clock window that began at `opened_ms`."""

    def tidy(self, now_ms: int) -> None:
        """Remove what no rate counts any longer."""

    def pause(self, seconds: float) -> None:
        """Let everyone stay away for `seconds`; a pause that ends later goes on."""


def take_slot(bucket: Bucket, units: int, told: tuple[int, int] | None) -> Slot:
    """Count `units` as spent at the next moment that has room for them, if it is less than `HORIZON_S` away.

    A slot is taken ahead of its time, so that nothing is lost between the moment at which units are free again and
    the moment at which someone asks for them.

    Args:
        bucket: Where.
        units: From 1 to the terms' `lease_units`.
        told: The number of a clock window, and the weight that the exchange has counted in it. If the bucket knows of
            less, others spend at our address, or rows were lost: the rest is entered, and slows everyone down.
    """
    look, terms = bucket.look(), bucket.terms
    window = look.now_ms // terms.interval_ms
    if told is not None and told[0] == window and told[1] // terms.unit > look.window_units:
        bucket.raise_to(min(told[1], terms.weight_limit) // terms.unit, window * terms.interval_ms)
    if look.away_s > 0:
        return Slot(look, look.seen_at, is_taken=False)
    at_ms, is_taken = look.now_ms, False
    while not is_taken and at_ms - look.now_ms < HORIZON_S * 1000:
        decision = bucket.put(RateItem("spent", at_ms, units))
        is_taken = decision.allowed
        if not is_taken and decision.retry_after_ms is None:
            time.sleep(random.uniform(0.001, 0.005))  # noqa: S311 # to come apart, not to keep a secret
            at_ms = max(at_ms, look.now_ms + int((time.monotonic() - look.seen_at) * 1000))
        elif not is_taken:
            at_ms += max(1, decision.retry_after_ms or 0)
    return Slot(look, look.seen_at + (at_ms - look.now_ms) / 1000, is_taken)


def decide(bucket: AbstractBucket, item: RateItem) -> Decision:
    """Put an item into one of the library's synchronous buckets and return its verdict."""
    # Awaitable only where the store is asynchronous, which these are not.
    return cast("Decision", bucket.put_decision(item))
