"""Many partitions at once: while one is cleaned and loaded, the next are fetched, so that the exchange never waits.

Fetching shares one event loop and one budget per exchange; cleaning and loading go in threads, a few at a time.
Exchanges do not wait for each other, and a series that fails does not keep its neighbours.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Protocol

from etl.accounting import account_for_loads
from etl.errors import ChandlerError, QuarantineLimitError, StoreLostError
from etl.extract import Page
from etl.fetching import Exchange, open_exchange
from etl.ingest import clean_pages, fetch_partition, load_sound
from etl.leftovers import fold_leftovers
from etl.plan import plan
from etl.series import Series, TimeRange, subtract, united
from etl.stores import Partition, Stores
from etl.timeframe import from_ms
from etl.warehouse import LoadReport, last_load, loaded_since, locking_partition

log = logging.getLogger(__name__)

LOADERS = 2  # of different series: while one waits for its commit, the database takes in the other
_ABREAST = LOADERS + 2  # one is fetched, and one bridges the moment when the last pages of another arrive


class Watcher(Protocol):
    """Observer of an ingest. Called from the loop's thread."""

    def planned(self, series: Series, partitions: Sequence[Partition]) -> None:
        """These partitions are to be ingested."""

    def arrived(self, partition: Partition, candles: int, used_weight: int, permitted_weight: int) -> None:
        """A page is there, which settles so many candles of the partition."""

    def loaded(self, partition: Partition, report: LoadReport) -> None:
        """A partition is committed."""

    def left_out(self, partition: Partition) -> None:
        """Another process has loaded the partition since it was planned."""

    def failed(self, series: Series, error: ChandlerError) -> None:
        """A partition failed. No more of its series is tried, unless too many refused rows are all that is wrong."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A partition to ingest.

    Attributes:
        last_load: The number of the last load that the plan took into account; None to ingest it in any case.
    """

    partition: Partition
    last_load: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Request for what is to be accounted for.

    Attributes:
        end: Exclusive; None, or a moment still to come, for the last candle that has closed.
        settle: See `etl.plan.plan`.
        run: What to call this run in the warehouse.
    """

    series: Sequence[Series]
    start: datetime
    end: datetime | None
    settle: timedelta | None
    run: str


def ingest_all(stores: Stores, wanted: Wanted, watcher: Watcher) -> None:
    """Ingest what is wanted and not there yet, and judge what is absent; failures are the watcher's.

    Raises:
        StoreLostError: The warehouse is away, for all series; nothing else is begun.
    """
    try:
        asyncio.run(_ingest_all(stores, wanted, watcher))
    except BaseExceptionGroup as group:
        lost, others = group.split(StoreLostError)
        if lost is None or others is not None:
            raise
        raise _first_of(lost) from None
    for exchange in sorted({series.exchange for series in wanted.series}):
        for series, failure in account_for_loads(stores, exchange, wanted.run).failures.items():
            if series in wanted.series:
                watcher.failed(series, failure)


def _first_of(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _ingest_all(stores: Stores, wanted: Wanted, watcher: Watcher) -> None:
    by_exchange: Mapping[str, list[Series]] = defaultdict(list)
    for series in wanted.series:
        by_exchange[series.exchange].append(series)
    with ThreadPoolExecutor(LOADERS, "loader") as loader:
        async with asyncio.TaskGroup() as group:
            for name, members in by_exchange.items():
                group.create_task(_ingest_exchange(stores, name, members, wanted, watcher, loader))


async def _ingest_exchange(
    stores: Stores, name: str, members: Sequence[Series], wanted: Wanted, watcher: Watcher, loader: ThreadPoolExecutor
) -> None:
    try:
        async with _opened(name, stores) as exchange:
            planned = [await _planned(stores, exchange, series, wanted, watcher) for series in members]
            # In turn, since loads of one series follow one another.
            shared = (job for turn in zip_longest(*planned) for job in turn if job is not None)
            failed: set[Series] = set()
            async with asyncio.TaskGroup() as group:
                for _ in range(_ABREAST):
                    group.create_task(_work(stores, exchange, shared, wanted.run, watcher, loader, failed))
    except StoreLostError:
        raise
    except ChandlerError as error:
        for series in members:
            watcher.failed(series, error)


@asynccontextmanager
async def _opened(name: str, stores: Stores) -> AsyncIterator[Exchange]:
    async with open_exchange(name, stores.settings, stores.warehouse) as exchange:
        await exchange.source.clock_ms()  # an exchange that cannot be reached is said once
        yield exchange


async def _planned(stores: Stores, exchange: Exchange, series: Series, wanted: Wanted, watcher: Watcher) -> list[_Job]:
    await asyncio.to_thread(fold_leftovers, stores, series)
    with stores.warehouse.begin() as connection:
        last = last_load(connection)
    until = series.timeframe.floor(from_ms(await exchange.source.clock_ms()))
    until = until if wanted.end is None else min(until, wanted.end)
    span = TimeRange(wanted.start, until) if wanted.start < until else None
    partitions = [] if span is None else plan(stores, series, span, wanted.settle)
    watcher.planned(series, partitions)
    return [_Job(partition, None if wanted.settle is None else last) for partition in partitions]


async def _work(
    stores: Stores,
    exchange: Exchange,
    jobs: Iterator[_Job],
    run: str,
    watcher: Watcher,
    loader: ThreadPoolExecutor,
    failed: set[Series],
) -> None:
    for job in jobs:
        series = job.partition.series
        if series in failed:
            continue
        try:
            error = await _ingest_job(stores, exchange, job, run, watcher, loader)
        except StoreLostError:
            raise
        except ChandlerError as problem:
            if series not in failed:
                failed.add(series)
                watcher.failed(series, problem)
        else:
            if error is not None:
                watcher.failed(series, error)


async def _ingest_job(
    stores: Stores, exchange: Exchange, job: _Job, run: str, watcher: Watcher, loader: ThreadPoolExecutor
) -> QuarantineLimitError | None:
    """Ingest a partition once no other process works on it; return the error that its refused rows are, if too many."""
    partition = job.partition

    def arrived(page: Page, candles: int) -> None:
        watcher.arrived(partition, candles, *exchange.budget.use())

    def clean_and_load() -> tuple[LoadReport, QuarantineLimitError | None]:
        clean_pages(stores, partition, run)
        return load_sound(stores, partition, run)

    async with locking_partition(stores.warehouse, partition.series, partition.time_range):
        if _is_loaded(stores, job):
            log.info("%s: already accounted for: another process has loaded it meanwhile", partition)
            watcher.left_out(partition)
            return None
        await fetch_partition(stores, exchange, partition, arrived)
        report, error = await asyncio.get_running_loop().run_in_executor(loader, clean_and_load)
    watcher.loaded(partition, report)
    return error


def _is_loaded(stores: Stores, job: _Job) -> bool:
    """Return whether all of the partition was loaded since it was planned."""
    if job.last_load is None:
        return False
    with stores.warehouse.begin() as connection:
        spans = loaded_since(connection, job.partition.series, job.last_load)
    return not subtract(job.partition.time_range, united(spans))
