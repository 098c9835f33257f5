"""Loading one partition: candles, revisions, absences, quarantine and the checkpoint in one transaction.

The series is locked for the length of it, so that loads of overlapping ranges follow one another. The archive file is
written by the caller between reading what is stored and writing what changes: before the commit, so that a
checkpoint never vouches for a file that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from sqlalchemy import Connection, MetaData, func, insert, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from etl.schema import AbsenceKind, Series, TimeRange, to_columns
from etl.timeframe import from_ms
from etl.warehouse import tables
from etl.warehouse.absences import replace_absences
from etl.warehouse.copying import copy_in
from etl.warehouse.database import Warehouse
from etl.warehouse.listings import write_listing
from etl.warehouse.merge import Merge
from etl.warehouse.reading import cursor_of, read_candles

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


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load changed.

    Attributes:
        rows: Candles that the range holds from now on.
        new: Those that were not stored before.
        revised: Those that the exchange had changed.
        absent: Expected and not held.
        quarantined: Rows that this load refused, known ones among them.
    """

    rows: int
    new: int
    revised: int
    absent: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Load:
    """A load under way, inside its transaction and the series' lock.

    Attributes:
        stored: What the range holds before: CANDLE_SCHEMA, ascending by open_time.
    """

    connection: Connection
    series: Series
    series_id: int
    time_range: TimeRange
    run: str
    stored: pa.Table

    def write(
        self,
        merged: Merge,
        *,
        absent: Sequence[tuple[TimeRange, AbsenceKind]],
        refused: Sequence[QuarantineRow],
        content_hash: str,
        archive_files: Sequence[str],
        first_ms: int | None = None,
        end_ms: int | None = None,
    ) -> LoadReport:
        """Write what changed and the checkpoint that vouches for it; committed when the load's block ends.

        Args:
            merged: Of `stored` and what was fetched.
            absent: The ranges that `merged.candles` leaves open, with the reason of each.
            refused: Rows for quarantine.
            content_hash: Of `merged.candles`.
            archive_files: Where the archive keeps them.
            first_ms: When the first candle of the series opens, if the fetch found out.
            end_ms: When its last one closed, if the exchange trades it no more.
        """
        with cursor_of(self.connection) as cursor:
            if merged.new.num_rows:
                copy_in(cursor, "candles", self.series_id, merged.new)
        if merged.changed.num_rows:
            self._revise(merged.changed)
        replace_absences(self.connection, self.series_id, self.series.timeframe, self.time_range, absent)
        self._quarantine(refused)
        times = to_columns(merged.candles)["open_time"]
        last_ms = int(times[-1]) if len(times) else None
        write_listing(self.connection, self.series_id, first_ms=first_ms, end_ms=end_ms, last_ms=last_ms)
        report = LoadReport(
            rows=merged.candles.num_rows,
            new=merged.new.num_rows,
            revised=merged.changed.num_rows,
            absent=sum(span.count(self.series.timeframe) for span, _ in absent),
            quarantined=len(refused),
        )
        self._checkpoint(report, content_hash, archive_files)
        return report

    def _revise(self, changed: pa.Table) -> None:
        """Keep the old values as revisions and put the new ones in their place."""
        candles, revisions = tables.candles, tables.candle_revisions
        self.connection.execute(text("CREATE TEMP TABLE touched_candles (LIKE candles) ON COMMIT DROP"))
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
        names = [column.name for column in candles.columns]
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
                "run": self.run,
            }
            for row in refused
        ]
        if rows:
            # A row that was refused before is in quarantine already.
            self.connection.execute(upsert(tables.quarantine).on_conflict_do_nothing(), rows)

    def _checkpoint(self, report: LoadReport, content_hash: str, archive_files: Sequence[str]) -> None:
        facts: Mapping[str, Any] = {
            "rows": report.rows,
            "absent": report.absent,
            "quarantined": report.quarantined,
            "content_hash": content_hash,
            "archive_files": list(archive_files),
            "run": self.run,
        }
        place = {
            "series_id": self.series_id,
            "range_start": self.time_range.start,
            "range_end": self.time_range.end,
        }
        statement = upsert(tables.checkpoints).values({**place, **facts})
        self.connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(place), set_={**facts, "loaded_at": func.clock_timestamp()}
            )
        )


@contextmanager
def begin_load(warehouse: Warehouse, series: Series, time_range: TimeRange, run: str) -> Iterator[Load]:
    """Lock the series and open the transaction of one load; it commits when the block ends without an error.

    Args:
        warehouse: Where to.
        series: Whose candles.
        time_range: The whole of what is loaded.
        run: What to call this run in revisions, quarantine and checkpoint.

    Raises:
        StoreUnavailableError: The server cannot be reached or went away; nothing of the load is there.
    """
    with warehouse.begin() as connection:
        series_id = _ensure_series(connection, series)
        lock_series(connection, series_id)
        stored = read_candles(connection, series_id, time_range)
        yield Load(connection, series, series_id, time_range, run, stored)


def lock_series(connection: Connection, series_id: int) -> None:
    """Wait until no other transaction holds the series, and hold it until this one ends."""
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK_SPACE, series_id)))


def _ensure_series(connection: Connection, series: Series) -> int:
    keys = {"exchange": series.exchange, "symbol": series.symbol, "timeframe": series.timeframe.value}
    find = select(tables.series.c.id).filter_by(**keys)
    if (found := connection.execute(find).scalar()) is None:
        connection.execute(upsert(tables.series).values(keys).on_conflict_do_nothing())
        found = connection.execute(find).scalar_one()
    return int(found)
