"""Run DAGs as `dag.test()` does and print what came of it as JSON: a process of its own, with a fresh AIRFLOW_HOME.

The argument is a list of `{"dag": ..., "logical_date": ...}` as JSON, run in that order.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]


def run(dag: Any, logical_date: str) -> dict[str, Any]:
    """Run `dag` once, without pauses between tries, and return its tasks and asset events."""
    from airflow.models.asset import AssetEvent
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    for task in dag.tasks:
        task.retry_delay = task.max_retry_delay = timedelta(0)
    done = dag.test(logical_date=datetime.fromisoformat(logical_date))
    with create_session() as session:
        instances = session.query(TaskInstance).filter_by(dag_id=dag.dag_id, run_id=done.run_id)
        events = session.query(AssetEvent).filter_by(source_dag_id=dag.dag_id, source_run_id=done.run_id)
        return {
            "state": str(done.state),
            "interval": [done.data_interval_start.isoformat(), done.data_interval_end.isoformat()],
            "tasks": [
                {
                    "task": instance.task_id,
                    "index": instance.map_index,
                    "label": instance.rendered_map_index,
                    "state": str(instance.state),
                    "tries": instance.try_number,
                }
                for instance in instances
            ],
            "events": [event.extra for event in events.order_by(AssetEvent.id)],
        }


def main() -> None:
    """Run what is asked for."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    bag = DagBag(REPOSITORY / "dags")
    runs = [run(bag.dags[wanted["dag"]], wanted["logical_date"]) for wanted in json.loads(sys.argv[1])]
    print("RUNS " + json.dumps(runs))  # noqa: T201  # this is its output


if __name__ == "__main__":
    main()
