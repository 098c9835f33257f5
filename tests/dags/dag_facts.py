"""Print what Airflow makes of dags/ as JSON: a process of its own, since Airflow settles itself when it is imported."""

import json
import sys
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
BY_HAND_AT = datetime(2026, 11, 20, 13, tzinfo=UTC)
# From New Year in New York to the first day of a month, inclusive.
BACKFILL = datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=-5))), datetime(2025, 3, 1, tzinfo=UTC)
# Airflow takes a while for each, and one of the DAGs runs every five minutes.
MOST_INTERVALS = 1500
HEAVY = {
    *("pandas", "ccxt", "tensorflow", "keras", "onnx", "onnxruntime", "sklearn", "scipy", "matplotlib"),
    *("psycopg", "sqlalchemy.dialects", "etl.ingest", "etl.warehouse", "etl.extract", "models.training"),
}


def facts_of(dag: Any) -> dict[str, Any]:
    """Return what the policies are about, much of it from the DAG as Airflow stores it for its scheduler."""
    from airflow._shared.timezones.timezone import coerce_datetime
    from airflow.serialization.serialized_objects import DagSerialization

    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    by_hand = stored.timetable.infer_manual_data_interval(run_after=coerce_datetime(BY_HAND_AT))
    backfill = list(islice(stored.iter_dagrun_infos_between(*BACKFILL), MOST_INTERVALS))
    # What the scheduler asks: of a DAG that is new, and of one whose last run was the backfill's.
    nexts = [stored.next_dagrun_info(last_automated_run_info=last) for last in (None, *backfill[-1:])]
    return {
        "interval": [str(by_hand.start), str(by_hand.end)],
        "refusals": refusals_of(stored),
        "backfill": [[str(bound) for bound in info.data_interval or ()] for info in backfill],
        "nexts": [info and str(info.run_after) for info in nexts],
        "is_backfillable": stored.timetable.periodic,
        "is_paused_at_first": dag.is_paused_upon_creation,
        "runs_at_once": dag.max_active_runs,
        "catchup": dag.catchup,
        "tags": sorted(dag.tags),
        "assets": sorted(key.name for key, _ in stored.timetable.asset_condition.iter_assets()),
        "deadlines": [deadline_hours(one.reference, one.interval) for one in dag.deadline or []],
        "start": dag.start_date.isoformat(),
        "doc_md": dag.doc_md,
        "description": dag.description,
        "owner": stored.owner,
        "lists": {task.task_id: listed_by(task) for task in dag.tasks if task.task_id.startswith("list_")},
        "tasks": {
            task.task_id: {
                "owner": task.owner,
                "retries": task.retries,
                "backoff": task.retry_exponential_backoff,
                "longest_pause_s": task.max_retry_delay.total_seconds() if task.max_retry_delay else None,
                "pool": task.pool,
                "priority": task.priority_weight,
                "label": task.map_index_template,
                "outlets": [asset.name for asset in task.outlets],
                "is_teardown": task.is_teardown,
                "trigger_rule": task.trigger_rule,
                "after": sorted(task.upstream_task_ids),
                "tells": bool(task.on_failure_callback),
                "links": [link.name for link in task.operator_extra_links],
            }
            for task in dag.tasks
        },
    }


def listed_by(task: Any) -> list[str] | str:
    """Return the list that a task leaves for mapped ones, or why it fails."""
    from airflow.sdk.exceptions import AirflowFailException

    try:
        return list(task.python_callable())
    except AirflowFailException as error:
        return str(error)


def refusals_of(stored: Any) -> list[str]:
    """Return what a user is told who triggers a run in the future: by logical date, and by data interval."""
    from airflow._shared.timezones.timezone import coerce_datetime
    from airflow.timetables.base import DataInterval
    from airflow.utils.types import DagRunType

    now = coerce_datetime(datetime.now(UTC))
    tomorrow = now.add(days=1)
    told = []
    for trigger in (
        lambda: stored.timetable.infer_manual_data_interval(run_after=tomorrow),
        lambda: stored.timetable.generate_run_id(
            run_type=DagRunType.MANUAL, run_after=now, data_interval=DataInterval(now, tomorrow)
        ),
    ):
        try:
            trigger()
        except ValueError as error:
            told.append(str(error))
    return told


def deadline_hours(reference: Any, interval: timedelta) -> dict[str, float | None]:
    """Return by kind of run how long after it is due its deadline passes, as Airflow's server works it out."""
    from airflow.serialization.decoders import decode_deadline_reference
    from airflow.serialization.encoders import encode_deadline_reference

    stored = decode_deadline_reference(encode_deadline_reference(reference))
    now = datetime.now(UTC)
    runs = {
        "scheduled": ("scheduled", now),
        "scheduled long ago": ("scheduled", now - timedelta(days=7)),
        "backfilled": ("backfill", now),
        "triggered": ("manual", now),
    }
    hours = {}
    for name, (kind, due) in runs.items():
        at = stored.evaluate_with(session=None, interval=interval, dag_id="a", run_id=f"{kind}__{due.isoformat()}")
        hours[name] = None if at is None else round((at - due).total_seconds() / 3600, 6)
    return hours


def main() -> None:
    """Print the facts."""
    from airflow.dag_processing.dagbag import DagBag

    before = set(sys.modules)
    bag = DagBag(REPOSITORY / "dags")
    new = set(sys.modules) - before
    import etl
    import models

    facts = {
        "errors": bag.import_errors,
        "heavy": sorted(new & HEAVY),
        "homes": {module.__name__: module.__file__ for module in (etl, models)},
        "dags": {dag_id: facts_of(dag) for dag_id, dag in bag.dags.items()},
    }
    print("FACTS " + json.dumps(facts))  # noqa: T201  # this is its output


if __name__ == "__main__":
    main()
