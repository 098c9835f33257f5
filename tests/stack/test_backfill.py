from __future__ import annotations

from datetime import datetime

from stack.backfill import last_days


def test_the_last_days_end_at_midnight() -> None:
    """What is loaded is days that have ended, in UTC, whatever the hour and zone of asking."""
    now = datetime.fromisoformat("2026-11-21T01:30:00+02:00")
    assert str(last_days(2, now)) == "[2026-11-18 00:00, 2026-11-20 00:00)"
