"""Loading one partition: candles, revisions, absences, quarantine and the checkpoint in one transaction.

The series is locked for the length of it, so that loads of overlapping ranges follow one another. The archive file is
written by the caller between reading what is stored and writing what changes: before the commit, so that a
checkpoint never vouches for a file that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from sqlalchemy import (
    ARRAY,
    Connection,
    DateTime,
    MetaData,
    SmallInteger,
    bindparam,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from etl.schema import to_columns
from etl.series import Series, TimeRange
from etl.timeframe import from_ms
from etl.warehouse import tables
from etl.warehouse.absences import Asking, Finding, record_absences, record_unfetched
from etl.warehouse.checkpoints import neighbours, vouch
from etl.warehouse.copying import copy_in
from etl.warehouse.database import Warehouse
from etl.warehouse.listings import write_listing
from etl.warehouse.loads import LoadReport, write_load
from etl.warehouse.merge import Merge
from etl.warehouse.quality import refresh_quality
from etl.warehouse.quarantine import leave_confirmed_alone
from etl.warehouse.reading import cursor_of, read_candles_at_once

_UNASKED = "it lies between what was loaded, and nobody has asked for it"
_LOCK_SPACE = 0x43484E44  # keeps our advisory locks apart from others in the same database


class QuarantineRow(Protocol):
    """A refused row, as validation describes it."""

    @property
    def open_time_ms(self) -> int | None:
        """Where the row belongs, if it says so."""

    @property
    def rule(self) -> str:
        """The rule that refused it."""

    @property
    def evidence(self) -> str:
        """What the rule saw."""

    @property
    def row(self) -> str:
        """The row as received."""

    @property
    def cells(self) -> str | None:
        """Its values as received, by the names of our columns, as JSON; None if they have no places."""

    @property
    def origin(self) -> int:
        """How it reached us."""


@dataclass(frozen=True, slots=True)
class Load:
    """A load under way, inside its transaction and the series' lock.

    Attributes:
        stored: What the range holds before: CANDLE_SCHEMA, ascending by open_time.
        before: What is stored in the `lookback` before the range.
        after: What is stored in the `lookback` after it.
    """

    connection: Connection
    series: Series
    series_id: int
    time_range: TimeRange
    run: str
    stored: pa.Table
    before: pa.Table
    after: pa.Table

    def write(
        self,
        merged: Merge,
        *,
        absent: Sequence[Finding],
        refused: Sequence[QuarantineRow],
        asking: Asking,
        archive_files: Sequence[str],
        first_ms: int | None = None,
        end_ms: int | None = None,
        is_announced: bool = False,
    ) -> LoadReport:
        """Write what changed and the checkpoint that vouches for it; committed when the load's block ends.

        Args:
            merged: Of `stored` and what was fetched, with flags.
            absent: The ranges that `merged.candles` leaves open, with what is known of each.
            refused: Rows for quarantine.
            asking: When the exchange was asked.
            archive_files: Where the archive keeps the range.
            first_ms: When the first candle of the series opens, if the fetch found out.
            end_ms: When its last one closed, if the exchange trades it no more.
            is_announced: Whether the caller tells those who work with candles.
        """
        connection, series_id, timeframe = self.connection, self.series_id, self.series.timeframe
        with cursor_of(connection) as cursor:
            if merged.new.num_rows:
                copy_in(cursor, "candles", series_id, merged.new)
        if merged.changed.num_rows:
            self._revise(merged.changed)
        if merged.reflagged.num_rows:
            self._reflag(merged.reflagged)
        record_absences(connection, series_id, timeframe, self.time_range, absent, asking)
        self._quarantine(refused)
        times = to_columns(merged.candles)["open_time"]
        last_ms = int(times[-1]) if len(times) else None
        write_listing(connection, series_id, first_ms=first_ms, end_ms=end_ms, last_ms=last_ms)
        report = LoadReport(
            rows=merged.candles.num_rows,
            new=merged.new.num_rows,
            revised=merged.changed.num_rows,
            absent=sum(finding.span.count(timeframe) for finding in absent),
            quarantined=len(refused),
        )
        self._checkpoint(report, merged.candles, archive_files, is_announced=is_announced)
        refresh_quality(connection, series_id, timeframe, self._touched(merged))
        return report

    def _checkpoint(
        self, report: LoadReport, candles: pa.Table, archive_files: Sequence[str], *, is_announced: bool
    ) -> None:
        """Commit to what is stored: the checkpoint, the holes that it leaves to its neighbours, the load itself."""
        connection, series_id = self.connection, self.series_id
        held = vouch(connection, series_id, self.series.timeframe, self.time_range, self.run, archive_files, candles)
        before, after = neighbours(connection, series_id, held)
        for start, end in ((before, held.start), (held.end, after)):
            if start is not None and end is not None and start < end:
                hole = TimeRange(start, end)
                if record_unfetched(connection, series_id, self.series.timeframe, hole, _UNASKED, None):
                    refresh_quality(connection, series_id, self.series.timeframe, hole)
        changes_nothing = not report.new and not report.revised
        is_announced = is_announced or changes_nothing
        write_load(connection, series_id, self.time_range, self.run, report, is_announced=is_announced)

    def _touched(self, merged: Merge) -> TimeRange:
        """Return the range, and what after it is flagged otherwise now."""
        later = to_columns(merged.after)["open_time"]
        end_ms = int(later[-1]) + self.series.timeframe.ms if len(later) else 0
        return TimeRange.from_ms(self.time_range.start_ms, max(self.time_range.end_ms, end_ms))

    def _revise(self, changed: pa.Table) -> None:
        """Keep the old values as revisions and put the new ones in their place."""
        candles, revisions = tables.candles, tables.candle_revisions
        self.connection.execute(
            text("CREATE TEMP TABLE touched_candles (LIKE candles INCLUDING DEFAULTS) ON COMMIT DROP")
        )
        touched = candles.to_metadata(MetaData(), name="touched_candles")
        with cursor_of(self.connection) as cursor:
            copy_in(cursor, "touched_candles", self.series_id, changed)
        is_same = (candles.c.series_id == touched.c.series_id) & (candles.c.open_time == touched.c.open_time)
        so_far = (
            select(func.count())
            .where(revisions.c.series_id == candles.c.series_id, revisions.c.open_time == candles.c.open_time)
            .correlate(candles)
            .scalar_subquery()
        )
        names = [column.name for column in candles.columns]  # the new value stands since now, as the temporary has it
        old = select(*(candles.c[name] for name in names), so_far + 1, literal(self.run)).join(touched, is_same)
        self.connection.execute(insert(revisions).from_select([*names, "revision", "run"], old))
        self.connection.execute(update(candles).values({name: touched.c[name] for name in names}).where(is_same))

    def _quarantine(self, refused: Sequence[QuarantineRow]) -> None:
        rows = [
            {
                "series_id": self.series_id,
                "open_time": None if row.open_time_ms is None else from_ms(row.open_time_ms),
                "rule": row.rule,
                "evidence": row.evidence,
                "row": row.row,
                "cells": row.cells,
                "source": row.origin,
                "run": self.run,
            }
            for row in refused
        ]
        if rows:
            # A row that was refused before is in quarantine already, and stays as a person decided.
            own, insertion = tables.quarantine.c, upsert(tables.quarantine)
            new = insertion.excluded
            lacks_cells = own.cells.is_(None) & new.cells.is_not(None)  # an earlier version did not keep them
            same = [own.series_id, own.rule, func.md5(own.row)]
            kept = {"cells": new.cells, "source": new.source}
            insertion = insertion.on_conflict_do_update(index_elements=same, set_=kept, where=lacks_cells)
            self.connection.execute(insertion, rows)
        leave_confirmed_alone(self.connection, self.series_id, self.series.timeframe, self.time_range)

    def _reflag(self, reflagged: pa.Table) -> None:
        """Let the rules' flags stand that hold now. The values are the same, so there is nothing to revise."""
        columns = to_columns(reflagged)
        statement = text(
            "UPDATE candles SET flags = new.flags FROM unnest(:times, :flags) AS new(open_time, flags)"
            " WHERE candles.series_id = :series_id AND candles.open_time = new.open_time"
        ).bindparams(
            bindparam("times", type_=ARRAY(DateTime(timezone=True))), bindparam("flags", type_=ARRAY(SmallInteger))
        )
        times = [from_ms(at) for at in columns["open_time"].tolist()]
        self.connection.execute(
            statement, {"times": times, "flags": columns["flags"].tolist(), "series_id": self.series_id}
        )


