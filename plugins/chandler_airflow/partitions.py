"""The tasks of a feed, wired: what all DAGs that load candles have in common, whatever their schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial

from airflow.sdk import Asset, Metadata, task, task_group
from airflow.sdk.bases.decorator import task_decorator_factory

from chandler_airflow.alerting import tell_of_failure
from chandler_airflow.links import AccountingOperator
from chandler_airflow.tasks import account_for, clean_partition, fetch_partition, load_partition, warn_of_fallbacks
from etl.settings import Feed

CANDLES = Asset("candles")
accounting_task = partial(task_decorator_factory, decorated_operator_class=AccountingOperator)
DEFAULTS: Mapping[str, object] = {
    "owner": "chandler",
    "retries": 5,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(hours=1),
    "on_failure_callback": tell_of_failure,
}


def build_partitions(feed: Feed, settle: timedelta, *, is_history: bool = False) -> None:
    """Build fetch, clean and load in the DAG at hand, mapped: a row of three tasks for each series; then two for all.

    Those that talk to the exchange share the pool that is named like it. A load emits `CANDLES` with series and range.
    `account` and `warn` are teardowns: they run however the loads have ended, and whether the run has failed is for the
    loads to say. A red `warn` in a green run says that candles were kept, but not as Parquet.

    Args:
        settle: How far before its data interval a run fetches again what was loaded before.
        is_history: Whether nobody is to be told of what is strange in what it loads.
    """

    @task(pool=feed.exchange, map_index_template="{{ series }}", multiple_outputs=False)
    def fetch(series: str) -> dict[str, str]:
        return fetch_partition(series, settle)

    @task(map_index_template="{{ series }}", multiple_outputs=False)
    def clean(partition: dict[str, str]) -> dict[str, str]:
        return clean_partition(partition)

    @accounting_task(map_index_template="{{ series }}", outlets=[CANDLES])
    def load(partition: dict[str, str]) -> Iterator[Metadata]:
        yield Metadata(CANDLES, {**load_partition(partition, is_history=is_history)})

    @task_group
    def partition(series: str) -> None:
        load(clean(fetch(series)))  # type: ignore[arg-type]  # a promise of the value: Airflow passes it on

    @accounting_task()
    def account(series: Sequence[str]) -> None:
        account_for(series)

    @task(on_failure_callback=None)  # of what waits `deliver_alerts` tells by itself, and once
    def warn(series: Sequence[str]) -> None:
        warn_of_fallbacks(series)

    names = [str(series) for series in feed.series]
    partition.expand(series=names) >> account(names).as_teardown() >> warn(names).as_teardown()
