"""Assignment of tasks to workers, where there are several: Airflow asks for it when it reads the DAGs.

Training takes minutes and gigabytes, so it has workers of its own. Where a single machine runs everything this file is
not on the path, and queues mean nothing.
"""

from airflow.sdk import BaseOperator

HEAVY = "heavy"
_TRAINS = "train_models"


def task_policy(task: BaseOperator) -> None:
    """Send what trains models to the workers that are made for it."""
    if task.dag_id == _TRAINS:
        task.queue = HEAVY
