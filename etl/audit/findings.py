"""Findings of an audit: the account of each series, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from etl.series import Series, TimeRange


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it must be.

    Attributes:
        time_range: Where.
        what: What is wrong, with counts.
        remedy: The command that mends it.
    """

    time_range: TimeRange
    what: str
    remedy: str


@dataclass(slots=True)
class SeriesAudit:
    """The account of one series: `expected = stored + absent`, unless there are problems.

    Attributes:
        ranges: What is accounted for, as far as it was asked about: ascending, those that touch as one.
        absent: Expected and not held, by kind.
        unproven: Ranges of checkpoints that an earlier version has left without a hash; no problem.
        flagged_otherwise: Candles that today's rules flag otherwise than earlier ones did; no problem.
        is_flagged_earlier: Whether its candles were flagged by earlier rules, or with other parameters.
        unknown: What the archive covers and the warehouse has no account of, to be read in from there.
        mended: What was mended before, a sentence each.
        is_rebuilt: Whether such ranges were read in.
        not_audited: The mistake in the settings for which nothing of it was looked at; empty if it was.
    """

    series: Series
    ranges: list[TimeRange] = field(default_factory=list)
    expected: int = 0
    stored: int = 0
    absent: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unproven: list[TimeRange] = field(default_factory=list)
    flagged_otherwise: int = 0
    is_flagged_earlier: bool = False
    unknown: list[TimeRange] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    is_rebuilt: bool = False
    not_audited: str = ""

    @property
    def is_mendable(self) -> bool:
        """Something for `mend` to do."""
        return bool(self.problems or self.unproven or self.is_flagged_earlier)

    def report(self, time_range: TimeRange, what: str, remedy: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(time_range, what, remedy))


def is_sound(audits: Sequence[SeriesAudit]) -> bool:
    """Return whether all were audited, nothing is wrong, and law 1's sum holds for every series."""
    return all(
        not one.not_audited and not one.problems and one.expected == one.stored + sum(one.absent.values())
        for one in audits
    )
