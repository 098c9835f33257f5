"""The task of the DAG that trains models: a mapped one for each model, labelled by it, with a link to its report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from airflow.sdk import Asset, get_current_context, task
from airflow.sdk.bases.decorator import task_decorator_factory
from airflow.sdk.exceptions import AirflowSkipException

from chandler_airflow.connections import read_settings
from chandler_airflow.failures import failing_at_once
from chandler_airflow.links import REPORT_KEY, TrainingOperator, report_address
from chandler_airflow.tasks import data_interval, kept_list
from etl.errors import InsufficientHistoryError

MODELS = Asset("models")
# Loads before models: where both wait for a slot, candles go first.
PRIORITY = 1
training_task = partial(task_decorator_factory, decorated_operator_class=TrainingOperator)

log = logging.getLogger(__name__)


def build_training(targets: Sequence[str]) -> None:
    """Build, in the DAG at hand, a task for each model that is to be trained; see `models.targets`.

    The first task keeps the list of them for its run, so that a map index means the same for as long as the run exists.

    It emits `MODELS`: series that have waited for a model are scored.
    """

    @task
    def list_targets() -> list[str]:
        return kept_list(targets)

    @training_task(
        map_index_template="{{ target }}", outlets=[MODELS], priority_weight=PRIORITY, weight_rule="absolute"
    )
    def train(target: str) -> None:
        train_target(target)

    train.expand(target=list_targets())


def train_target(target: str) -> None:
    """Train what `Target.parse` reads, up to the end of the run's data interval, and leave a link to the report.

    Raises:
        AirflowSkipException: There are too few candles to learn from; the message says of which series how many.
    """
    from etl.lost import open_or_make
    from models.targets import Target
    from models.training import train

    context = get_current_context()
    context["target"] = target  # type: ignore[typeddict-unknown-key]  # Airflow's documented way to label
    with failing_at_once():
        end, settings = data_interval(context).end, read_settings()
        with open_or_make(settings) as warehouse:
            try:
                outcome = train(warehouse, settings, Target.parse(target), end, run=str(context["run_id"]))
            except InsufficientHistoryError as error:
                # Not red: it will be there in time, and nobody can do anything about it but wait, or load the past.
                raise AirflowSkipException(str(error)) from error
    for line in outcome.lines:
        log.info("%s", line)
    context["ti"].xcom_push(key=REPORT_KEY, value=report_address(outcome.candidate.id))
