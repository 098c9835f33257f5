"""When history is loaded: month by month, and only when somebody asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.timetables.base import DagRunInfo, DataInterval, Timetable

if TYPE_CHECKING:
    from airflow.timetables.base import TimeRestriction
    from pendulum import DateTime


class MonthsByBackfill(Timetable):
    """Whole UTC months for a backfill to run; of itself it starts nothing, paused or not.

    Airflow backfills only a DAG that has a schedule, and asks that schedule for the runs of a backfill as it asks for
    the next run to start by itself, but with `catchup` set. A DAG on this one leaves its own `catchup` unset.

    It is no cron timetable: for any of those, Airflow's calendar shows the runs to come, whatever the timetable says.

    Source: https://airflow.apache.org/docs/apache-airflow/stable/howto/timetable.html
    """

    description = "UTC months, each of them run by a backfill and never by itself"
    can_be_scheduled = False

    @property
    def summary(self) -> str:
        """What the UI shows as the schedule."""
        return "by backfill"

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Return the last month that has ended at `run_after`: what a single run loads that names no interval."""
        end = run_after.in_timezone("UTC").start_of("month")
        return DataInterval(end.subtract(months=1), end)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the month after the last one, or the first whose first day lies in the restriction, if only in part.

        In part, since the UI asks for days of the browser's time zone. The scheduler, which asks without `catchup`, is
        told None.
        """
        if not restriction.catchup or restriction.earliest is None:
            return None
        if last_automated_data_interval is None:
            start = _first_month(restriction.earliest.in_timezone("UTC"))
        else:
            start = last_automated_data_interval.end
        if restriction.latest is not None and start > restriction.latest:
            return None
        return DagRunInfo.interval(start, start.add(months=1))


def _first_month(earliest: DateTime) -> DateTime:
    """Return the start of the first month whose first day has not ended at `earliest`."""
    start = earliest.start_of("month")
    return start if earliest < start.add(days=1) else start.add(months=1)
