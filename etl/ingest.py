"""Fetch, clean, load: the three steps of a partition, each of which may be killed and run again.

A partition is one series over one range. `fetch` brings raw pages to disk, `clean` judges their rows, `load` makes
archive and warehouse hold the result and commits the checkpoint that says so. What one step leaves for the next lies
on disk, so that Airflow can run them as three tasks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from etl.bulk_check import bulk_notice, differing_rows, flagged
from etl.errors import (
    MalformedPayloadError,
    MissingPagesError,
    NotClosedError,
    NotListedError,
    QuarantineLimitError,
    SourceError,
    UnknownSymbolError,
)
from etl.exchanges import BULK_LAYOUT, FILE_LAYOUT, Traits
from etl.extract import FetchReport, OnPage, Page, Route, file_rows, to_candles
from etl.extract.kline_csv import without_header
from etl.fetching import Exchange, fetch_pages, open_exchange
from etl.handover import read_handover, write_handover
from etl.leftovers import fold_leftovers
from etl.loading import Incoming, put
from etl.schema import Origin
from etl.series import Series, TimeRange, clip, subtract
from etl.spelling import counted
from etl.stores import Partition, Stores
from etl.timeframe import from_ms
from etl.validate import SUPERSEDED, Cleaned, CleanReport, ReceivedRows, clean
from etl.warehouse import (
    LoadReport,
    covered_ranges,
    ensure_series,
    find_load,
    known_series,
    last_load,
    lock_series,
    locked_partition,
    mark_unlisted,
    put_notice,
    read_absences,
    read_listing,
    record_unfetched,
    refresh_quality,
)

log = logging.getLogger(__name__)

_SHOWN = 10  # of what may be many, in a log


def fetch(stores: Stores, partition: Partition, on_page: OnPage = lambda page, candles: None) -> FetchReport:
    """Bring the partition's raw pages to disk, once no other process works on them.

    Pages that are there are not asked for again.

    Raises:
        SourceError: The exchange did not give them, or the range has not closed yet.
        StoreError: A page could not be written.
    """
    fold_leftovers(stores, partition.series, besides=partition.time_range)
    with locked_partition(stores.warehouse, partition.series, partition.time_range):
        return _fetch(stores, partition, on_page)


def _fetch(stores: Stores, partition: Partition, on_page: OnPage) -> FetchReport:
    async def run() -> FetchReport:
        async with open_exchange(partition.series.exchange, stores.settings, stores.warehouse) as exchange:
            return await fetch_partition(stores, exchange, partition, on_page)

    return asyncio.run(run())


async def fetch_partition(
    stores: Stores, exchange: Exchange, partition: Partition, on_page: OnPage = lambda page, candles: None
) -> FetchReport:
    """Do what `fetch` does, by an exchange that is open; the caller has locked the partition."""
    log.info("fetch %s", partition)
    with stores.warehouse.begin() as connection:
        listing = read_listing(connection, partition.series)
        last = last_load(connection)
    raw = stores.raw.partition(partition.series, partition.time_range)
    raw.note_begun(last)
    try:
        report = await fetch_pages(exchange, raw, listing, on_page)
    except NotListedError as error:
        if listing.unlisted_ms is None:
            now_ms = await exchange.source.clock_ms()
            await asyncio.to_thread(_mark_unlisted, stores, partition.series, now_ms)
        await asyncio.to_thread(_miss, stores, partition, error.message)
        raise
    except SourceError as error:
        # A symbol that was never there is a mistake in feeds.toml, and what still forms is not missing.
        if not isinstance(error, UnknownSymbolError | NotClosedError):
            await asyncio.to_thread(_miss, stores, partition, error.message)
        raise
    if listing.unlisted_ms is not None and any(key.route is not Route.BULK for key in raw.read_list().pages):
        await asyncio.to_thread(_mark_unlisted, stores, partition.series, None)
    return report


def _mark_unlisted(stores: Stores, series: Series, since_ms: int | None) -> None:
    with stores.warehouse.begin() as connection:
        mark_unlisted(connection, series, since_ms)


def _miss(stores: Stores, partition: Partition, why: str) -> None:
    """Record what of the partition nobody has now as unfetched, to be asked for again."""
    timeframe, evidence, now = partition.series.timeframe, f"it could not be fetched: {why}", datetime.now(UTC)
    with stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, partition.series)
        lock_series(connection, series_id)
        for span in subtract(partition.time_range, covered_ranges(connection, series_id)):
            record_unfetched(connection, series_id, timeframe, span, evidence, now)
            refresh_quality(connection, series_id, timeframe, span)


def clean_pages(stores: Stores, partition: Partition, run: str | None = None) -> CleanReport:
    """Judge the rows of the partition's pages and leave the outcome for `load`; the caller has locked the partition.

    Args:
        run: What this run is called in the warehouse. Where pages are gone since another run has loaded the range
            meanwhile, there is nothing to clean; without a name that is an error.

    Of too many refused rows `load` tells, once what is sound is stored.

    Raises:
        MissingPagesError: A page is missing.
        MalformedPayloadError: Trades came that are none. Their pages are folded, so that a rerun fetches them again.
    """
    log.info("clean %s", partition)
    series, time_range = partition.series, partition.time_range
    raw = stores.raw.partition(series, time_range)
    try:
        pages = list(raw.read_pages(raw.read_list()))
    except MissingPagesError:
        if run is None or _loaded_by_others(stores, partition, run) is None:
            raise
        return CleanReport(rows=0, accepted=0, repeated=0, outside=0, refused={})
    received = _received(pages, stores.settings.traits(series.exchange), time_range)
    try:
        cleaned = clean(received, series, time_range, stores.settings.rules_of(series.exchange))
    except MalformedPayloadError as error:
        raw.fold_rest()
        _miss(stores, partition, error.message)
        message = f"{error.message}; fetch it again (in Airflow: clear its fetch task), or wait for repair_gaps"
        raise MalformedPayloadError(message, series=series, time_range=time_range) from error
    report = cleaned.report
    write_handover(raw.folder, cleaned)
    log.info(
        "%s: %d accepted, %d repeated, %d outside the range, %d refused",
        counted(report.rows, "row"),
        report.accepted,
        report.repeated,
        report.outside,
        len(cleaned.refused),
    )
    for row in cleaned.refused[:_SHOWN]:
        log.warning("%s: refused by %s (%s): %s", series, row.rule, row.evidence, row.shown)
    if len(cleaned.refused) > _SHOWN:
        log.warning("%s: refused in all: %s", series, _by_rule(report))
    return report


def load(
    stores: Stores, partition: Partition, run: str, *, is_announced: bool = False, is_history: bool = False
) -> LoadReport:
    """Make archive and warehouse hold the cleaned partition, and commit the checkpoint that says so.

    The caller has locked the partition. Where its pages are gone since the range was loaded meanwhile, by a try of this
    run that was killed or by another run, it is accounted for already.

    Args:
        run: What to call this run in the warehouse.
        is_announced: Whether the caller tells those who work with candles; else it is noted that they are to be told.
        is_history: Whether it is a backfill or a repair: of what is strange in it nobody is told.

    Raises:
        QuarantineLimitError: Of too many candles only refused rows came. What is sound is stored, and the others are
            absent as `refused`, so that a repair asks for them again.
        StoreError: A store refuses or went away. What was there before is whole, and a rerun ends what was begun.
    """
    report, error = load_sound(stores, partition, run, is_announced=is_announced, is_history=is_history)
    if error is not None:
        raise error
    return report


def load_sound(
    stores: Stores, partition: Partition, run: str, *, is_announced: bool = False, is_history: bool = False
) -> tuple[LoadReport, QuarantineLimitError | None]:
    """Do what `load` does, and return the error that it raises once the partition is committed."""
    log.info("load %s", partition)
    started = time.monotonic()
    raw = stores.raw.partition(partition.series, partition.time_range)
    try:
        cleaned, fetched = read_handover(raw.folder), raw.read_list()
    except MissingPagesError:
        done = _loaded_by(stores, partition, run) or _loaded_by_others(stores, partition, run)
        if done is None:
            raise
        return done, None
    is_import = all(key.route is Route.FILE for key in fetched.pages)
    error = _limit_error(stores, partition, cleaned, _OF_IMPORT if is_import else _OF_FETCH)
    candles, first = cleaned.candles, None
    if rows := differing_rows(cleaned, fetched):
        candles, notice = flagged(candles, rows), bulk_notice(partition, fetched, rows)
        first = partial(put_notice, notice=notice)
    report = put(
        stores,
        partition,
        Incoming(candles, cleaned.refused, fetched.bounds, from_ms(fetched.asked_at_ms), cleaned.stated_ms),
        run,
        is_announced=is_announced and error is None,
        # Of what is strange in it the refused rows tell already.
        is_history=is_history or error is not None,
        first=first,
    )
    raw.fold()
    log.info("loaded in %.1f s", time.monotonic() - started)
    return report, error


def ingest(stores: Stores, partition: Partition, run: str, on_page: OnPage = lambda page, candles: None) -> LoadReport:
    """Fetch, clean and load one partition; see the steps for what may be raised."""
    with locked_partition(stores.warehouse, partition.series, partition.time_range):
        _fetch(stores, partition, on_page)
        clean_pages(stores, partition, run)
        return load(stores, partition, run)


def received_of_file(page: Page) -> ReceivedRows:
    """Return what cleaning is given of a page of an imported file."""
    said = file_rows(page.body, page.series)
    return ReceivedRows(
        said.rows,
        page.fetched_at_ms,
        FILE_LAYOUT,
        Origin.FILE,
        reasons=said.reasons,
        silent_ms=said.silent_ms,
        readings=said.readings,
        numbers=said.numbers,
        numbered=said.numbered,
    )


def _received(pages: Sequence[Page], traits: Traits, time_range: TimeRange) -> Iterator[ReceivedRows]:
    """Yield what cleaning is given: candles as they arrived, those built from trades, and those out of files."""
    for page in pages:
        if page.route in {Route.CANDLES, Route.AGAIN}:
            yield ReceivedRows(page.rows, page.fetched_at_ms, traits.layout, text=page.body)
        elif page.route is Route.BULK:
            text = without_header(page.body)
            yield ReceivedRows(page.rows, page.fetched_at_ms, BULK_LAYOUT, Origin.BULK, text)
        elif page.route is Route.FILE:
            yield received_of_file(page)
    if trades := [page for page in pages if page.route is Route.TRADES]:
        rows = to_candles(trades, trades[0].series.timeframe, time_range)
        yield ReceivedRows(rows, min(page.fetched_at_ms for page in trades), traits.layout, Origin.TRADES)


def _loaded_by(stores: Stores, partition: Partition, run: str) -> LoadReport | None:
    """Return what this very run has committed for the partition already, if it has."""
    with stores.warehouse.begin() as connection:
        found = find_load(connection, partition.series, partition.time_range, run)
    if found is None:
        return None
    log.info("was loaded by this run already, at %s", found.loaded_at)
    return found.report


def _loaded_by_others(stores: Stores, partition: Partition, run: str) -> LoadReport | None:
    """Return what the range holds if other runs have accounted for all of it, and this one has not loaded it."""
    series, time_range = partition.series, partition.time_range
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection).get(series)
        if series_id is None or find_load(connection, series, time_range, run) is not None:
            return None
        if subtract(time_range, covered_ranges(connection, series_id)):
            return None
        spans = (clip(absence.span, time_range) for absence in read_absences(connection, series_id, time_range))
        absent = sum(span.count(series.timeframe) for span in spans if span is not None)
    log.info("already accounted for: another run has loaded it meanwhile")
    return LoadReport(time_range.count(series.timeframe) - absent, new=0, revised=0, absent=absent, quarantined=0)


_OF_FETCH = (
    "A repair asks for them again after a day; to ask now, fetch the partition again (in Airflow: clear its fetch task "
    "and what follows)"
)
_OF_IMPORT = "Mend their lines in the file and import it again, or release the rows that are candles"
"""What to do about refused rows."""


def _limit_error(stores: Stores, partition: Partition, cleaned: Cleaned, remedy: str) -> QuarantineLimitError | None:
    """Return the error that too many refused rows are; None if there are not too many."""
    settings, report = stores.settings, cleaned.report
    candles = report.accepted + report.broken
    if report.broken <= settings.max_quarantined_rows or 100 * report.broken <= settings.max_quarantined_pct * candles:
        return None
    share_pct = 100 * report.broken / candles
    digits = 1 if share_pct >= 0.1 else 3
    wrong = [row for row in cleaned.refused if row.rule != SUPERSEDED]
    examples = "; ".join(f"{row.rule}: {row.evidence}" for row in wrong[:3])
    timeless = f", {report.timeless} of these without an open time" if report.timeless else ""
    message = (
        f"{report.broken} of {counted(candles, 'candle')} came only as refused rows{timeless} "
        f"({share_pct:.{digits}f} %, limit {settings.max_quarantined_pct} %): {_by_rule(report)}. "
        f"For example {examples}. The sound ones are stored: {report.accepted:,}. "
        f"Look at the refused rows with chandler quarantine list {partition.series}. {remedy}. "
        "If so many are to be expected, raise max_quarantined_pct"
    )
    return QuarantineLimitError(message, series=partition.series, time_range=partition.time_range)


def _by_rule(report: CleanReport) -> str:
    return ", ".join(f"{rule} {count}" for rule, count in report.refused.items())
