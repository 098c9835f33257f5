"""The lines of a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """Findings of an exchange's answers about the table."""

    AGREES = "agrees"
    DIFFERS = "differs"
    UNSEEN = "could not be seen"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a check.

    Attributes:
        what: What was looked at.
        table: What the table says of it.
        seen: What the exchange did.
        needs: The values that would agree, by their names in `Traits`.
    """

    what: str
    table: str
    seen: str
    verdict: Verdict
    needs: Mapping[str, object] = field(default_factory=dict)


def agrees(what: str, table: str, seen: str) -> Finding:
    """Return a line that speaks for the table."""
    return Finding(what, table, seen, Verdict.AGREES)


def differs(what: str, table: str, seen: str, **needs: object) -> Finding:
    """Return a line that speaks against it."""
    return Finding(what, table, seen, Verdict.DIFFERS, needs)


def unseen(what: str, table: str, seen: str) -> Finding:
    """Return a line that says nothing of it; `seen` is why."""
    return Finding(what, table, seen, Verdict.UNSEEN)


def judged(what: str, table: str, seen: str, *, is_so: bool, **needs: object) -> Finding:
    """Return a line for the table if `is_so`, and else against it."""
    return agrees(what, table, seen) if is_so else differs(what, table, seen, **needs)


def yes(is_so: bool) -> str:
    """Return `yes` or `no`."""
    return "yes" if is_so else "no"
