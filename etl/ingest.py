"""Fetch, clean, load: the three steps of a partition, each of which may be killed and run again.

A partition is one series over one range. `fetch` brings raw pages to disk, `clean` judges their rows, `load` makes
archive and warehouse hold the result and commits the checkpoint that says so. What one step leaves for the next lies
on disk, so that Airflow can run them as three tasks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from etl.archive import Archive, spans
from etl.errors import QuarantineLimitError, SourceError, SourceUnavailableError, StoreError
from etl.extract import FetchReport, Page, RawStore, Source, fetch_range, open_source, read_pages
from etl.handover import Handover, read_handover, write_handover
from etl.schema import Series, TimeRange, content_hash, to_columns
from etl.settings import Feed, Settings, nearest
from etl.timeframe import from_ms
from etl.validate import CleanReport, ReceivedRows, Refused, clean, find_absences
from etl.warehouse import (
    LoadReport,
    Warehouse,
    begin_load,
    covered_ranges,
    known_series,
    merge,
    open_warehouse,
    read_checkpoints,
)

log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 90.0
_Answer = TypeVar("_Answer")


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


def fetch(stores: Stores, partition: Partition, on_page: Callable[[Page], None] = lambda page: None) -> FetchReport:
    """Bring the partition's raw pages to disk. Pages that are there are not asked for again.

    Raises:
        SourceError: The exchange did not give them, or the range has not closed yet.
        StoreError: A page could not be written.
    """
    started = time.monotonic()
    report = asyncio.run(_fetch(stores, partition, on_page))
    log.info(
        "%s: fetched %d pages (%d asked for, %d on disk already), %d rows, in %.1f s",
        partition,
        report.pages,
        report.asked,
        report.pages - report.asked,
        report.rows,
        time.monotonic() - started,
    )
    return report


async def _fetch(stores: Stores, partition: Partition, on_page: Callable[[Page], None]) -> FetchReport:
    exchange = partition.series.exchange
    async with open_source(exchange, stores.settings) as source:
        open_for_s = (partition.time_range.end_ms - await source.clock_ms()) / 1000
        if open_for_s > _LONGEST_WAIT_S:
            message = f"its last candle closes in {timedelta(seconds=round(open_for_s))} by the exchange's clock"
            raise SourceUnavailableError(message, series=partition.series, time_range=partition.time_range)
        if open_for_s > 0:
            log.info("%s: waiting %.1f s for its last candle to close", partition, open_for_s)
            await asyncio.sleep(open_for_s)
        return await fetch_range(
            source,
            stores.raw.partition(partition.series, partition.time_range),
            pages_at_once=stores.settings.exchange(exchange).pages_at_once,
            on_page=on_page,
        )


def clean_pages(stores: Stores, partition: Partition) -> CleanReport:
    """Judge the rows of the partition's pages and leave the outcome for `load`.

    Raises:
        StoreError: A page is missing.
        QuarantineLimitError: More than `max_quarantined_pct` of the rows were refused. The pages are set aside.
    """
    series, time_range = partition.series, partition.time_range
    traits = stores.settings.traits(series.exchange)
    raw = stores.raw.partition(series, time_range)
    pages = read_pages(raw, traits.page_limit)
    received = (ReceivedRows(page.rows(), page.fetched_at_ms) for page in pages)
    cleaned = clean(received, traits.columns, series, time_range)
    report = cleaned.report
    if 100 * len(cleaned.refused) > stores.settings.max_quarantined_pct * report.rows:
        aside = raw.set_aside()
        raise QuarantineLimitError(
            _limit_message(cleaned.refused, report, stores.settings.max_quarantined_pct, aside),
            series=series,
            time_range=time_range,
        )
    write_handover(raw.folder, Handover(cleaned, tuple(page.window for page in pages)))
    log.info(
        "%s: %d rows, %d accepted, %d repeated, %d outside, %d refused%s",
        partition,
        report.rows,
        report.accepted,
        report.repeated,
        report.outside,
        len(cleaned.refused),
        "".join(f"; {rule}: {count}" for rule, count in report.refused.items()),
    )
    for row in cleaned.refused[:10]:
        log.warning("%s: refused by %s (%s): %s", partition, row.rule, row.evidence, row.row)
    return report


def load(stores: Stores, partition: Partition, run: str) -> LoadReport:
    """Make archive and warehouse hold the cleaned partition, and commit the checkpoint that says so.

    Args:
        run: What to call this run in the warehouse.

    Raises:
        StoreError: A store refuses or went away. What was there before is whole, and a rerun ends what was begun.
    """
    series, time_range = partition.series, partition.time_range
    started = time.monotonic()
    raw = stores.raw.partition(series, time_range)
    try:
        handover = read_handover(raw.folder)
    except StoreError:
        # A try that was killed after its commit has taken it away.
        if (done := _loaded_by(stores, partition, run)) is None:
            raise
        return done
    with begin_load(stores.warehouse, series, time_range, run) as under_way:
        merged = merge(under_way.stored, handover.cleaned.candles)
        absent = find_absences(to_columns(merged.candles)["open_time"], time_range, series.timeframe)
        files = stores.archive.write(series, time_range, merged.candles)
        report = under_way.write(
            merged,
            absent=absent,
            refused=handover.cleaned.refused,
            content_hash=content_hash(merged.candles),
            archive_files=files,
        )
    raw.fold(handover.windows)
    log.info(
        "%s: loaded %d candles (%d new, %d revised), %d absent, %d quarantined, in %.1f s",
        partition,
        report.rows,
        report.new,
        report.revised,
        report.absent,
        report.quarantined,
        time.monotonic() - started,
    )
    for span in absent[:10]:
        log.warning("%s: absent %s, %d candles", partition, span, span.count(series.timeframe))
    return report


def ingest(
    stores: Stores, partition: Partition, run: str, on_page: Callable[[Page], None] = lambda page: None
) -> LoadReport:
    """Fetch, clean and load one partition; see the steps for what may be raised."""
    fetch(stores, partition, on_page)
    clean_pages(stores, partition)
    return load(stores, partition, run)


def settling(stores: Stores, partition: Partition, settle: timedelta) -> Partition:
    """Return the partition, begun up to `settle` earlier where that was loaded before.

    Exchanges correct closed candles late. What was never loaded is left to its own partition.
    """
    covered = _covered(stores, partition.series)
    start = partition.time_range.start
    earliest = max((span.start for span in covered if span.start < start <= span.end), default=start)
    return Partition(partition.series, TimeRange(max(start - settle, earliest), partition.time_range.end))


def plan(stores: Stores, series: Series, wanted: TimeRange, settle: timedelta | None) -> list[Partition]:
    """Return the partitions to ingest so that `wanted` is accounted for.

    Args:
        settle: What is accounted for already is left out, but for this much before each rest. None leaves nothing out.

    Returns:
        Ascending; each within one archive file, so that each file is rewritten once.
    """
    if settle is None:
        rest = [wanted]
    else:
        missing = _subtract(wanted, _covered(stores, series))
        rest = [settling(stores, Partition(series, span), settle).time_range for span in missing]
    return [Partition(series, span) for time_range in rest for span in spans(series.timeframe, time_range)]


def closed_until(settings: Settings, series: Series) -> datetime:
    """Return the end of the last candle that has closed by the exchange's clock.

    Raises:
        SourceError: The exchange does not say.
    """

    async def ask(source: Source) -> int:
        return await source.clock_ms()

    return series.timeframe.floor(from_ms(_ask(settings, series.exchange, ask)))


def check_feed(settings: Settings, feed: Feed) -> list[str]:
    """Return what the feed's exchange has against it, a line each: it cannot be reached, or lacks a symbol."""

    async def ask(source: Source) -> Sequence[str]:
        return await source.symbols()

    try:
        listed = _ask(settings, feed.exchange, ask)
    except SourceError as error:
        return [f"{feed.exchange}: {error.message}"]
    return [
        f"{feed.exchange} lists no {symbol}{nearest(symbol, listed)}" for symbol in feed.symbols if symbol not in listed
    ]


