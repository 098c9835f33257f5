"""The proof: every candle of every loaded range is held or accounted for, and both stores hold the same.

Reads a piece at a time, so memory does not grow with the range. Reports; mends nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.archive import spans
from etl.errors import DataQualityError, StoreError
from etl.schema import CANDLE_COLUMNS, AbsenceKind, Series, TimeRange, to_columns, value_hash
from etl.stores import Stores
from etl.validate import find_absences
from etl.warehouse import (
    Absence,
    Checkpoint,
    count_candles,
    covered_ranges,
    known_series,
    lock_series,
    read_absences,
    read_candles,
    read_checkpoints,
    span_of_candles,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it must be.

    Attributes:
        time_range: Where.
        what: What is wrong, with counts.
        remedy: The command that mends it.
    """

    time_range: TimeRange
    what: str
    remedy: str


@dataclass(slots=True)
class SeriesAudit:
    """The account of one series: `expected = stored + absent`, unless there are problems.

    Attributes:
        ranges: What checkpoints vouch for, as far as it was asked about.
        absent: Expected and not held, by kind.
    """

    series: Series
    ranges: list[TimeRange] = field(default_factory=list)
    expected: int = 0
    stored: int = 0
    absent: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def report(self, time_range: TimeRange, what: str) -> None:
        """Add a problem that ingesting the range again mends."""
        start, end = (f"{bound:%Y-%m-%dT%H:%M}" for bound in (time_range.start, time_range.end))
        remedy = f"chandler ingest {self.series} --start {start} --end {end} --again"
        self.problems.append(Problem(time_range, what, remedy))


def audit(stores: Stores, only: Collection[Series] = (), within: TimeRange | None = None) -> list[SeriesAudit]:
    """Prove law 1, and that archive and warehouse agree value for value.

    Args:
        only: The series to look at; all that were ever loaded, without.
        within: The range to look at; all, without.

    Raises:
        StoreUnavailableError: The warehouse does not answer.
    """
    with stores.warehouse.begin() as connection:
        known = known_series(connection)
    audits = []
    for series, series_id in known.items():
        if not only or series in only:
            with stores.warehouse.begin() as connection:
                audits.append(_audit_series(stores, connection, series, series_id, within))
    return audits


def _audit_series(
    stores: Stores, connection: Connection, series: Series, series_id: int, within: TimeRange | None
) -> SeriesAudit:
    # A load writes the archive before it commits: wait for one that is under way, and hold off the next.
    lock_series(connection, series_id)
    result = SeriesAudit(series)
    covered = covered_ranges(connection, series_id)
    unfetched = [a.span for a in read_absences(connection, series_id) if a.kind is AbsenceKind.UNFETCHED]
    covered = sorted([*covered, *unfetched])
    result.ranges = [clipped for span in covered if (clipped := _intersection(span, within)) is not None]
    archived = 0
    for span in result.ranges:
        for piece in spans(series.timeframe, span):
            candles = read_candles(connection, series_id, piece)
            _check_account(result, piece, candles, read_absences(connection, series_id, piece))
            archived += _check_archive(result, stores, piece, candles)
    checkpoints = read_checkpoints(connection, series_id)
    _check_checkpoints(result, connection, series_id, checkpoints, within)
    if within is None:
        _check_strays(result, stores, connection, series_id, archived)
    return result


def _check_account(result: SeriesAudit, piece: TimeRange, candles: pa.Table, absences: Sequence[Absence]) -> None:
    """Hold the stored candles and the recorded absences of a piece against its grid, slot by slot."""
    timeframe = result.series.timeframe
    times: NDArray[np.int64] = to_columns(candles)["open_time"]
    recorded = [
        (clipped, absence.kind) for absence in absences if (clipped := _intersection(absence.span, piece)) is not None
    ]
    result.expected += piece.count(timeframe)
    result.stored += len(times)
    for span, kind in recorded:
        result.absent[kind] = result.absent.get(kind, 0) + span.count(timeframe)
    if off_grid := int((times % timeframe.ms != 0).sum()):
        result.report(piece, f"{off_grid} candles are off the {timeframe} grid")
    actual = {slot for span in find_absences(times, piece, timeframe) for slot in _slots(span, timeframe.ms)}
    claimed = {slot for span, _ in recorded for slot in _slots(span, timeframe.ms)}
    for span in _runs(actual - claimed, timeframe.ms):
        result.report(span, f"{span.count(timeframe)} candles are neither stored nor recorded as absent")
    for span in _runs(claimed - actual, timeframe.ms):
        result.report(span, f"{span.count(timeframe)} candles are stored and recorded as absent at once")


