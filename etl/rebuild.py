"""The warehouse built again from the archive alone: candles, checkpoints, absences, and what is counted from them.

A range of a file at a time, each in a transaction of its own: a rebuild that was cut off goes on where it was. The
archive is only read. What it does not know does not come back: see `LOST`. What a load was cut off in is left to that
load, which can be run again: see `etl.unvouched`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

import pyarrow as pa

from etl.accounting import account_for_loads
from etl.archive import ArchiveFile
from etl.errors import ChandlerError, StoreError
from etl.findings import Finding
from etl.remedies import by_mending
from etl.schema import to_column
from etl.series import Series, TimeRange, clip, subtract
from etl.spelling import counted
from etl.stores import Partition, Stores
from etl.unvouched import by_running_again, find_unvouched
from etl.validate import explain, find_absences
from etl.warehouse import (
    REBUILT,
    Asking,
    Listing,
    Load,
    LoadReport,
    Lookback,
    begin_load,
    covered_ranges,
    known_series,
    lock_series,
    mark_flagged_by,
    merge,
    read_listing,
)

log = logging.getLogger(__name__)

LOST = (
    "earlier values of revised candles, and so reading as of a moment before now",
    "refused rows in quarantine, what was decided on them, and which slots are absent because their rows were refused",
    "silences that imported files state: their slots are judged as any others",
    "kinds of absences that followed from what exchanges answered: they are judged again, by what else is held",
    "when the exchange was asked: what is absent near the end of a series is pending, until it is asked for again",
    "when a series was listed and delisted, until it is fetched again",
    "months (years from 1h up) without a single candle, which have no file",
    "slots before the first and after the last candle of files of an early version, which do not say what they cover",
    "whether a load had committed: what one that was cut off has written counts as loaded",
    "the names and times of the runs that loaded it",
)
"""What only the lost warehouse knew."""

_AT_ONCE = 2  # series; the server has as much to do as we have

OnRebuilt = Callable[[Partition, LoadReport], None]


@dataclass(frozen=True, slots=True)
class Task:
    """Part of an archive file of which the warehouse has no account.

    Attributes:
        spans: Ascending and disjoint, each within the file's.
    """

    file: ArchiveFile
    spans: tuple[TimeRange, ...]


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """Plan of rebuilding a series.

    Attributes:
        tasks: By file, ascending.
        asked_at: When the exchange was asked for all of it, at the earliest.
        is_partial: Whether the warehouse has an account of other ranges of the series.
        failures: Files that do not say what they hold, and ranges in which a load was cut off.
    """

    series: Series
    tasks: tuple[Task, ...]
    asked_at: datetime | None
    listing: Listing
    is_partial: bool
    failures: tuple[ChandlerError, ...]

    @property
    def slots(self) -> int:
        """The number of candles that the tasks account for, held or absent."""
        return sum(span.count(self.series.timeframe) for task in self.tasks for span in task.spans)


def plan_rebuild(stores: Stores, only: Collection[Series] = (), within: TimeRange | None = None) -> list[SeriesPlan]:
    """Find what the archive holds and the warehouse has no account of.

    Args:
        only: Which series; all that the archive has, without.
        within: The range to look at; all, without.

    Raises:
        StoreUnavailableError: A store does not answer.
    """
    wanted = [series for series in stores.archive.series() if not only or series in only]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(lambda series: _plan(stores, series, within), wanted))


def run_rebuild(
    stores: Stores, plans: Sequence[SeriesPlan], on_rebuilt: OnRebuilt = lambda partition, report: None
) -> list[ChandlerError]:
    """Load what is planned, two series side by side, and give account of all of it.

    Returns:
        What could not be rebuilt: a file each, the rest of a series whose candles in the warehouse are others, or a
        series whose absences cannot be judged.

    Raises:
        StoreUnavailableError: A store went away. What was rebuilt stays; the same again goes on.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        failed = list(threads.map(lambda plan: _rebuild(stores, plan, on_rebuilt), plans))
    found: list[ChandlerError] = [failure for failures in failed for failure in failures]
    for exchange in sorted({plan.series.exchange for plan in plans}):
        found += account_for_loads(stores, exchange, REBUILT).failures.values()
    return found


