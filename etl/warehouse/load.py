"""Loading one partition: candles, revisions, absences, quarantine and the checkpoint in one transaction.

The series is held for the length of it, so that loads of overlapping ranges follow one another. What is stored around
the range is read in one round trip, and what changes but the candles is written in another. The archive file is written
by the caller between the two: before the commit, so that a checkpoint never vouches for a file that is not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.errors import StoreError
from etl.findings import Finding
from etl.schema import UNLOADED, AbsenceKind, empty_candles, to_column, to_columns
from etl.series import Series, TimeRange, clip
from etl.timeframe import from_ms, to_ms
from etl.warehouse.around import Accounts, Around, ask_around, days_of, read_accounts
from etl.warehouse.checkpoints import draft, renew, write_checkpoints
from etl.warehouse.copying import COUNTED_COLUMNS, copy_in
from etl.warehouse.database import Warehouse
from etl.warehouse.holding import Held, holding, mark_flagged_by
from etl.warehouse.listings import write_listing
from etl.warehouse.loads import LoadReport, write_load
from etl.warehouse.looking_back import Lookback, read_far_after, read_far_before
from etl.warehouse.merge import Merge
from etl.warehouse.proving import UnreleasedRow, refused_rows
from etl.warehouse.quality import Quality, refresh_quality, tally, write_quality
from etl.warehouse.quarantine import QuarantineRow, leave_confirmed_alone, write_quarantine
from etl.warehouse.recording import Asking, record_absences, record_not_requested
from etl.warehouse.retiring import ReadCandles, bring_back, retired_ranges, with_retired
from etl.warehouse.revising import reflag, revise
from etl.warehouse.stated import write_stated


def _no_archive(span: TimeRange) -> pa.Table:
    raise StoreError(f"the archive alone keeps the candles of {span}, and nobody has said where it is")


@dataclass(frozen=True, slots=True)
class Load:
    """A load under way, inside its transaction and with its series held."""

    series: Series
    time_range: TimeRange
    run: str
    _wider: TimeRange
    _held: Held
    _known: Around
    _far_before: pa.Table
    _far_after: pa.Table

    @property
    def stored(self) -> pa.Table:
        """The stored candles of the range before the load: CANDLE_SCHEMA, ascending by open_time."""
        return self._between(self.time_range.start, self.time_range.end)

    @property
    def before(self) -> pa.Table:
        """The stored candles before the range that flags in it depend on."""
        return pa.concat_tables([self._far_before, self._between(self._wider.start, self.time_range.start)])

    @property
    def after(self) -> pa.Table:
        """The stored candles after it whose flags look back into it."""
        return pa.concat_tables([self._between(self.time_range.end, self._wider.end), self._far_after])

    @property
    def is_first(self) -> bool:
        """True if nothing is known yet of any absence in the range, but that it was not loaded."""
        absences = self._known.accounts.absences
        return all(one.kind in UNLOADED or clip(one.span, self.time_range) is None for one in absences)

    @property
    def covered(self) -> Sequence[TimeRange]:
        """The ranges that checkpoints in and next to the range hold before the load: ascending, disjoint."""
        return self._known.accounts.covered

    def undecided_rows(self) -> list[UnreleasedRow]:
        """Return the refused rows of earlier loads that may be of the range, and do not tell whether they are."""
        if not self._known.accounts.is_undecided:
            return []
        rows = refused_rows(self.connection, self.series_id, self.time_range)
        return [row for row in rows if len(row.times_ms) > 1]

    def _between(self, start: datetime, end: datetime) -> pa.Table:
        candles = self._known.candles
        first, stop = np.searchsorted(to_column(candles, "open_time"), [to_ms(start), to_ms(end)])
        return candles.slice(int(first), int(stop - first))

    @property
    def connection(self) -> Connection:
        """The load's transaction."""
        return self._held.connection

    @property
    def series_id(self) -> int:
        """The number of the series."""
        return self._held.series_id

    def write(
        self,
        merged: Merge,
        *,
        absent: Sequence[Finding],
        refused: Sequence[QuarantineRow],
        asking: Asking,
        archive_files: Sequence[str],
        flagging: str,
        first_ms: int | None = None,
        end_ms: int | None = None,
        stated_ms: Sequence[int] = (),
        is_announced: bool = False,
        is_history: bool = False,
    ) -> LoadReport:
        """Write what changed and the checkpoint that vouches for it; committed when the load's block ends.

        Args:
            merged: Of `stored` and what was fetched, with flags.
            absent: The ranges that `merged.candles` leaves open, with what is known of each.
            refused: Rows for quarantine.
            asking: When the exchange was asked.
            archive_files: Where the archive keeps the range.
            flagging: By which rules and parameters the flags were set; empty if that is not known.
            first_ms: When the first candle of the series opens, if the fetch found out.
            end_ms: When its last one closed, if the exchange trades it no more.
            stated_ms: When the slots open that a file states to be silent.
            is_announced: Whether the caller tells those who work with candles.
            is_history: Whether it is a backfill or a repair: of what is strange in it nobody is told.
        """
        report = LoadReport(
            rows=merged.candles.num_rows,
            new=merged.new.num_rows,
            revised=merged.changed.num_rows,
            absent=sum(finding.span.count(self.series.timeframe) for finding in absent),
            quarantined=len(refused),
        )
        self._write_candles(merged)
        write_stated(self.connection, self.series_id, self.series.timeframe, stated_ms, self.run)
        refused_by_day = self._quarantine(refused)
        times = to_column(merged.candles, "open_time")
        last_ms = int(times[-1]) if len(times) else None
        logged = {"is_announced": is_announced, "is_history": is_history}
        self._checkpoint(report, merged, absent, asking, archive_files, refused_by_day, logged)
        if self._held.is_unflagged:
            mark_flagged_by(self.connection, self.series_id, flagging)
        if first_ms is not None or end_ms is not None or self._held.has_ended:
            write_listing(self.connection, self.series_id, first_ms=first_ms, end_ms=end_ms, last_ms=last_ms)
        return report

    def _write_candles(self, merged: Merge) -> None:
        if merged.new.num_rows:
            with self._held.driver.cursor() as cursor:
                copy_in(cursor, "candles", self.series_id, merged.new)
        if merged.changed.num_rows:
            revise(self.connection, self.series_id, merged.changed, self.run)
        if merged.reflagged.num_rows:
            reflag(self.connection, self.series_id, merged.reflagged)

    def _quarantine(self, refused: Sequence[QuarantineRow]) -> Mapping[date, Mapping[str, int]]:
        """Write what was refused; return how many rows each rule has refused, by day."""
        if not refused:
            return self._known.accounts.refused
        write_quarantine(self.connection, self.series_id, refused, self.run)
        return read_accounts(self._held.driver, self.series_id, self._known.accounts.days).refused

    def _checkpoint(
        self,
        report: LoadReport,
        merged: Merge,
        absent: Sequence[Finding],
        asking: Asking,
        archive_files: Sequence[str],
        refused: Mapping[date, Mapping[str, int]],
        logged: Mapping[str, bool],
    ) -> None:
        """Commit to what is stored: absences, the checkpoint, the journal, the quality of the days."""
        connection, series_id, timeframe, span = self.connection, self.series_id, self.series.timeframe, self.time_range
        known = self._known.accounts
        absences = record_absences(connection, series_id, timeframe, span, absent, asking, known=known.absences)
        if any(finding.kind is AbsenceKind.REFUSED for finding in absent):
            leave_confirmed_alone(connection, series_id, timeframe, span)
        own = draft(span, timeframe, merged.candles, absences, archive_files, self.run, asked_at=asking.asked_at)
        renewal = renew(connection, series_id, timeframe, own, known.checkpoints)
        now = replace(known, absences=absences, covered=renewal.spans, refused=refused)
        days, quality, rest = self._count(merged, now)
        logged = {**logged, "is_announced": logged["is_announced"] or not (report.new or report.revised)}
        with self._held.driver.pipeline():
            write_checkpoints(connection, series_id, renewal)
            self._held.transaction = write_load(connection, series_id, span, self.run, report, **logged)
            write_quality(connection, series_id, days, quality)
        if rest is not None:
            refresh_quality(connection, series_id, timeframe, rest)
        self._record_holes(renewal.spans)

    def _count(self, merged: Merge, accounts: Accounts) -> tuple[TimeRange, dict[date, Quality], TimeRange | None]:
        """Count the quality of the days of the range, and of what after it is flagged otherwise now.

        Returns:
            The days, their quality, and what is flagged otherwise beyond the days that `accounts` tells of.
        """
        span = self.time_range
        parts = (self.before, merged.candles, merged.after, self.after.slice(merged.after.num_rows))
        stored = [*(to_columns(part, COUNTED_COLUMNS) for part in parts if part.num_rows), self._rest()]
        columns = {column.name: np.concatenate([part[column.name] for part in stored]) for column in COUNTED_COLUMNS}
        later = to_column(merged.after, "open_time")
        end_ms = int(later[-1]) + self.series.timeframe.ms if len(later) else 0
        touched = days_of(TimeRange.from_ms(span.start_ms, max(span.end_ms, end_ms)))
        days = TimeRange(touched.start, min(touched.end, accounts.days.end))
        beyond = TimeRange(days.end, touched.end) if days.end < touched.end else None
        revisions = Counter(accounts.revisions)
        revisions.update(from_ms(at).date() for at in to_column(merged.changed, "open_time").tolist())
        accounts = replace(accounts, revisions=revisions)
        return days, tally(days, accounts, self.series.timeframe, columns), beyond

    def _rest(self) -> Mapping[str, NDArray[Any]]:
        """Return what else is stored in the days of the range: what counts for flags is told of by itself."""
        rest = self._known.rest
        if not self._far_before.num_rows and not self._far_after.num_rows:
            return rest
        times = np.concatenate([to_column(far, "open_time") for far in (self._far_before, self._far_after)])
        is_other = ~np.isin(rest["open_time"], times, assume_unique=True)
        return {name: values[is_other] for name, values in rest.items()}

    def _record_holes(self, covered: Sequence[TimeRange]) -> None:
        """Record as not requested what lies between the loaded range and its neighbours."""
        for one, other in zip(covered, covered[1:], strict=False):
            if one.end < other.start and self.time_range.start <= other.start and one.end <= self.time_range.end:
                hole = TimeRange(one.end, other.start)
                timeframe = self.series.timeframe
                if record_not_requested(self.connection, self.series_id, timeframe, hole):
                    refresh_quality(self.connection, self.series_id, timeframe, hole)


