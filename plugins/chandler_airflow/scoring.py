"""The tasks of the DAG that scores, wired: which series are due, a mapped task for each, word to who sends alerts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from airflow.sdk import Metadata, get_current_context, task
from airflow.sdk.bases.decorator import task_decorator_factory
from airflow.sdk.exceptions import AirflowSkipException

from chandler_airflow.alerting import ALERTS
from chandler_airflow.connections import read_settings
from chandler_airflow.failures import failing_at_once
from chandler_airflow.links import INCIDENTS_KEY, ScoringOperator, incidents_address
from etl.series import Series
from etl.spelling import counted

# What was loaded is to be scored before more is loaded: people wait for it.
PRIORITY = 30
scoring_task = partial(task_decorator_factory, decorated_operator_class=ScoringOperator)

log = logging.getLogger(__name__)


def build_scoring() -> None:
    """Build, in the DAG at hand, `due`, a mapped `score` for each series, and `announce`, which emits `ALERTS`.

    What one series has is told though another has failed, and `finished` lets the run fail then.
    """

    @task(priority_weight=PRIORITY, weight_rule="absolute")
    def due() -> list[str]:
        return due_series()

    @scoring_task(map_index_template="{{ series }}", priority_weight=PRIORITY, weight_rule="absolute")
    def score(series: str) -> None:
        score_series(series)

    @task(trigger_rule="all_done", outlets=[ALERTS], priority_weight=PRIORITY, weight_rule="absolute")
    def announce() -> Iterator[Metadata]:
        yield Metadata(ALERTS, {"alerts": waiting_alerts()})

    @task(trigger_rule="none_failed")
    def finished() -> None:
        log.info("every series that was due is scored")

    scored = score.expand(series=due())
    scored >> announce()
    scored >> finished()


def due_series() -> list[str]:
    """Return the series of which something is to be scored, and can be; say of the others what they wait for.

    Raises:
        AirflowSkipException: There is none.
    """
    from etl.lost import open_or_make
    from models.rounds import due

    with failing_at_once(), open_or_make(settings := read_settings()) as warehouse:
        ready, waiting = due(warehouse, settings)
    for series, why in waiting.items():
        log.warning("%s: not scored yet: %s", series, why)
    if not ready:
        raise AirflowSkipException(f"nothing to score; {len(waiting)} series wait for a model")
    return [str(series) for series in ready]


def score_series(series: str) -> None:
    """Score what was loaded of a series since it was last scored, and leave a link to its incidents."""
    from etl.alerting import load_alerting
    from etl.lost import open_or_make
    from models.rounds import score_loads

    context = get_current_context()
    wanted = Series.parse(series)
    context["series"] = series  # type: ignore[typeddict-unknown-key]  # Airflow's documented way to label
    with failing_at_once(), open_or_make(settings := read_settings()) as warehouse:
        outcome = score_loads(
            warehouse,
            settings,
            load_alerting(),
            wanted,
            run=str(context["run_id"]),
            # The one thing that the present decides: how old a candle is, and so whether anybody is told of it.
            now=datetime.now(UTC),
        )
    log.info("%s", outcome.gist)
    context["ti"].xcom_push(key=INCIDENTS_KEY, value=incidents_address(wanted))


def waiting_alerts() -> int:
    """Return how many alerts wait in the outbox.

    Raises:
        AirflowSkipException: There is none; nobody need be told.
    """
    from etl.lost import open_or_make
    from etl.warehouse import count_unplanned

    with failing_at_once(), open_or_make(read_settings()) as warehouse, warehouse.begin() as connection:
        waiting = count_unplanned(connection)
    if not waiting:
        raise AirflowSkipException("no alert waits in the outbox")
    log.info("waiting in the outbox: %s", counted(waiting, "alert"))
    return waiting
