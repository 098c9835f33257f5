"""A backfill of the demo: what it asks of Airflow, and when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from stack.api import Json
from stack.backfill import Backfill, Progress, last_days, run_backfill
from stack.errors import StackError

DAYS = last_days(3, datetime(2026, 11, 21, tzinfo=UTC))


@dataclass
class FakeAirflow:
    """Runs of one DAG, a day each, that end one step after they were asked for.

    Attributes:
        series: How many series its feed has by now.
        loaded: How many series each run has loaded, by its day; of runs that have ended.
        broken: Days whose runs fail.
        asked: What backfills were asked for: which runs are to run again.
    """

    series: int
    loaded: dict[int, int] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    asked: list[object] = field(default_factory=list)
    under_way: set[int] = field(default_factory=set)

    def get(self, path: str, **query: object) -> Json:
        """Count tasks."""
        assert path.endswith("/taskInstances")
        done = sum(count for day, count in self.loaded.items() if day not in self.broken)
        return {"total_entries": done if query.get("state") == "success" else 0}

    def post(self, path: str, body: Mapping[str, object]) -> Json:
        """Take a backfill."""
        assert path == "/backfills"
        self.asked.append(body["reprocess_behavior"])
        is_again = body["reprocess_behavior"] == "completed"
        self.under_way = {day for day in range(3) if is_again or day not in self.loaded or day in self.broken}
        return {}

    def patch(self, path: str, body: Mapping[str, object]) -> Json:
        """Switch the DAG on."""
        return {}

    def collect(self, path: str, key: str, **query: object) -> list[Json]:
        """List runs, or tasks that have failed."""
        if key == "task_instances":
            return []
        days = sorted({*self.loaded, *self.under_way})
        return [{"state": self._state(day)} for day in days]

    def go_on(self) -> None:
        """Let what is under way end."""
        self.loaded |= dict.fromkeys(self.under_way, self.series)
        self.under_way = set()

    def _state(self, day: int) -> str:
        return "running" if day in self.under_way else "failed" if day in self.broken else "success"


def backfilled(airflow: FakeAirflow) -> tuple[bool, Progress]:
    """Return whether there was anything to do, and how far it came."""
    told: list[Progress] = []
    backfill = Backfill("ingest_demo", DAYS, airflow.series)
    is_new = run_backfill(airflow, backfill, told.append, lambda _: airflow.go_on())  # type: ignore[arg-type]
    return is_new, told[-1]


def test_the_last_days_end_at_midnight() -> None:
    """The days end in UTC before now, whatever the hour and zone of asking."""
    now = datetime.fromisoformat("2026-11-21T01:30:00+02:00")
    assert str(last_days(2, now)) == "[2026-11-18 00:00, 2026-11-20 00:00)"
    assert DAYS.end - DAYS.start == timedelta(days=3)


def test_a_series_that_was_added_is_loaded_by_runs_that_have_ended() -> None:
    """First all of it; then nothing to do; with one more symbol the runs run again, once; and a removed one is none."""
    airflow = FakeAirflow(series=2)
    assert backfilled(airflow) == (True, Progress(6, 6, 0))
    assert backfilled(airflow) == (False, Progress(6, 6, 0))
    airflow.series = 3
    assert backfilled(airflow) == (True, Progress(9, 9, 0))
    assert backfilled(airflow) == (False, Progress(9, 9, 0))
    airflow.series = 1
    assert backfilled(airflow) == (False, Progress(9, 3, 0))
    assert airflow.asked == ["failed", "completed"]


def test_what_fails_is_tried_once_and_told() -> None:
    """Runs that failed run again, and the others do not."""
    airflow = FakeAirflow(series=2, loaded=dict.fromkeys(range(3), 2), broken={1})
    with pytest.raises(StackError, match="tasks of ingest_demo failed"):
        backfilled(airflow)
    assert airflow.asked == ["failed"]
