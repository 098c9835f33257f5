"""Repair: asking once more for what is absent and due, a little at a time, and judging what stays absent.

A probe is an ingest of a short range, so whatever has appeared is stored, revised or refused like anything else. What a
run may ask for is limited twice: by a share of the exchange's budget, and by a number of pages; the rest stays due.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from etl.accounting import account_for_loads
from etl.archive import spans
from etl.errors import ChandlerError, ClassificationError, RateLimitError, SourceUnavailableError, StoreLostError
from etl.exchanges import Traits
from etl.fetching import Exchange, open_exchange
from etl.ingest import clean_pages, fetch_partition, load_sound
from etl.judging import Judged
from etl.leftovers import fold_leftovers
from etl.schema import UNLOADED, AbsenceKind
from etl.series import Series, TimeRange, subtract, united
from etl.spelling import counted
from etl.stores import Partition, Stores
from etl.warehouse import (
    Absence,
    due_absences,
    known_series,
    last_load,
    loaded_since,
    locking_partition,
    read_absences,
)

log = logging.getLogger(__name__)

_AT_MOST_S = 600.0  # for so long a run spends its share of the exchange's limit
_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtext('chandler repair'), hashtext(:exchange))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtext('chandler repair'), hashtext(:exchange))")


@dataclass(slots=True)
class RepairReport:
    """Result of a repair.

    Attributes:
        due: Absent candles that were to be asked for.
        probes: Ranges that were asked for.
        filled: Candles that have appeared.
        left: Absent candles that are due still, for the next run.
        rejudged: Stretches that are of another kind now.
        failures: Probes that failed, whose absences stay due, and series that cannot be judged, each once.
        is_elsewhere: Whether nothing was done since another repair of the exchange is under way.
    """

    due: int = 0
    probes: int = 0
    filled: int = 0
    left: int = 0
    rejudged: int = 0
    failures: list[ChandlerError] = field(default_factory=list)
    is_elsewhere: bool = False

    def judged(self, outcome: Judged) -> None:
        """Add what judging has changed, and the series that it could not judge."""
        known = {failure.series for failure in self.failures if isinstance(failure, ClassificationError)}
        self.rejudged += outcome.changes
        self.failures += [failure for series, failure in outcome.failures.items() if series not in known]


OnProbe = Callable[[Partition, int, int], None]


def repair(
    stores: Stores,
    exchange: str,
    now: datetime,
    run: str,
    *,
    only: Sequence[Series] = (),
    within: TimeRange | None = None,
    is_announced: bool = False,
    on_probe: OnProbe = lambda partition, done, planned: None,
) -> RepairReport:
    """Judge what was loaded, ask again for what is due, and judge once more.

    Args:
        now: What is due by then is asked for.
        run: What to call this run in the warehouse.
        only: The series to look at; without, all of the exchange.
        within: Ask again for all that is absent in this range, due or not, but what the exchange cannot have.
        is_announced: Whether the caller tells those who work with candles.
        on_probe: Called after each probe with how many were made of how many planned.

    Returns:
        What was done. A failed probe is in it, and does not keep the others, unless it says that the exchange is away.

    Raises:
        StoreError: A store refuses or went away.
    """
    report = RepairReport()
    with _alone(stores, exchange) as is_alone:
        if not is_alone:
            log.info("another repair of %s is under way", exchange)
            report.is_elsewhere = True
            return report
        report.judged(account_for_loads(stores, exchange, run))
        with stores.warehouse.begin() as connection:
            last = last_load(connection)
        due = _due(stores, exchange, now, only, within)
        probes, left = plan_probes(
            due, stores.settings.traits(exchange), stores.settings.exchange(exchange).repair_share
        )
        report.due = sum(a.span.count(series.timeframe) for series, found in due.items() for a in found)
        report.left = left
        for series in due:
            fold_leftovers(stores, series)
        if probes:
            due_now, in_probes = counted(report.due, "candle"), counted(len(probes), "probe")
            log.info("%s: %s to ask for again, in %s", exchange, due_now, in_probes)
            asyncio.run(_probe_all(stores, exchange, probes, last, run, report, on_probe, is_announced))
            report.judged(account_for_loads(stores, exchange, run))
    log.info("%s: appeared: %s, left for later: %d", exchange, counted(report.filled, "candle"), report.left)
    return report


@dataclass(frozen=True, slots=True)
class Probe:
    """A range to ask for again.

    Attributes:
        is_first: Whether nobody has had an answer for it yet.
    """

    partition: Partition
    is_first: bool


def plan_probes(due: Mapping[Series, Sequence[Absence]], traits: Traits, share: float) -> tuple[list[Probe], int]:
    """Return the ranges to ask for, and how many absent candles have to wait for the next run.

    What was never fetched goes first. Absences that one page reaches are asked for together; a long one is cut where an
    archive file ends.

    Args:
        share: What of the exchange's limit may be spent; it makes up how many pages a run asks for.
    """
    pages = int(share * traits.weight_limit / traits.page_weight * _AT_MOST_S / traits.limit_interval_s)
    probes: list[Probe] = []
    left = 0
    for is_first in (True, False):
        for series, absences in due.items():
            wanted = [absence for absence in absences if (absence.kind in UNLOADED) is is_first]
            for span, candles in _spans(series, wanted, traits.page_limit):
                needed = -(-span.count(series.timeframe) // traits.page_limit)
                if needed > pages:
                    left += candles
                    continue
                pages -= needed
                probes.append(Probe(Partition(series, span), is_first))
    return probes, left


def _spans(series: Series, absences: Sequence[Absence], page_limit: int) -> Iterator[tuple[TimeRange, int]]:
    """Yield ranges that hold the absences, and how many absent candles are in each."""
    reach = page_limit * series.timeframe.delta
    start, end, candles = None, None, 0
    for absence in absences:
        if start is None or end is None or absence.span.end > start + reach:
            if start is not None and end is not None:
                yield TimeRange(start, end), candles
            start, candles = absence.span.start, 0
        end = absence.span.end
        candles += absence.span.count(series.timeframe)
        if end > start + reach:
            for piece in spans(series.timeframe, TimeRange(start, end)):
                yield piece, piece.count(series.timeframe)
            start = None
    if start is not None and end is not None:
        yield TimeRange(start, end), candles


def _due(
    stores: Stores, exchange: str, now: datetime, only: Sequence[Series], within: TimeRange | None
) -> dict[Series, list[Absence]]:
    with stores.warehouse.begin() as connection:
        if within is None:
            found = due_absences(connection, exchange, now)
        else:
            found = {
                series: [
                    replace(absence, span=TimeRange(*bounds))
                    for absence in read_absences(connection, series_id, within)
                    if absence.kind is not AbsenceKind.NOT_LISTED
                    for bounds in [(max(absence.span.start, within.start), min(absence.span.end, within.end))]
                ]
                for series, series_id in known_series(connection).items()
                if series.exchange == exchange
            }
    return {series: absences for series, absences in found.items() if absences and (not only or series in only)}


async def _probe_all(
    stores: Stores,
    exchange: str,
    probes: Sequence[Probe],
    last: int,
    run: str,
    report: RepairReport,
    on_probe: OnProbe,
    is_announced: bool,
) -> None:
    own = stores.settings.exchange(exchange)
    async with open_exchange(exchange, stores.settings, stores.warehouse, gently=own.repair_share) as opened:
        for number, probe in enumerate(probes, 1):
            try:
                await _ask(stores, opened, probe, last, run, report, is_announced)
            except StoreLostError:
                raise
            except ChandlerError as error:
                report.failures.append(error)
                log.warning("%s", error)
                if isinstance(error, SourceUnavailableError | RateLimitError):
                    rest = (one.partition for one in probes[number - 1 :])
                    report.left += sum(one.time_range.count(one.series.timeframe) for one in rest)
                    return
            report.probes += 1
            on_probe(probe.partition, number, len(probes))


async def _ask(
    stores: Stores, exchange: Exchange, probe: Probe, last: int, run: str, report: RepairReport, is_announced: bool
) -> None:
    """Ingest the range once more, unless it was loaded after the load `last`, and count the candles that appeared."""
    series, time_range = probe.partition.series, probe.partition.time_range

    def clean_and_load() -> None:
        clean_pages(stores, probe.partition)
        loaded, error = load_sound(stores, probe.partition, run, is_announced=is_announced, is_history=True)
        report.filled += loaded.new
        # Of what is asked for again it is known, and was told of, that its rows are refused.
        if error is not None and probe.is_first:
            raise error

    async with locking_partition(stores.warehouse, series, time_range):
        with stores.warehouse.begin() as connection:
            if not subtract(time_range, united(loaded_since(connection, series, last))):
                log.info("%s: another process has just asked for it", probe.partition)
                return
        await fetch_partition(stores, exchange, probe.partition)
        await asyncio.to_thread(clean_and_load)


@contextmanager
def _alone(stores: Stores, exchange: str) -> Iterator[bool]:
    """Hold off other repairs of the exchange, whatever process they are in. Yields False if one is under way."""
    with stores.warehouse.translated(), stores.warehouse.engine.connect() as connection:
        # The lock is the connection's: it goes when the process dies. It is freed by a statement besides, since the
        # server notices only a moment later that a connection was closed.
        open_ended = connection.execution_options(isolation_level="AUTOCOMMIT")
        is_taken = bool(open_ended.execute(_TRY_LOCK, {"exchange": exchange}).scalar_one())
        try:
            yield is_taken
        finally:
            try:
                if is_taken:
                    open_ended.execute(_UNLOCK, {"exchange": exchange})
            except DBAPIError:
                connection.invalidate()
