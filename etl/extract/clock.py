"""An exchange's clock, held against ours: it decides what has closed, so it is not taken on trust."""

from __future__ import annotations

import logging
from datetime import timedelta

from etl.errors import MalformedPayloadError
from etl.spelling import counted, spell_duration
from etl.timeframe import from_ms

log = logging.getLogger(__name__)

_TOLD_FROM_MS = 60_000
_LONGEST = 40


def read_clock(address: str, told: object, our_ms: int, most: timedelta) -> int:
    """Return the clock that an exchange told, milliseconds since the epoch; a minute or more of skew is logged.

    Args:
        our_ms: What our own clock says.
        most: How far both may be apart.

    Raises:
        MalformedPayloadError: It told no time, or one that is further from ours.
    """
    try:
        clock_ms: int = int(told)  # type: ignore[call-overload]  # whatever the exchange sent
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedPayloadError(f"{address} does not tell its time, but {str(told)[:_LONGEST]!r}") from error
    skew_ms = clock_ms - our_ms
    if abs(skew_ms) > most // timedelta(milliseconds=1):
        raise MalformedPayloadError(
            f"by the clock of {address} it is {_spell(clock_ms)}, by ours {_spell(our_ms)}, more than "
            f"{spell_duration(most)} apart; set the one that is wrong (for a replay of another time, clock_skew)"
        )
    if abs(skew_ms) >= _TOLD_FROM_MS:
        minutes, side = counted(abs(skew_ms) // 60_000, "minute"), "ahead of" if skew_ms > 0 else "behind"
        log.warning("the clock of %s is %s %s ours; what has closed goes by it", address, minutes, side)
    return clock_ms


def _spell(moment_ms: int) -> str:
    try:
        return f"{from_ms(moment_ms):%Y-%m-%d %H:%M}"
    except OverflowError:
        return f"{moment_ms} ms since 1970"
