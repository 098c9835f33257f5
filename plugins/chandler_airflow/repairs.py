"""The tasks of the repair DAG, wired, and what they do: judge, ask again, tell, note that it was told."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from airflow.sdk import AssetAlias, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from chandler_airflow.connections import read_settings
from chandler_airflow.failures import failing_at_once
from chandler_airflow.partitions import CANDLES
from chandler_airflow.tasks import data_interval
from etl.errors import ClassificationError
from etl.spelling import counted

# A task emits one event of an asset itself, but as many as it likes through an alias.
ANNOUNCED = AssetAlias("candles_announced")
_AT_ONCE = 1000  # events of one task; what is more is told an hour later

log = logging.getLogger(__name__)


def build_repairs(exchanges: Iterable[str]) -> None:
    """Build, in the DAG at hand, a task that judges, one for each exchange that asks again, and two that tell of it.

    Those that talk to an exchange have the pool that is named like it. What is told is told though a repair has failed,
    and `finished` lets the run fail then.
    """

    @task
    def judge() -> None:
        judge_all()

    @task(trigger_rule="all_done", outlets=[ANNOUNCED])
    def announce() -> list[int]:
        return announce_loads()

    @task
    def note_announced(loads: list[int]) -> None:
        note_announced_loads(loads)

    @task
    def finished() -> None:
        log.info("every exchange was asked for what was due")

    judged, announced = judge(), announce()
    noted = note_announced(announced)  # type: ignore[arg-type]  # a promise of the value: Airflow passes it on
    ended = finished()
    judged >> [announced, ended]
    noted >> ended
    for exchange in exchanges:
        # A series that cannot be judged keeps no exchange from being asked.
        asked = task(task_id=f"repair_{exchange}", pool=exchange, trigger_rule="all_done")
        repair = asked(repair_exchange)(exchange)
        judged >> repair >> [announced, ended]


def judge_all() -> None:
    """Judge the absences around all that was loaded since it was last done, by whomever.

    Raises:
        AirflowFailException: The absences of some series cannot be classified; those of all others are.
    """
    from etl.accounting import account_for_loads
    from etl.stores import open_stores

    with failing_at_once():
        with open_stores(read_settings()) as stores:
            judged = account_for_loads(stores, None, run=str(get_current_context()["run_id"]))
        log.info("judged: of another kind now: %s", counted(judged.changes, "stretch", "stretches"))
        if judged.failures:
            raise AirflowFailException("\n".join(str(failure) for failure in judged.failures.values()))


def repair_exchange(exchange: str) -> None:
    """Ask the exchange again for what is absent and due when the run's data interval ends.

    Raises:
        ChandlerError: A probe has failed; the others were made.
    """
    from etl.repair import repair
    from etl.stores import open_stores

    context = get_current_context()
    with failing_at_once(), open_stores(read_settings(exchange)) as stores:
        now = data_interval(context).end
        report = repair(stores, exchange, now, run=str(context["run_id"]))
        if report.is_elsewhere:
            return
        if not report.due:
            log.info("nothing to do: nothing of %s is absent and due by %s", exchange, f"{now:%Y-%m-%d %H:%M}")
        # `judge` has told of what cannot be judged.
        failures = [error for error in report.failures if not isinstance(error, ClassificationError)]
        if failures:
            # One that a retry may help lets Airflow try again, and then all that has failed is asked for again.
            raise next((error for error in failures if error.is_retryable), failures[0])


def announce_loads() -> list[int]:
    """Emit `CANDLES` with series and range for each load that nobody was told of; return which those were.

    Airflow keeps the events in the transaction that makes the task a success, and whoever notes that they were told
    runs after that. Killed in between they are told once more: at least once, never not at all.
    """
    from etl.lost import open_or_make
    from etl.warehouse import unannounced_loads

    events = get_current_context()["outlet_events"][ANNOUNCED]
    with failing_at_once(), open_or_make(read_settings()) as warehouse, warehouse.begin() as connection:
        loads = unannounced_loads(connection)
    for load in loads[:_AT_ONCE]:
        log.info("%s %s, loaded by %s", load.series, load.time_range, load.run)
        events.add(CANDLES, extra={"series": str(load.series), **load.time_range.to_dict()})
    log.info("told of: %s, left for the next run: %d", counted(len(loads[:_AT_ONCE]), "load"), len(loads[_AT_ONCE:]))
    return [load.id for load in loads[:_AT_ONCE]]


def note_announced_loads(loads: Iterable[int]) -> None:
    """Note that `announce_loads` has told of these."""
    from etl.lost import open_or_make
    from etl.warehouse import mark_announced, unannounced_loads

    told = set(loads)
    with failing_at_once(), open_or_make(read_settings()) as warehouse, warehouse.begin() as connection:
        mark_announced(connection, [load for load in unannounced_loads(connection) if load.id in told])
