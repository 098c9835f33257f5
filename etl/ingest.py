"""Fetch, clean, load: the three steps of a partition, each of which may be killed and run again.

A partition is one series over one range. `fetch` brings raw pages to disk, `clean` judges their rows, `load` makes
archive and warehouse hold the result and commits the checkpoint that says so. What one step leaves for the next lies
on disk, so that Airflow can run them as three tasks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from etl.archive import Archive
from etl.errors import QuarantineLimitError, StoreError
from etl.exchanges import BULK_LAYOUT, Traits
from etl.extract import FetchReport, OnPage, Page, RawStore, Route, to_candles
from etl.fetching import Exchange, fetch_pages, open_exchange
from etl.handover import read_handover, write_handover
from etl.schema import Origin, Series, TimeRange, content_hash, to_columns
from etl.settings import Settings
from etl.validate import CleanReport, ReceivedRows, Refused, clean, explain, find_absences
from etl.warehouse import (
    LoadReport,
    Warehouse,
    begin_load,
    known_series,
    merge,
    open_warehouse,
    read_checkpoints,
    read_listing,
)

log = logging.getLogger(__name__)

_SHOWN = 10  # of what may be many, in a log


@dataclass(frozen=True, slots=True)
class Partition:
    """One series over one range: what a run loads and a user reruns."""

    series: Series
    time_range: TimeRange

    def __str__(self) -> str:
        return f"{self.series} {self.time_range}"

    def to_dict(self) -> dict[str, str]:
        """Return the partition as JSON can hold it."""
        return {"series": str(self.series), **self.time_range.to_dict()}

    @classmethod
    def from_dict(cls, facts: Mapping[str, str]) -> Partition:
        """Read what `to_dict` wrote."""
        start, end = (datetime.fromisoformat(facts[bound]) for bound in ("start", "end"))
        return cls(Series.parse(facts["series"]), TimeRange(start, end))


@dataclass(frozen=True, slots=True)
class Stores:
    """Where everything is kept, opened."""

    settings: Settings
    warehouse: Warehouse
    archive: Archive
    raw: RawStore


@contextmanager
def open_stores(settings: Settings) -> Iterator[Stores]:
    """Open warehouse, archive and raw store; see `open_warehouse` for what may be raised."""
    with open_warehouse(settings) as warehouse:
        archive = Archive(settings.archive_url or str(settings.home / "archive"))
        yield Stores(settings, warehouse, archive, RawStore(settings.home / "raw"))


def fetch(stores: Stores, partition: Partition, on_page: OnPage = lambda page, candles: None) -> FetchReport:
    """Bring the partition's raw pages to disk. Pages that are there are not asked for again.

    Raises:
        SourceError: The exchange did not give them, or the range has not closed yet.
        StoreError: A page could not be written.
    """

    async def run() -> FetchReport:
        async with open_exchange(partition.series.exchange, stores.settings, stores.warehouse) as exchange:
            return await fetch_partition(stores, exchange, partition, on_page)

    return asyncio.run(run())


async def fetch_partition(
    stores: Stores, exchange: Exchange, partition: Partition, on_page: OnPage = lambda page, candles: None
) -> FetchReport:
    """Do what `fetch` does, by an exchange that is open."""
    log.info("fetch %s", partition)
    with stores.warehouse.begin() as connection:
        listing = read_listing(connection, partition.series)
    return await fetch_pages(exchange, stores.raw.partition(partition.series, partition.time_range), listing, on_page)


def clean_pages(stores: Stores, partition: Partition) -> CleanReport:
    """Judge the rows of the partition's pages and leave the outcome for `load`.

    Raises:
        StoreError: A page is missing.
        QuarantineLimitError: More than `max_quarantined_pct` of the rows were refused. The pages are set aside.
    """
    log.info("clean %s", partition)
    series, time_range = partition.series, partition.time_range
    raw = stores.raw.partition(series, time_range)
    pages = list(raw.read_pages(raw.read_list()))
    cleaned = clean(_received(pages, stores.settings.traits(series.exchange), time_range), series, time_range)
    report = cleaned.report
    if 100 * len(cleaned.refused) > stores.settings.max_quarantined_pct * report.rows:
        aside = raw.set_aside()
        raise QuarantineLimitError(
            _limit_message(cleaned.refused, report, stores.settings.max_quarantined_pct, aside),
            series=series,
            time_range=time_range,
        )
    write_handover(raw.folder, cleaned)
    log.info(
        "%d rows: %d accepted, %d repeated, %d outside the range, %d refused",
        report.rows,
        report.accepted,
        report.repeated,
        report.outside,
        len(cleaned.refused),
    )
    for row in cleaned.refused[:_SHOWN]:
        log.warning("%s: refused by %s (%s): %s", series, row.rule, row.evidence, row.row)
    if len(cleaned.refused) > _SHOWN:
        log.warning("%s: refused in all: %s", series, _by_rule(report))
    return report


def load(stores: Stores, partition: Partition, run: str) -> LoadReport:
    """Make archive and warehouse hold the cleaned partition, and commit the checkpoint that says so.

    Args:
        run: What to call this run in the warehouse.

    Raises:
        StoreError: A store refuses or went away. What was there before is whole, and a rerun ends what was begun.
    """
    log.info("load %s", partition)
    series, time_range = partition.series, partition.time_range
    started = time.monotonic()
    raw = stores.raw.partition(series, time_range)
    try:
        cleaned = read_handover(raw.folder)
        bounds = raw.read_list().bounds
    except StoreError:
        # A try that was killed after its commit has taken it away.
        if (done := _loaded_by(stores, partition, run)) is None:
            raise
        return done
    with begin_load(stores.warehouse, series, time_range, run) as under_way:
        merged = merge(under_way.stored, cleaned.candles)
        missing = find_absences(to_columns(merged.candles)["open_time"], time_range, series.timeframe)
        absent = explain(missing, **asdict(bounds))
        files = stores.archive.write(series, time_range, merged.candles)
        report = under_way.write(
            merged,
            absent=absent,
            refused=cleaned.refused,
            content_hash=content_hash(merged.candles),
            archive_files=files,
            first_ms=bounds.first_ms,
            end_ms=bounds.end_ms,
        )
    raw.fold()
    log.info(
        "%d candles held: %d new, %d revised, %d the same as before",
        report.rows,
        report.new,
        report.revised,
        merged.unchanged,
    )
    log.info("%d absent, %d quarantined; %.1f s", report.absent, report.quarantined, time.monotonic() - started)
    for span, kind in absent[:_SHOWN]:
        log.warning("%s: absent (%s) %s, %d candles", series, kind, span, span.count(series.timeframe))
    if len(absent) > _SHOWN:
        log.warning("%s: absent in all: %d stretches", series, len(absent))
    return report


def ingest(stores: Stores, partition: Partition, run: str, on_page: OnPage = lambda page, candles: None) -> LoadReport:
    """Fetch, clean and load one partition; see the steps for what may be raised."""
    fetch(stores, partition, on_page)
    clean_pages(stores, partition)
    return load(stores, partition, run)


def _received(pages: Sequence[Page], traits: Traits, time_range: TimeRange) -> Iterator[ReceivedRows]:
    """Yield what cleaning is given: candles as they arrived, those built from trades, and those out of files."""
    for page in pages:
        if page.route in {Route.CANDLES, Route.AGAIN}:
            yield ReceivedRows(page.rows(), page.fetched_at_ms, traits.layout)
        elif page.route is Route.BULK:
            yield ReceivedRows(page.rows(), page.fetched_at_ms, BULK_LAYOUT, Origin.BULK)
    if trades := [page for page in pages if page.route is Route.TRADES]:
        rows = to_candles(trades, trades[0].series.timeframe, time_range)
        yield ReceivedRows(rows, min(page.fetched_at_ms for page in trades), traits.layout, Origin.TRADES)


def _loaded_by(stores: Stores, partition: Partition, run: str) -> LoadReport | None:
    """Return what this very run has committed for the partition already, if it has."""
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection).get(partition.series)
        checkpoints = [] if series_id is None else read_checkpoints(connection, series_id)
    for checkpoint in checkpoints:
        if (checkpoint.time_range, checkpoint.run) == (partition.time_range, run):
            log.info("was loaded by this run already, at %s", checkpoint.loaded_at)
            return LoadReport(checkpoint.rows, 0, 0, checkpoint.absent, checkpoint.quarantined)
    return None


def _limit_message(refused: Sequence[Refused], report: CleanReport, limit_pct: float, aside: Path) -> str:
    share_pct = 100 * len(refused) / report.rows
    examples = "; ".join(f"{row.rule}: {row.evidence}" for row in refused[:3])
    return (
        f"{len(refused)} of {report.rows} rows were refused ({share_pct:.1f} %, limit {limit_pct} %) by "
        f"{_by_rule(report)}. For example {examples}. The pages are kept in {aside}. Fetch the partition "
        "again (in Airflow: clear its fetch task and what follows), or raise max_quarantined_pct if this is right"
    )


def _by_rule(report: CleanReport) -> str:
    return ", ".join(f"{rule} {count}" for rule, count in report.refused.items())
