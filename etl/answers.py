"""Request outcomes of an exchange in numbers: requests by outcome, and their durations."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from etl.errors import MalformedPayloadError, RateLimitError, SourceUnavailableError, UnknownSymbolError

BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. Other bounds need a migration: what was counted within the old ones stays as it is."""


class Outcome(StrEnum):
    """Outcomes of a request."""

    OK = "ok"
    RATE_LIMIT = "rate_limit"
    UNAVAILABLE = "unavailable"
    MALFORMED = "malformed"
    UNKNOWN_SYMBOL = "unknown_symbol"
    OTHER = "other"


OnAnswer = Callable[[Outcome, float], None]
"""Who counts requests: told what came of one, and how many seconds it took."""

Outcomes = Sequence[tuple[type[Exception], Outcome]]
"""What a request came to by what it raised; the first that fits counts, and OTHER if none does."""

_OUTCOMES: Outcomes = (
    (RateLimitError, Outcome.RATE_LIMIT),
    (SourceUnavailableError, Outcome.UNAVAILABLE),
    (MalformedPayloadError, Outcome.MALFORMED),
    (UnknownSymbolError, Outcome.UNKNOWN_SYMBOL),
)


@dataclass(slots=True)
class Answers:
    """Requests that are counted together.

    Attributes:
        seconds: That they took together.
        slowest_s: The longest of them.
        within: (len(BOUNDS_S),) how many took no longer than each bound.
    """

    requests: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    within: list[int] = field(default_factory=lambda: [0] * len(BOUNDS_S))

    def take(self, seconds: float) -> None:
        """Count a request."""
        self.requests += 1
        self.seconds += seconds
        self.slowest_s = max(self.slowest_s, seconds)
        for place in range(bisect_left(BOUNDS_S, seconds), len(BOUNDS_S)):
            self.within[place] += 1

    def add(self, other: Answers) -> None:
        """Count `other` in."""
        self.requests += other.requests
        self.seconds += other.seconds
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.within = [mine + theirs for mine, theirs in zip(self.within, other.within, strict=True)]

    @property
    def mean_s(self) -> float | None:
        """The mean duration of a request in seconds; None if there was none."""
        return self.seconds / self.requests if self.requests else None

    def quantile_s(self, share: float) -> float | None:
        """Return about how long the faster `share` of requests took at most, evenly spread between two bounds."""
        if not self.requests:
            return None
        rank = share * self.requests
        lower_s, below = 0.0, 0
        for bound_s, count in zip(BOUNDS_S, self.within, strict=True):
            if count >= rank:
                # A sum of shares may come out a bit above the bound.
                return min(self.slowest_s, bound_s, lower_s + (bound_s - lower_s) * (rank - below) / (count - below))
            lower_s, below = bound_s, count
        return self.slowest_s


def ignore(outcome: Outcome, seconds: float) -> None:
    """Count nothing. An `OnAnswer`."""


@contextmanager
def counted(on_answer: OnAnswer, outcomes: Outcomes = _OUTCOMES) -> Iterator[None]:
    """Count what the block asks as one request; one that is cancelled does not count."""
    began = time.monotonic()
    try:
        yield
    except Exception as error:
        outcome = next((outcome for kind, outcome in outcomes if isinstance(error, kind)), Outcome.OTHER)
        on_answer(outcome, time.monotonic() - began)
        raise
    on_answer(Outcome.OK, time.monotonic() - began)