def _ask(settings: Settings, exchange: str, question: Callable[[Source], Awaitable[_Answer]]) -> _Answer:
    async def ask() -> _Answer:
        async with open_source(exchange, settings) as source:
            return await question(source)

    return asyncio.run(ask())


def _covered(stores: Stores, series: Series) -> list[TimeRange]:
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection).get(series)
        return [] if series_id is None else covered_ranges(connection, series_id)


def _subtract(wanted: TimeRange, covered: Sequence[TimeRange]) -> list[TimeRange]:
    """Return what of `wanted` no range in `covered` (ascending, disjoint) holds."""
    rest, start = [], wanted.start
    for span in covered:
        if start < span.start and start < wanted.end:
            rest.append(TimeRange(start, min(span.start, wanted.end)))
        start = max(start, span.end)
    if start < wanted.end:
        rest.append(TimeRange(start, wanted.end))
    return rest


def _loaded_by(stores: Stores, partition: Partition, run: str) -> LoadReport | None:
    """Return what this very run has committed for the partition already, if it has."""
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection).get(partition.series)
        checkpoints = [] if series_id is None else read_checkpoints(connection, series_id)
    for checkpoint in checkpoints:
        if (checkpoint.time_range, checkpoint.run) == (partition.time_range, run):
            log.info("%s: was loaded by this run already, at %s", partition, checkpoint.loaded_at)
            return LoadReport(checkpoint.rows, 0, 0, checkpoint.absent, checkpoint.quarantined)
    return None


def _limit_message(refused: Sequence[Refused], report: CleanReport, limit_pct: float, aside: Path) -> str:
    share_pct = 100 * len(refused) / report.rows
    by_rule = ", ".join(f"{rule} {count}" for rule, count in report.refused.items())
    examples = "; ".join(f"{row.rule}: {row.evidence}" for row in refused[:3])
    return (
        f"{len(refused)} of {report.rows} rows were refused ({share_pct:.1f} %, limit {limit_pct} %) by {by_rule}. "
        f"For example {examples}. The pages are kept in {aside}. Fetch the partition again (in Airflow: clear its "
        "fetch task and what follows), or raise max_quarantined_pct if the exchange is right"
    )
