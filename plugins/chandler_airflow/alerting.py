"""Telling people, Airflow's side: the tasks of `deliver_alerts`, and what is told when a task fails or a load is late.

What a callback is given it puts into the outbox, no more: sending is for `deliver_alerts`, which Airflow runs anyway.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import Asset, conf, get_current_context, task
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from chandler_airflow.connections import find_connection, read_warehouse_settings
from chandler_airflow.deadlines import ScheduledRunDue
from chandler_airflow.failures import NothingHandedOverError, failing_at_once
from chandler_airflow.tasks import is_backfill
from etl.alerting import Alerting, alerts_path, load_alerting
from etl.errors import ChandlerError, ConfigError
from etl.incidents import Severity
from etl.messages import Notice, PipelineKind
from etl.series import Series
from etl.spelling import counted, sentence

if TYPE_CHECKING:
    from airflow.sdk import Context

ALERTS = Asset("alerts")
OPINION = "chandler_opinion"
OPINION_VARIABLE = "CHANDLER_OPINION_KEY"
_CLEARED = re.compile(r"\bclear \w+")
_LONGEST = 300  # characters of an error in a message; its log has the rest
_PARTITION = {"fetch", "clean", "load"}

log = logging.getLogger(__name__)


def build_delivery() -> None:
    """Build, in the DAG at hand, a task that sends, and two before it that add to what there is to tell.

    What is told is told though they have failed, and `finished` lets the run fail then.
    """

    @task
    def watch() -> None:
        watch_pipeline()

    @task
    def ask() -> None:
        ask_for_opinions()

    @task(trigger_rule="all_done")
    def deliver() -> None:
        deliver_alerts()

    @task(trigger_rule="none_failed")
    def finished() -> None:
        log.info("what there is to tell is told, or waits for its channel")

    watched, asked, delivered, ended = watch(), ask(), deliver(), finished()
    [watched, asked] >> delivered >> ended
    watched >> ended
    asked >> ended


def watch_pipeline() -> None:
    """Put into the outbox what is wrong with the pipeline, and is not told of by a task that has failed."""
    from etl.stores import open_stores
    from etl.watching import tell, watch

    now = datetime.now(UTC)
    with failing_at_once():
        alerting = load_alerting()
        with open_stores(read_warehouse_settings()) as stores:
            told = tell(stores.warehouse, watch(stores, alerting, now))
    log.info("%d new things to tell of the pipeline", told)


def ask_for_opinions() -> None:
    """Ask a language model of incidents that nobody was told of yet.

    Raises:
        AirflowSkipException: alerts.toml names no model.
    """
    with failing_at_once():
        alerting = load_alerting()
        if alerting.opinion is None:
            raise AirflowSkipException(f"no [opinion] in {alerts_path()}: nobody is asked")
        from etl.lost import open_or_make
        from etl.opinions import ask_opinions

        run = str(get_current_context()["run_id"])
        with open_or_make(read_warehouse_settings()) as warehouse:
            asked = ask_opinions(warehouse, alerting, _opinion_key(), datetime.now(UTC), run)
    log.info("%s", asked)


def deliver_alerts() -> None:
    """Send what there is to tell to the channels that alerts.toml names.

    One that is down is no failure of this task: its messages wait, and the log says so.
    """
    from chandler_airflow.connections import find_address
    from etl.delivery import deliver
    from etl.lost import open_or_make

    with failing_at_once():
        alerting, run = load_alerting(), str(get_current_context()["run_id"])
        with open_or_make(read_warehouse_settings()) as warehouse:
            site = conf.get("api", "base_url", fallback="")
            done = deliver(warehouse, alerting, find_address, run, link_base=site)
    decided, made = counted(done.decided, "alert"), counted(done.made, "message")
    log.info("%s decided, %d waiting; %s made, %d sent", decided, done.waiting, made, done.sent)


def tell_of_failure(context: Context) -> None:
    """Put into the outbox that a task has failed for good; nothing if it is of a backfill or of history.

    Nor of a task whose predecessor has left nothing: the failure of that one is what matters, and was put there.

    Airflow logs what this raises, and lets nothing else come of it.
    """
    instance: Any = context["ti"]
    if is_backfill(context) or instance.dag_id.startswith("history_"):
        return
    if isinstance(context.get("exception"), NothingHandedOverError):
        return
    label = str(context.get("series") or context.get("target") or getattr(instance, "rendered_map_index", None) or "")
    _put(failure_notice(instance, label, context.get("exception"), datetime.now(UTC)))


def failure_notice(instance: Any, label: str, error: BaseException | str | None, now: datetime) -> Notice:
    """Return what to tell of a task instance that has failed for good.

    Args:
        instance: Has `dag_id`, `run_id`, `task_id` and `map_index`.
        label: What the task is labelled with: a partition's series, a training's target; or empty.
        error: Why; its text is told only if it is one of ours.
    """
    step = instance.task_id.rpartition(".")[2]
    series = _to_series(label)
    what = f"{instance.dag_id}: {step}" + (f" of {label}" if label else "")
    if step in _PARTITION:
        kind, severity = PipelineKind.FAILED_PARTITION, Severity.HIGH
    elif instance.dag_id == "train_models":
        kind, severity = PipelineKind.FAILED_TRAINING, Severity.LOW  # the champion is what it was
    else:
        kind, severity = PipelineKind.FAILED_TASK, Severity.HIGH
    return Notice(
        identity=f"{instance.dag_id}:{instance.run_id}:{instance.task_id}:{instance.map_index}",
        kind=kind,
        severity=severity,
        title=f"{what} has failed",
        detail=f"{sentence(_gist(error))} The whole of it is in the task's log{_remedy(error)}.",
        happened_at=now,
        exchange=None if series is None else series.exchange,
        symbol=None if series is None else series.symbol,
        link=_path(instance.dag_id, instance.run_id, instance.task_id, instance.map_index),
    )


def late_load_alert() -> DeadlineAlert:
    """Return what makes Airflow tell of a daily load that has not ended long after it was due.

    Scheduled runs alone have the deadline. The triggerer runs the callback, since Airflow 3.3 denies Connections to
    callbacks in an executor.

    Source: https://github.com/apache/airflow/issues/70368
    """
    try:
        alerting = load_alerting()
    except ConfigError:
        alerting = Alerting()  # what is wrong in alerts.toml keeps no candle; deliver_alerts says it
    return DeadlineAlert(
        reference=ScheduledRunDue(alerting.late_after.total_seconds()),
        interval=alerting.late_after,
        callback=AsyncCallback(tell_of_late_load),
    )


async def tell_of_late_load(context: Mapping[str, Any]) -> None:
    """Put into the outbox that a run is late; nothing if it has ended, or was asked for by a person or a backfill."""
    deadline = datetime.fromisoformat(str(context["deadline"]["deadline_time"]))
    notice = lateness_notice(context["dag_run"], deadline, datetime.now(UTC))
    if notice is not None:
        await asyncio.to_thread(_put, notice)


def lateness_notice(run: Mapping[str, Any], deadline: datetime, now: datetime) -> Notice | None:
    """Return what to tell of a run whose deadline has passed, if anything.

    Of a run that began after it nothing: the feed was just switched on, or Airflow was off. It is under way, and if it
    fails that is told.

    Args:
        run: As Airflow's API shows it.
    """
    if run["run_type"] != "scheduled" or run["state"] not in {"queued", "running"}:
        return None
    if datetime.fromisoformat(run["queued_at"]) >= deadline:
        return None
    day, due = str(run["data_interval_start"])[:10], datetime.fromisoformat(run["data_interval_end"])
    hours = (now - due) / timedelta(hours=1)
    return Notice(
        identity=f"late:{run['dag_id']}:{day}",
        kind=PipelineKind.LATE_LOAD,
        severity=Severity.HIGH,
        title=f"{run['dag_id']}: the load of {day} is late",
        detail=f"It was due {hours:.1f} hours ago and is {run['state']}. Its tasks say what it waits for.",
        happened_at=now,
        link=_path(run["dag_id"], run["dag_run_id"]),
    )


def _put(notice: Notice) -> None:
    from etl.lost import open_or_make
    from etl.watching import tell

    with open_or_make(read_warehouse_settings()) as warehouse:
        is_new = tell(warehouse, [notice])
    log.info("%s %s", "put into the outbox:" if is_new else "told of already:", notice.title)


def _to_series(label: str) -> Series | None:
    try:
        return Series.parse(label)
    except ConfigError:
        return None


def _gist(error: BaseException | str | None) -> str:
    """Return the last line of an error of ours, or what kind of error it is: others' texts may hold secrets."""
    if isinstance(error, ChandlerError | AirflowFailException):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        return lines[-1] if len(lines[-1]) <= _LONGEST else lines[-1][:_LONGEST] + "…"
    return f"{type(error).__name__}." if isinstance(error, BaseException) else "It was stopped, or has lost its worker."


def _remedy(error: BaseException | str | None) -> str:
    """Return what to clear, unless the error says it: the task alone may not be enough."""
    is_said = isinstance(error, ChandlerError | AirflowFailException) and _CLEARED.search(str(error))
    return "" if is_said else "; clear the task once it is mended"


def _path(dag_id: str, run_id: str, task_id: str | None = None, map_index: int | None = None) -> str:
    """Return where Airflow's UI shows a run, or an instance of a task."""
    path = f"/dags/{dag_id}/runs/{quote(run_id, safe='')}"
    if task_id is not None:
        path += f"/tasks/{task_id}"
    return path if map_index is None or map_index < 0 else f"{path}/mapped/{map_index}"


def _opinion_key() -> str | None:
    connection = find_connection(OPINION)
    return (connection.password if connection is not None else None) or os.environ.get(OPINION_VARIABLE)