@contextmanager
def begin_load(
    warehouse: Warehouse,
    series: Series,
    time_range: TimeRange,
    run: str,
    lookback: Lookback,
    *,
    read_archive: ReadCandles = _no_archive,
    first: Callable[[Connection], object] | None = None,
) -> Iterator[Load]:
    """Hold the series and open the transaction of one load; it commits when the block ends without an error.

    Args:
        warehouse: Where to.
        series: Whose candles.
        time_range: The whole of what is loaded.
        run: What to call this run in revisions, quarantine and checkpoint.
        lookback: How much before a candle the rules look at.
        read_archive: Returns what the archive holds of a range; of days that it alone keeps the candles come back.
        first: What belongs into the transaction before anything is read.

    Raises:
        StoreUnavailableError: The server cannot be reached or went away; see `holding`.
        StoreError: The archive does not have what it alone is to keep.
    """
    wider = TimeRange(time_range.start - lookback.near, time_range.end + lookback.near)
    nothing = empty_candles()
    with holding(warehouse, series) as held:
        if first is not None:
            held.begin()
            first(held.connection)
        load = Load(series, time_range, run, wider, held, _read(held, wider), nothing, nothing)
        checkpoints = load._known.accounts.checkpoints
        if any(one.is_retired and clip(one.time_range, days_of(wider)) for one in checkpoints):
            load = _brought_back(load, TimeRange(time_range.start, wider.end), read_archive)
        if not lookback.suffices(load.after) and any(one.time_range.end > wider.end for one in checkpoints):
            far = TimeRange(wider.end, time_range.end + lookback.far)
            if retired_ranges(held.connection, held.series_id, far):
                load = _brought_back(load, far, read_archive)
            load = replace(load, _far_after=read_far_after(held.connection, held.series_id, lookback, time_range.end))
        if not lookback.suffices(load.before) and any(one.time_range.start < wider.start for one in checkpoints):
            far_before = read_far_before(held.connection, held.series_id, lookback, time_range.start, read_archive)
            load = replace(load, _far_before=far_before)
        yield load


def _brought_back(load: Load, span: TimeRange, read_archive: ReadCandles) -> Load:
    """Bring back into the warehouse what of a range was retired, and return the load with what is known then."""
    held = load._held
    bring_back(held.connection, held.series_id, span, read_archive)
    known = _read(held, load._wider)
    # What lies before is looked at and never changed, so it need not come back for that.
    whole = with_retired(held.connection, held.series_id, load._wider, known.candles, read_archive)
    return replace(load, _known=replace(known, candles=whole))


def _read(held: Held, wider: TimeRange) -> Around:
    with held.driver.pipeline():
        held.begin()
        around = ask_around(held.driver, held.series_id, wider)
    return around()