def _plan(stores: Stores, series: Series, within: TimeRange | None) -> SeriesPlan:
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection).get(series)
        if series_id is not None:
            # A load writes the archive before it commits: what one that is under way has written is not cut off.
            lock_series(connection, series_id)
        known = [] if series_id is None else covered_ranges(connection, series_id)
        listing = read_listing(connection, series)
        tasks, ends, failures = [], [], []
        for file in stores.archive.files(series):
            try:
                covered = stores.archive.facts(series, file).covered
                ends += [span.end for span in covered]
                looked_at = covered if within is None else [part for one in covered if (part := clip(one, within))]
                unvouched = find_unvouched(stores, series, looked_at, known)
            except ChandlerError as error:
                failures.append(_raise_if_gone(error))
                continue
            failures += [_cut_off(stores, series, span) for span in unvouched.cut_off]
            if unvouched.unknown:
                tasks.append(Task(file, unvouched.unknown))
    return SeriesPlan(series, tuple(tasks), max(ends, default=None), listing, bool(known), tuple(failures))


def _rebuild(stores: Stores, plan: SeriesPlan, on_rebuilt: OnRebuilt) -> list[ChandlerError]:
    failures = list(plan.failures)
    for task in plan.tasks:
        left = list(task.spans)
        try:
            while left:
                span = left.pop(0)
                done = _load(stores, plan, task.file, span)
                if isinstance(done, LoadReport):
                    on_rebuilt(Partition(plan.series, span), done)
                else:
                    left[:0] = done
        except _DiffersError as error:
            return [*failures, error]
        except ChandlerError as error:
            failures.append(_raise_if_gone(error))
    return failures


def _load(stores: Stores, plan: SeriesPlan, file: ArchiveFile, span: TimeRange) -> LoadReport | Sequence[TimeRange]:
    """Let the warehouse hold a range as the archive does, flags and all, with a checkpoint that says so.

    Returns:
        What was done, or, where others have loaded since it was planned, what is left to do of the range.
    """
    with begin_load(stores.warehouse, plan.series, span, REBUILT, Lookback(plan.series.timeframe, 0, 0)) as under_way:
        candles, covered = stores.archive.read_covered(plan.series, span)
        left = _unknown(stores, plan, covered, under_way.covered)
        if left != [span]:
            return left
        report = _write(stores, plan, file, under_way, candles)
    log.info("%s %s: %s, %d absent", plan.series, span, counted(report.rows, "candle"), report.absent)
    return report


def _unknown(
    stores: Stores, plan: SeriesPlan, covered: Sequence[TimeRange], vouched: Sequence[TimeRange]
) -> list[TimeRange]:
    if plan.is_partial:
        return list(find_unvouched(stores, plan.series, covered, vouched).unknown)
    # What is vouched for by now was rebuilt: it tells no load that was cut off from others.
    return [rest for span in covered for rest in subtract(span, vouched)]


def _write(stores: Stores, plan: SeriesPlan, file: ArchiveFile, under_way: Load, candles: pa.Table) -> LoadReport:
    series, span = plan.series, under_way.time_range
    merged = merge(under_way.stored, candles)
    if not merged.candles.equals(candles):
        raise _DiffersError(
            f"the warehouse holds other candles there than the archive; {by_mending(series)}",
            series=series,
            time_range=span,
        )
    missing = find_absences(to_column(candles, "open_time"), span, series.timeframe)
    found = explain(
        missing,
        series.timeframe,
        first_ms=plan.listing.first_ms,
        end_ms=plan.listing.ended_ms,
        served_from_ms=None,
        refused={},
    )
    asking = Asking(plan.asked_at or span.end, stores.settings.settle_of(series), REBUILT)
    report = under_way.write(
        merged,
        absent=[Finding(*one) for one in found],
        refused=(),
        asking=asking,
        archive_files=[str(PurePosixPath(file.path).with_suffix(".parquet"))],
        flagging="",
        is_announced=True,
        is_history=True,
    )
    # What follows was flagged without it: not by today's rules, as far as anybody can say.
    mark_flagged_by(under_way.connection, under_way.series_id, "")
    return report


class _DiffersError(StoreError):
    """The stores differ; the audit decides which is right."""


def _cut_off(stores: Stores, series: Series, span: TimeRange) -> StoreError:
    remedy = by_running_again(stores, series, span)
    return StoreError(f"left out: a load of it was cut off; run it again: {remedy}", series=series, time_range=span)


def _raise_if_gone(error: ChandlerError) -> ChandlerError:
    """Return what is wrong with one file; a store that does not answer says nothing about a file."""
    if error.is_retryable:
        raise error
    return error
