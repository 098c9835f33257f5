"""A feed's last days through Airflow's own backfill: asked for once, watched until they are done.

What is done already is not done again, what failed is tried again, and what an earlier stack was in the middle of
goes on by itself. Runs that ended before a symbol was added to their feed run once more: what they have loaded by then
is accounted for, so that only the new series is fetched.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from etl.series import TimeRange
from etl.spelling import counted
from stack.api import AirflowApi, Json
from stack.errors import ApiError, StackError

_POLL_S = 1.0
_CONFLICT_LIMIT_S = 120.0
_SHOWN_FAILURES = 3
_SHOWN_LINES = 12
_ACTIVE = {"queued", "running"}


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a backfill.

    Attributes:
        done: Partitions that are loaded.
        total: Partitions there will be.
        retrying: Tasks that wait to be tried again.
    """

    done: int
    total: int
    retrying: int


@dataclass(frozen=True, slots=True)
class Backfill:
    """Runs that are wanted.

    Attributes:
        dag_id: A DAG with daily intervals whose task `partition.load` ends a partition.
        days: Whole UTC days.
        series: How many series the DAG has.
    """

    dag_id: str
    days: TimeRange
    series: int

    @property
    def dates(self) -> dict[str, object]:
        """The logical dates as a query to Airflow: that of a daily run is the start of its interval."""
        last = self.days.end - timedelta(days=1)
        return {"logical_date_gte": self.days.start.isoformat(), "logical_date_lte": last.isoformat()}

    @property
    def day_count(self) -> int:
        """The number of runs."""
        return (self.days.end - self.days.start) // timedelta(days=1)


def last_days(count: int, now: datetime) -> TimeRange:
    """Return the last `count` UTC days that have ended at `now`."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return TimeRange(midnight - timedelta(days=count), midnight)


def run_backfill(
    api: AirflowApi, backfill: Backfill, on_progress: Callable[[Progress], None], pause: Callable[[float], None]
) -> bool:
    """Let Airflow load the days, and wait for it.

    Args:
        on_progress: Told how far it is, once a second.
        pause: Waits so many seconds; what it raises ends the wait.

    Returns:
        Whether there was anything to do.

    Raises:
        StackError: A run failed; the message says which partitions, and what their logs say.
    """
    is_new = is_asked = False
    deadline = time.monotonic() + _CONFLICT_LIMIT_S
    while True:
        states = Counter(run["state"] for run in _runs(api, backfill))
        progress = _progress(api, backfill)
        are_ended = states["success"] == backfill.day_count
        if are_ended and (is_asked or progress.done >= progress.total):
            api.patch(f"/dags/{backfill.dag_id}", {"is_paused": False})
            on_progress(progress)
            return is_new
        if not _ACTIVE & states.keys():
            if is_asked:
                raise StackError(_failures(api, backfill))
            is_asked = _ask(api, backfill, "completed" if are_ended else "failed")
            if not is_asked and time.monotonic() > deadline:
                raise StackError(f"another backfill of {backfill.dag_id} does not end; cancel it in the UI")
        if not is_new:
            is_new = True
            # After the backfill is asked for: else Airflow would start a run of its own for the latest day.
            api.patch(f"/dags/{backfill.dag_id}", {"is_paused": False})
        on_progress(progress)
        pause(_POLL_S)


def _runs(api: AirflowApi, backfill: Backfill) -> list[Json]:
    return api.collect(f"/dags/{backfill.dag_id}/dagRuns", "dag_runs", **backfill.dates)


def _ask(api: AirflowApi, backfill: Backfill, again: str) -> bool:
    """Ask for the backfill; say whether it was taken, which it is not while an earlier one winds up.

    Args:
        again: Which runs that there are run once more: those that have `failed`, or all that are `completed`.
    """
    dates = backfill.dates
    body = {
        "dag_id": backfill.dag_id,
        "from_date": dates["logical_date_gte"],
        "to_date": dates["logical_date_lte"],
        "reprocess_behavior": again,
        "max_active_runs": backfill.day_count,
    }
    try:
        api.post("/backfills", body)
    except ApiError as error:
        if error.status == 409:
            return False
        raise
    return True


def _progress(api: AirflowApi, backfill: Backfill) -> Progress:
    path = f"/dags/{backfill.dag_id}/dagRuns/~/taskInstances"

    def count(**query: object) -> int:
        return int(api.get(path, limit=1, **query, **backfill.dates)["total_entries"])

    done = count(task_id="partition.load", state="success")
    return Progress(done, backfill.day_count * backfill.series, count(state="up_for_retry"))


def _failures(api: AirflowApi, backfill: Backfill) -> str:
    path = f"/dags/{backfill.dag_id}/dagRuns/~/taskInstances"
    instances = api.collect(path, "task_instances", state="failed", **backfill.dates)
    # The steps that follow a failed one fail too: the first of a partition says why.
    firsts = {
        (one["dag_run_id"], one["map_index"]): one
        for one in sorted(instances, key=lambda one: one["start_date"] or "", reverse=True)
    }
    failed = sorted(firsts.values(), key=lambda one: one["start_date"] or "")
    lines = [f"{counted(len(failed), 'task')} of {backfill.dag_id} failed:"]
    for instance in failed[:_SHOWN_FAILURES]:
        label = instance["rendered_map_index"] or instance["map_index"]
        lines.append(f"{instance['task_id']} of {label}, run {instance['dag_run_id']}, try {instance['try_number']}:")
        lines += [f"  {line}" for line in read_log(api, instance)[-_SHOWN_LINES:]]
    if len(failed) > _SHOWN_FAILURES:
        lines.append(f"and {len(failed) - _SHOWN_FAILURES} more")
    return "\n".join(lines)


def read_log(api: AirflowApi, instance: Json) -> list[str]:
    """Return what the latest try of a task instance logged, a line each; errors with what raised them."""
    path = (
        f"/dags/{instance['dag_id']}/dagRuns/{instance['dag_run_id']}/taskInstances/{instance['task_id']}"
        f"/logs/{instance['try_number']}"
    )
    content = api.get(path, map_index=instance["map_index"], full_content="true")["content"]
    lines = []
    for entry in content:
        if not isinstance(entry, dict):
            lines.append(str(entry))
            continue
        lines.append(str(entry.get("event", "")))
        lines += [f"{fault['exc_type']}: {fault['exc_value']}" for fault in entry.get("error_detail") or []]
    return lines
