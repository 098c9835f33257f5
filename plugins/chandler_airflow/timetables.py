"""Timetables of the DAGs: data intervals that have ended, by a cron expression or by months."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.timetables.base import DagRunInfo, DataInterval, Timetable
from airflow.timetables.interval import CronDataIntervalTimetable

if TYPE_CHECKING:
    from airflow.timetables.base import TimeRestriction
    from airflow.utils.types import DagRunType
    from pendulum import DateTime

# A browser's clock, which fills in the logical date of the Trigger dialog, may be ahead by so much.
_CLOCK_SKEW = timedelta(minutes=5)


class _NoFutureRuns(Timetable):
    """Refusal of triggered runs that lie in the future.

    Airflow would accept such a run, not start it before its time comes, and log an error several times a second until
    then. Such a run can neither be ended nor deleted.
    """

    def generate_run_id(
        self, *, run_type: DagRunType, run_after: DateTime, data_interval: DataInterval | None, **extra: Any
    ) -> str:
        """Return the id of a run.

        Raises:
            ValueError: The user has chosen a data interval that ends in the future.
        """
        if run_type.value == "manual" and data_interval is not None:
            _refuse_future("end of the data interval", data_interval.end)
        return super().generate_run_id(run_type=run_type, run_after=run_after, data_interval=data_interval, **extra)


class CronIntervals(_NoFutureRuns, CronDataIntervalTimetable):
    """Data intervals by a cron expression, which the scheduler starts from `earliest` on.

    Triggered and backfilled runs may lie before `earliest`. If it were the start date of the DAG, Airflow would end
    those as a success without running any task.

    Args:
        earliest: No data interval that is scheduled begins before it. None: before the DAG's start.
    """

    def __init__(self, expression: str, timezone: str = "UTC", *, earliest: datetime | None = None) -> None:
        super().__init__(expression, timezone=timezone)
        self._earliest = earliest

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        """Return the timetable that `serialize` has written."""
        earliest = data["earliest"]
        return cls(
            data["expression"],
            data["timezone"],
            earliest=None if earliest is None else datetime.fromisoformat(earliest),
        )

    def serialize(self) -> dict[str, Any]:
        """Return the facts that make the timetable again, as JSON has them."""
        earliest = None if self._earliest is None else self._earliest.isoformat()
        return {**super().serialize(), "earliest": earliest}

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Return the data interval of a triggered run.

        Args:
            run_after: The logical date that the user has chosen.

        Raises:
            ValueError: `run_after` is in the future. Airflow answers with status 400 and this message.
        """
        _refuse_future("logical date", run_after)
        return super().infer_manual_data_interval(run_after=run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the next run; the scheduler, which asks without `catchup`, is told none before `earliest`."""
        if self._earliest is not None and not restriction.catchup:
            from pendulum import instance

            first = instance(self._earliest)
            if restriction.earliest is None or restriction.earliest < first:
                restriction = restriction._replace(earliest=first)
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )


class MonthsByBackfill(_NoFutureRuns):
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
        """The schedule that the UI shows."""
        return "by backfill"

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Return the last month that has ended at `run_after`: what a single run loads that names no interval.

        Raises:
            ValueError: `run_after` is in the future.
        """
        _refuse_future("logical date", run_after)
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


def _refuse_future(what: str, moment: DateTime) -> None:
    if moment > datetime.now(UTC) + _CLOCK_SKEW:
        raise ValueError(
            f"the {what} is in the future: {moment.in_timezone('UTC'):%Y-%m-%d %H:%M} UTC; "
            "choose one that has passed, since only closed candles are loaded"
        )