@contextmanager
def begin_load(warehouse: Warehouse, series: Series, time_range: TimeRange, run: str, lookback: int) -> Iterator[Load]:
    """Lock the series and open the transaction of one load; it commits when the block ends without an error.

    Args:
        warehouse: Where to.
        series: Whose candles.
        time_range: The whole of what is loaded.
        run: What to call this run in revisions, quarantine and checkpoint.
        lookback: How many slots of the grid before a candle the rules look at.

    Raises:
        StoreUnavailableError: The server cannot be reached or went away; nothing of the load is there.
    """
    reach = lookback * series.timeframe.delta
    with warehouse.translated(), warehouse.engine.connect() as connection:
        with connection.begin():
            series_id = ensure_series(connection, series)
            # Before the transaction begins that stores something: its beginning is when that came to stand there, and
            # must lie after all that was stored before. The lock goes with the connection.
            connection.execute(select(func.pg_advisory_lock(_LOCK_SPACE, series_id)))
        with connection.begin():
            wider = TimeRange(time_range.start - reach, time_range.end + reach)
            around = read_candles_at_once(connection, series_id, wider)
            first, end = np.searchsorted(to_columns(around)["open_time"], [time_range.start_ms, time_range.end_ms])
            yield Load(
                connection,
                series,
                series_id,
                time_range,
                run,
                stored=around.slice(first, end - first),
                before=around.slice(0, first),
                after=around.slice(end),
            )


def lock_series(connection: Connection, series_id: int) -> None:
    """Wait until no other transaction holds the series, and hold it until this one ends."""
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK_SPACE, series_id)))


def ensure_series(connection: Connection, series: Series) -> int:
    """Return the number of `series`, which gets one if it is new."""
    keys = {"exchange": series.exchange, "symbol": series.symbol, "timeframe": series.timeframe.value}
    find = select(tables.series.c.id).filter_by(**keys)
    if (found := connection.execute(find).scalar()) is None:
        connection.execute(upsert(tables.series).values(keys).on_conflict_do_nothing())
        found = connection.execute(find).scalar_one()
    return int(found)
