"""The tasks of the maintenance DAG, wired: a step of `etl.maintenance` each, one after the other."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import chain, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from chandler_airflow.connections import read_settings
from chandler_airflow.failures import failing_at_once
from chandler_airflow.tasks import data_interval

# By name, since what they do is heavy to import; a test holds them against `etl.maintenance.STEPS`.
STEPS = (
    "convert",
    "fold_raw",
    "prune_raw",
    "make_days",
    "flag_again",
    "retire",
    "tend_warehouse",
    "check_sample",
    "refresh_aggregates",
    "vacuum",
)
_REPORT = "report"

log = logging.getLogger(__name__)


def build_maintenance() -> None:
    """Build, in the DAG at hand, a task for each step, and one that sums up; each is done whatever came before.

    `finished` is not, and lets the run fail if a step has.
    """

    @task(trigger_rule="all_done")
    def summary() -> None:
        sum_up()

    @task
    def finished() -> None:
        log.info("every step came through")

    steps = [task(task_id=step, trigger_rule="all_done")(take_step)(step) for step in STEPS]
    ended = finished()
    chain(*steps, summary(), ended)
    for step in steps:
        step >> ended


def take_step(step: str) -> None:
    """Do one step, for the moment when the run's data interval ends.

    Raises:
        AirflowFailException: Something is wrong that no retry helps; the message says what, and what to do about it.
    """
    from etl.maintenance import run_step
    from etl.stores import open_stores

    context = get_current_context()
    with failing_at_once():
        with open_stores(read_settings()) as stores:
            report = run_step(stores, step, data_interval(context).end)
        facts = {"what": report.done.what, "problems": list(report.done.problems), "seconds": report.seconds}
        context["ti"].xcom_push(key=_REPORT, value=facts)
        if report.done.problems:
            raise AirflowFailException("\n".join(report.done.problems))


def sum_up() -> None:
    """Log a table of what the steps did, and what is wrong."""
    from etl.maintenance import Done, StepReport, summary_lines

    instance: Any = get_current_context()["ti"]
    pulled = {step: instance.xcom_pull(task_ids=step, key=_REPORT) for step in STEPS}
    reports = [
        StepReport(step, Done("failed; its log says why"), 0.0)
        if facts is None
        else StepReport(step, Done(facts["what"], facts["problems"]), facts["seconds"])
        for step, facts in pulled.items()
    ]
    for number, line in enumerate(summary_lines(reports)):
        log.log(logging.INFO if number < len(reports) else logging.WARNING, "%s", line)
