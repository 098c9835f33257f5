"""Hours and times of day by the clock of a zone, as UTC: when messages wait, and when a digest is due."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from etl.alerting import Digest, QuietHours
from etl.series import TimeRange

_DAY = timedelta(days=1)


def quiet_until(quiet: QuietHours | None, moment: datetime) -> datetime | None:
    """Return when the quiet hours end that a moment (aware) lies in; None if it lies in none.

    They are `[start, end)` by the clock of their zone. A time that the clock skips in spring is as much later as the
    clock is put forward; of one that it shows twice in autumn the first counts.
    """
    if quiet is None:
        return None
    today = moment.astimezone(ZoneInfo(quiet.zone)).date()
    ends = [
        _at(day if quiet.start < quiet.end else day + _DAY, quiet.end, quiet.zone)
        for day in (today - _DAY, today)
        if _at(day, quiet.start, quiet.zone) <= moment
    ]
    return next((end for end in ends if moment < end), None)


def last_digest(digest: Digest, now: datetime) -> tuple[date, TimeRange]:
    """Return the day of the latest digest that is due, and of what time it tells: from the one before until it."""
    day = now.astimezone(ZoneInfo(digest.zone)).date()
    if _at(day, digest.at, digest.zone) > now:
        day -= _DAY
    return day, TimeRange(_at(day - _DAY, digest.at, digest.zone), _at(day, digest.at, digest.zone))


def _at(day: date, at: time, zone: str) -> datetime:
    return datetime.combine(day, at, ZoneInfo(zone)).astimezone(UTC)
