"""Schedule by which an exchange is asked once more for a candle that was not there.

Each kind of absence has its own pauses, which grow: an exchange fills an outage days later or never, and what is
confirmed is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from etl.schema import AbsenceKind
from etl.series import TimeRange

SETTLE = timedelta(hours=24)
"""How old a candle is that an exchange is expected to have corrected or added, where no feed says otherwise."""

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

# The pauses between one asking and the next, from when the kind is known. After the last it is left alone.
PAUSES: Mapping[AbsenceKind, tuple[timedelta, ...]] = MappingProxyType(
    {
        AbsenceKind.PENDING: (),
        AbsenceKind.UNFETCHED: (*(_HOUR * 2**n for n in range(5)), *(_DAY for _ in range(25))),
        AbsenceKind.NOT_REQUESTED: (),
        AbsenceKind.REFUSED: (_DAY, 7 * _DAY),
        AbsenceKind.NO_TRADES: (_DAY,),
        AbsenceKind.OUTAGE: (_DAY, 3 * _DAY, 9 * _DAY, 27 * _DAY),
        AbsenceKind.HALTED: (_DAY, 7 * _DAY),
        AbsenceKind.NOT_LISTED: (),
        AbsenceKind.DELISTED: (7 * _DAY, 30 * _DAY),
        AbsenceKind.BEYOND_RETENTION: (),
    }
)


def is_settled(span: TimeRange, asked_at: datetime, settle: timedelta) -> bool:
    """Return whether the exchange was asked for all of `span` once it had had its time to correct it."""
    return asked_at >= span.end + settle


def next_probe(
    kind: AbsenceKind, probes: int, span: TimeRange, asked_at: datetime, settle: timedelta
) -> datetime | None:
    """Return when to ask again for an absence; None to leave it alone.

    Args:
        probes: How often it was asked for again since the kind is known.
        asked_at: When the exchange was last asked, by its clock.
        settle: How long a candle stays young. What is pending is due once it is older, and then waits to be judged.
    """
    if kind is AbsenceKind.PENDING:
        return None if is_settled(span, asked_at, settle) else span.end + settle
    pauses = PAUSES[kind]
    return asked_at + pauses[probes] if probes < len(pauses) else None
