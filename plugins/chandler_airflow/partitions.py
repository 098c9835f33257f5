"""The tasks of a feed, wired: what all DAGs that load candles have in common, whatever their schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from airflow.sdk import Asset, Metadata, task, task_group
from airflow.sdk.bases.decorator import task_decorator_factory

from chandler_airflow.alerting import tell_of_failure
from chandler_airflow.links import AccountingOperator
from chandler_airflow.tasks import (
    account_for,
    clean_partition,
    fetch_partition,
    kept_list,
    load_partition,
    warn_of_fallbacks,
)
from etl.feeds import Feed

CANDLES = Asset("candles")
# Before any exchange: Airflow runs no task of a run that lies before its DAG's start, and calls such a run a success.
BEGINNING = datetime(2010, 1, 1, tzinfo=UTC)
accounting_task = partial(task_decorator_factory, decorated_operator_class=AccountingOperator)
DEFAULTS: Mapping[str, object] = {
    "owner": "chandler",
    "retries": 5,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(hours=1),
    "on_failure_callback": tell_of_failure,
}


def headline(doc: str | None) -> str:
    """Return what the list of DAGs shows of a DAG file's docstring: the sentence after `### Name:`."""
    sentence = (doc or "").partition("\n")[0].partition(": ")[2]
    return sentence[:1].upper() + sentence[1:]


def build_partitions(feed: Feed, settle: timedelta, *, is_history: bool = False) -> None:
    """Build in the current DAG fetch, clean and load, mapped over the feed's series; then two tasks for all of them.

    The first task keeps the list of series for its run: the map index of a task means the same series for as long as
    the run exists, whatever becomes of the feed. `clean` and `load` run even if the step before them has failed. They
    fail too, at once, but by then they are labelled with their series: Airflow labels a task when it runs.

    Those that talk to the exchange share the pool that is named like it. A load emits `CANDLES` with series and range.
    `account` and `warn` are teardowns: they run however the loads have ended, and whether the run has failed is for the
    loads to say. A red `warn` in a green run says that candles were kept, but not as Parquet.

    Args:
        settle: How far before its data interval a run fetches again what was loaded before.
        is_history: Whether nobody is to be told of what is strange in what it loads.
    """
    names = [str(series) for series in feed.series]

    @task
    def list_series() -> list[str]:
        return kept_list(names)

    @task(pool=feed.exchange, map_index_template="{{ series }}", multiple_outputs=False)
    def fetch(series: str) -> dict[str, str]:
        return fetch_partition(series, settle, feed=names)

    @task(map_index_template="{{ series }}", multiple_outputs=False, trigger_rule="all_done")
    def clean(series: str, partition: dict[str, str] | None) -> dict[str, str]:
        return clean_partition(series, partition)

    @accounting_task(map_index_template="{{ series }}", outlets=[CANDLES], trigger_rule="all_done")
    def load(series: str, partition: dict[str, str] | None) -> Iterator[Metadata]:
        yield Metadata(CANDLES, {**load_partition(series, partition, is_history=is_history)})

    @task_group
    def partition(series: str) -> None:
        load(series, clean(series, fetch(series)))  # type: ignore[arg-type]  # a promise of the value: Airflow passes it on

    @accounting_task()
    def account(series: Sequence[str] | None) -> None:
        account_for(series)

    @task(on_failure_callback=None)  # of what waits `deliver_alerts` tells by itself, and once
    def warn(series: Sequence[str] | None) -> None:
        warn_of_fallbacks(series)

    listed = list_series()
    partition.expand(series=listed) >> account(listed).as_teardown() >> warn(listed).as_teardown()  # type: ignore[arg-type]