def _check_archive(result: SeriesAudit, stores: Stores, piece: TimeRange, candles: pa.Table) -> int:
    """Hold the archive against the warehouse, value for value. Returns how many candles the archive has."""
    try:
        archived = stores.archive.read(result.series, piece)
    except (StoreError, DataQualityError) as error:
        result.report(piece, error.message)
        return 0
    if not archived.equals(candles):
        for span, what in _differences(archived, candles, result.series.timeframe.ms):
            result.report(span, what)
    return int(archived.num_rows)


def _differences(archived: pa.Table, stored: pa.Table, width_ms: int) -> Iterator[tuple[TimeRange, str]]:
    a, w = to_columns(archived), to_columns(stored)
    common, in_archive, in_warehouse = np.intersect1d(a["open_time"], w["open_time"], return_indices=True)
    for span in _runs(set(a["open_time"].tolist()) - set(common.tolist()), width_ms):
        yield span, "the archive has candles that the warehouse lacks"
    for span in _runs(set(w["open_time"].tolist()) - set(common.tolist()), width_ms):
        yield span, "the warehouse has candles that the archive lacks"
    differs = np.zeros(len(common), dtype=np.bool_)
    for column in CANDLE_COLUMNS:
        before, after = a[column.name][in_archive], w[column.name][in_warehouse]
        differs |= (before != after) & ~(np.isnan(before) & np.isnan(after))
    for span in _runs(set(common[differs].tolist()), width_ms):
        yield span, "archive and warehouse have different values"


def _check_checkpoints(
    result: SeriesAudit,
    connection: Connection,
    series_id: int,
    checkpoints: Sequence[Checkpoint],
    within: TimeRange | None,
) -> None:
    """Check that what a load vouched for is still so, unless a later load has been there."""
    later: list[TimeRange] = []
    for checkpoint in reversed(checkpoints):
        span = checkpoint.time_range
        is_latest = all(_intersection(span, other) is None for other in later)
        later.append(span)
        if within is not None and _intersection(span, within) is None:
            continue
        if span.end > checkpoint.loaded_at:
            result.report(span, f"it was loaded at {checkpoint.loaded_at:%Y-%m-%d %H:%M:%S}, before it had closed")
        if is_latest and value_hash(read_candles(connection, series_id, span)) != checkpoint.value_hash:
            result.report(span, "its candles are not those that its checkpoint vouches for")


def _check_strays(result: SeriesAudit, stores: Stores, connection: Connection, series_id: int, archived: int) -> None:
    """Find candles outside every loaded range: a load that was cut off before its commit leaves them in the archive."""
    series = result.series
    stray = count_candles(connection, series_id) - result.stored
    if stray > 0 and (held := span_of_candles(connection, series_id)) is not None:
        result.report(held, f"{stray} stored candles lie outside every loaded range")
    files = stores.archive.files(series)
    if not files or result.problems:
        return
    total = sum(stores.archive.read(series, file.span).num_rows for file in files)
    if total > archived:
        span = TimeRange(files[0].span.start, files[-1].span.end)
        what = f"{total - archived} archived candles lie outside every loaded range; a load was cut off"
        result.problems.append(Problem(span, what, "run the ingest that was cut off once more"))


def _intersection(span: TimeRange, other: TimeRange | None) -> TimeRange | None:
    if other is None:
        return span
    start, end = max(span.start, other.start), min(span.end, other.end)
    return TimeRange(start, end) if start < end else None


def _slots(span: TimeRange, width_ms: int) -> range:
    return range(span.start_ms, span.end_ms, width_ms)


def _runs(slots: Collection[int], width_ms: int) -> Iterator[TimeRange]:
    """Yield the stretches that consecutive slots make up, ascending."""
    ordered = np.array(sorted(slots), dtype=np.int64)
    if not len(ordered):
        return
    for run in np.split(ordered, np.flatnonzero(np.diff(ordered) != width_ms) + 1):
        yield TimeRange.from_ms(int(run[0]), int(run[-1]) + width_ms)


def is_sound(audits: Sequence[SeriesAudit]) -> bool:
    """Return whether nothing is wrong, and law 1's sum holds for every series."""
    return all(not one.problems and one.expected == one.stored + sum(one.absent.values()) for one in audits)
