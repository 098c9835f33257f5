"""Tasks of DAGs that load candles: `etl.ingest`, step by step, over the data interval of the run.

Whatever is heavy is imported inside the functions, since DAG files import this module and are parsed often.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from airflow.sdk import conf, get_current_context
from airflow.sdk.exceptions import AirflowFailException

from chandler_airflow.accounts import tell_quality
from chandler_airflow.connections import read_settings
from chandler_airflow.failures import NothingHandedOverError, failing_at_once, naming_kept_list
from etl.errors import ConfigError
from etl.series import Series, TimeRange

if TYPE_CHECKING:
    from airflow.sdk import Context

_Value = TypeVar("_Value")
_MAX_MAP_LENGTH = 1024  # Airflow's default

log = logging.getLogger(__name__)


def fetch_partition(series: str, settle: timedelta, *, feed: Collection[str]) -> dict[str, str]:
    """Bring the raw pages of `series` over the run's data interval to disk.

    Args:
        series: As `str(Series)` writes it; becomes the label of the mapped task.
        settle: How far before the interval to fetch again what was loaded before.
        feed: The series that the feed has now. A task of an older run may have another one.

    Returns:
        The partition that was fetched, for the tasks that follow.
    """
    from etl import ingest, plan
    from etl.stores import Partition, open_stores

    context = get_current_context()
    _label(context, series)
    if series not in feed:
        log.warning(
            "%s has left the feed since this run began; the run keeps its list of series, so it is loaded "
            "nevertheless; to take up the feed's present series, clear list_series with what follows",
            series,
        )
    with failing_at_once(), naming_kept_list():
        wanted = Partition(Series.parse(series), data_interval(context))
        with open_stores(read_settings(wanted.series.exchange)) as stores:
            partition = plan.settling(stores, wanted, settle)
            ingest.fetch(stores, partition)
    return partition.to_dict()


def clean_partition(series: str, facts: Mapping[str, str] | None) -> dict[str, str]:
    """Judge the rows of the partition that `fetch_partition` returned, and return it.

    Args:
        series: As `str(Series)` writes it; becomes the label of the mapped task.
        facts: What `fetch_partition` returned; None if it did not come so far.

    Raises:
        NothingHandedOverError: `facts` is None.
    """
    from etl import ingest
    from etl.stores import Partition, open_stores
    from etl.warehouse import locked_partition

    context = get_current_context()
    _label(context, series)
    with failing_at_once():
        partition = Partition.from_dict(_handed_over(facts, "partition.fetch", series))
        with (
            open_stores(read_settings(partition.series.exchange)) as stores,
            locked_partition(stores.warehouse, partition.series, partition.time_range),
        ):
            ingest.clean_pages(stores, partition, str(context["run_id"]))
    return partition.to_dict()


def load_partition(series: str, facts: Mapping[str, str] | None, *, is_history: bool) -> dict[str, str]:
    """Make archive and warehouse hold the partition that `clean_partition` returned, tell its quality, return it.

    Args:
        series: As `str(Series)` writes it; becomes the label of the mapped task.
        facts: What `clean_partition` returned; None if it did not come so far.
        is_history: Whether nobody is to be told of what is strange in it; so it is of a backfill in any case.

    Raises:
        NothingHandedOverError: `facts` is None.
    """
    from etl import ingest
    from etl.stores import Partition, open_stores
    from etl.warehouse import locked_partition

    context = get_current_context()
    _label(context, series)
    with failing_at_once():
        partition = Partition.from_dict(_handed_over(facts, "partition.clean", series))
        with open_stores(read_settings(partition.series.exchange)) as stores:
            is_history = is_history or is_backfill(context)
            with locked_partition(stores.warehouse, partition.series, partition.time_range):
                ingest.load(stores, partition, str(context["run_id"]), is_announced=True, is_history=is_history)
            tell_quality(context, stores, [partition.series], partition.time_range)
    return partition.to_dict()


def account_for(series: Sequence[str] | None) -> None:
    """Judge the absences around what was loaded, and tell the quality of all `series` over the run's data interval.

    Args:
        series: Of one exchange, as `str(Series)` writes them; None if the run has no list of them.

    Raises:
        AirflowFailException: The absences of some of them cannot be classified; the others' are.
        NothingHandedOverError: `series` is None.
    """
    from etl.accounting import account_for_loads
    from etl.stores import open_stores

    context = get_current_context()
    with failing_at_once():
        wanted = [Series.parse(one) for one in _handed_over(series, "list_series")]
        exchange = wanted[0].exchange
        with open_stores(read_settings(exchange)) as stores:
            judged = account_for_loads(stores, exchange, run=str(context["run_id"]))
            tell_quality(context, stores, wanted, data_interval(context))
        if failures := [judged.failures[one] for one in wanted if one in judged.failures]:
            raise AirflowFailException("\n".join(str(failure) for failure in failures))


def warn_of_fallbacks(series: Sequence[str] | None) -> None:
    """Look for candles of `series` that could not be written as Parquet and wait to become so.

    Args:
        series: As `str(Series)` writes them; None if the run has no list of them.

    Raises:
        AirflowFailException: There are some; it names each file, and the command that converts them.
        NothingHandedOverError: `series` is None.
    """
    from etl.fallbacks import waiting_fallbacks, warning_of
    from etl.stores import open_stores

    with failing_at_once():
        wanted = {Series.parse(one) for one in _handed_over(series, "list_series")}
        with open_stores(read_settings()) as stores:
            waiting = waiting_fallbacks(stores, wanted)
        if waiting:
            raise AirflowFailException("\n".join(warning_of(fallback) for fallback in waiting))


def kept_list(names: Sequence[str]) -> list[str]:
    """Return the list that the mapped tasks of a run expand over.

    Raises:
        AirflowFailException: It is longer than the lists that Airflow maps tasks over.
    """
    most = conf.getint("core", "max_map_length", fallback=_MAX_MAP_LENGTH)
    with failing_at_once():
        if len(names) > most:
            raise AirflowFailException(
                f"too many to map tasks over: {len(names):,}, and this Airflow takes {most:,}; set "
                "AIRFLOW__CORE__MAX_MAP_LENGTH higher for every part of Airflow, or cut the feed into several"
            )
    return list(names)


def _handed_over(value: _Value | None, step: str, series: str | None = None) -> _Value:
    """Return what the task `step` of this run has returned.

    Raises:
        NothingHandedOverError: It has returned nothing.
    """
    if value is None:
        raise NothingHandedOverError(step, series)
    return value


def _label(context: Context, series: str) -> None:
    """Name the mapped task after its series: `map_index_template` reads this."""
    context["series"] = series  # type: ignore[typeddict-unknown-key]  # Airflow's documented way to label


def is_backfill(context: Context) -> bool:
    """Return whether the run was asked for by a backfill."""
    return bool(context["dag_run"].run_type == "backfill")  # an enum of text, which str() would show by its name


def data_interval(context: Context) -> TimeRange:
    """Return the data interval of the run.

    Raises:
        ConfigError: It has none, or an empty one.
    """
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None or start >= end:
        raise ConfigError("this run has no data interval to load; trigger it with a logical date, or run a backfill")
    # Airflow's are pendulum's, whose arithmetic does not mix with datetime's.
    return TimeRange(*(datetime.fromtimestamp(bound.timestamp(), UTC) for bound in (start, end)))
