"""Print what Airflow makes of dags/ as JSON: a process of its own, since Airflow settles itself when it is imported."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
HEAVY = {"pandas", "ccxt", "tensorflow", "psycopg", "sqlalchemy.dialects", "etl.ingest", "etl.warehouse", "etl.extract"}


def facts_of(dag: Any) -> dict[str, Any]:
    """Return what the policies are about."""
    from airflow.serialization.serialized_objects import DagSerialization

    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    interval = timetable.infer_manual_data_interval(run_after=datetime(2026, 11, 20, 13, tzinfo=UTC))
    return {
        "timetable": type(timetable).__name__,
        "interval": [str(interval.start), str(interval.end)],
        "catchup": dag.catchup,
        "tags": sorted(dag.tags),
        "start": dag.start_date.isoformat(),
        "doc_md": dag.doc_md,
        "tasks": {
            task.task_id: {
                "owner": task.owner,
                "retries": task.retries,
                "backoff": task.retry_exponential_backoff,
                "longest_pause_s": task.max_retry_delay.total_seconds() if task.max_retry_delay else None,
                "pool": task.pool,
                "label": task.map_index_template,
                "outlets": [asset.name for asset in task.outlets],
            }
            for task in dag.tasks
        },
    }


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
