"""The archive's health: every file read to its last byte, and held against what the warehouse vouches for."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from etl.archive import ArchiveFile, file_spans
from etl.audit.grid import lie_in
from etl.errors import ChandlerError, SchemaMismatchError, StoreUnavailableError
from etl.fallbacks import CONVERT
from etl.remedies import by_loading, by_mending, by_rebuilding
from etl.schema import to_column, value_hash
from etl.series import Series, TimeRange, united
from etl.spelling import counted
from etl.stores import Stores
from etl.unvouched import find_unvouched
from etl.warehouse import Checkpoint, covered_ranges, known_series, lock_series, read_absences, read_checkpoints

_AT_ONCE = 2  # files; reading and hashing leave each other room
_YOUNG = timedelta(days=1)  # what was cut off before is nobody's work any more
_ASIDE = "set aside"


@dataclass(frozen=True, slots=True)
class Ailment:
    """Something that is wrong in the archive.

    Attributes:
        path: Where: a file, or the series.
        remedy: What to do about it.
    """

    path: str
    what: str
    remedy: str


@dataclass(slots=True)
class SeriesHealth:
    """The files of one series.

    Attributes:
        files: How many there are.
        checked: How many of them were read.
        rows: Candles in those.
        size_bytes: Of those.
        last_write: When the last of all was written.
        absent: Candles that are accounted for and not held, by kind.
    """

    series: Series
    files: int = 0
    checked: int = 0
    rows: int = 0
    size_bytes: int = 0
    last_write: datetime | None = None
    absent: Mapping[str, int] = field(default_factory=dict)
    ailments: list[Ailment] = field(default_factory=list)


@dataclass(slots=True)
class ArchiveHealth:
    """The archive as a whole.

    Attributes:
        ailments: What is wrong and of no series that was checked.
        notes: What may be deleted, a sentence each.
        seconds: How long it took to read.
    """

    series: list[SeriesHealth]
    ailments: list[Ailment]
    notes: list[str]
    seconds: float

    @property
    def all_ailments(self) -> list[Ailment]:
        """All that is wrong."""
        return [*(ailment for one in self.series for ailment in one.ailments), *self.ailments]


@dataclass(frozen=True, slots=True)
class Sample:
    """One of `of` parts of the files, which together are all of them.

    Attributes:
        number: Which, from 0.
    """

    number: int
    of: int

    def has(self, path: str) -> bool:
        """Return whether the file is in it: always the same one of `of`, whatever other files there are."""
        return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") % self.of == self.number


OnFile = Callable[[int, int, int], None]
"""Called with how many files were read of how many, and the candles in the last."""


def check_archive(
    stores: Stores,
    only: Collection[Series] = (),
    sample: Sample | None = None,
    on_file: OnFile = lambda done, planned, rows: None,
) -> ArchiveHealth:
    """Read files with all their hashes, and hold them against checkpoints; change nothing.

    Args:
        only: The series to look at; without, all that archive or warehouse has heard of.
        sample: Which files to read; all, without.

    Raises:
        StoreUnavailableError: A store does not answer.
    """
    started = time.monotonic()
    with stores.warehouse.begin() as connection:
        known = known_series(connection)
    wanted = [one for one in sorted({*known, *stores.archive.series()}) if not only or one in only]
    healths = {series: _survey(stores, series, known.get(series), is_whole=sample is None) for series in wanted}
    jobs = [
        (health, file)
        for series, health in healths.items()
        for file in stores.archive.files(series)
        if sample is None or sample.has(file.path)
    ]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        looked = threads.map(lambda job: _check_file(stores, job[0].series, known.get(job[0].series), job[1]), jobs)
        for number, ((health, file), (rows, ailments)) in enumerate(zip(jobs, looked, strict=True), 1):
            health.checked += 1
            health.rows += rows
            health.size_bytes += file.size_bytes
            health.ailments += ailments
            on_file(number, len(jobs), rows)
    seconds = time.monotonic() - started
    ailments, notes = _rest(stores, wanted)
    return ArchiveHealth(list(healths.values()), ailments, notes, seconds)


def _survey(stores: Stores, series: Series, series_id: int | None, *, is_whole: bool) -> SeriesHealth:
    """Return what is known of a series without reading its files, and which of them are not there."""
    files = stores.archive.files(series)
    health = SeriesHealth(series, len(files), last_write=max((file.written_at for file in files), default=None))
    if series_id is None:
        what = f"the warehouse does not know the series: the archive has {counted(len(files), 'file')} of it"
        health.ailments.append(Ailment(str(series), what, "chandler warehouse rebuild"))
        return health
    with stores.warehouse.begin() as connection:
        checkpoints = read_checkpoints(connection, series_id)
        counts: Counter[str] = Counter()
        for absence in read_absences(connection, series_id):
            counts[absence.kind.value] += absence.span.count(series.timeframe)
    health.absent = counts
    spans = {file.span for file in files}
    for checkpoint in checkpoints if is_whole else ():
        if checkpoint.rows and not any(span in spans for span in file_spans(series.timeframe, checkpoint.time_range)):
            what = f"no file holds the {counted(checkpoint.rows, 'candle')} of {checkpoint.time_range}"
            health.ailments.append(Ailment(str(series), what, by_mending(series)))
    return health


def _check_file(stores: Stores, series: Series, series_id: int | None, file: ArchiveFile) -> tuple[int, list[Ailment]]:
    """Return how many candles a file holds, and what is wrong with it."""
    with stores.warehouse.begin() as connection:
        if series_id is not None:
            # A load writes the file before it commits what it vouches for.
            lock_series(connection, series_id)
        try:
            candles, covered = stores.archive.read_covered(series, file.span)
        except StoreUnavailableError:
            raise
        except SchemaMismatchError as error:
            return 0, [Ailment(file.path, error.message, "update Chandler")]
        except ChandlerError as error:
            # To mend from, the warehouse has nothing of a series that it does not know.
            remedy = by_loading(series, file.span) if series_id is None else by_mending(series)
            return 0, [Ailment(file.path, error.message, remedy)]
        if series_id is None:
            return candles.num_rows, []
        checkpoints = read_checkpoints(connection, series_id, file.span)
        vouched = covered_ranges(connection, series_id)
        found = [*_strays(stores, series, candles, covered, vouched)]
        found += ((what, by_mending(series)) for what in _compare(stores, series, file.span, candles, checkpoints))
        return candles.num_rows, [Ailment(file.path, what, remedy) for what, remedy in found]


def _strays(
    stores: Stores,
    series: Series,
    candles: pa.Table,
    covered: Sequence[TimeRange],
    vouched: Sequence[TimeRange],
) -> Iterator[tuple[str, str]]:
    """Yield what a file holds that no checkpoint knows, and the command that mends that."""
    times = to_column(candles, "open_time")
    unvouched = find_unvouched(stores, series, covered, vouched)
    for spans, why, remedy in (
        (unvouched.unknown, "the warehouse has no account of them", by_rebuilding(series)),
        (unvouched.cut_off, "a load was cut off", by_mending(series)),
    ):
        if stray := sum(len(_between(times, span)) for span in spans):
            yield f"{counted(stray, 'candle')} outside every range that a checkpoint knows: {why}", remedy
    if len(strays := times[~lie_in(times, united([*vouched, *covered]))]):
        span = TimeRange.from_ms(int(strays[0]), int(strays[-1]) + series.timeframe.ms)
        remedy = by_loading(series, span, again=False)
        yield f"{counted(len(strays), 'candle')} outside what the file says that it covers", remedy


def _compare(
    stores: Stores, series: Series, span: TimeRange, candles: pa.Table, checkpoints: Sequence[Checkpoint]
) -> Iterator[str]:
    """Yield where a file does not hold what checkpoints vouch for."""
    times = to_column(candles, "open_time")
    for checkpoint in checkpoints:
        own = checkpoint.time_range
        if own.start < span.start:
            continue  # looked at with the file in which it begins
        if own.end <= span.end:
            part = candles.slice(int(np.searchsorted(times, own.start_ms)), len(_between(times, own)))
        else:
            part = stores.archive.read(series, own)
        yield from _disagreement(checkpoint, part)


def _disagreement(checkpoint: Checkpoint, candles: pa.Table) -> Iterator[str]:
    if candles.num_rows != checkpoint.rows:
        held = counted(candles.num_rows, "candle")
        yield f"{held} in {checkpoint.time_range}, where its checkpoint counts {checkpoint.rows}"
    elif checkpoint.value_hash and value_hash(candles) != checkpoint.value_hash:
        yield f"the candles of {checkpoint.time_range} are not those that its checkpoint vouches for"


def _rest(stores: Stores, wanted: Iterable[Series]) -> tuple[list[Ailment], list[str]]:
    """Return what waits to be converted or was left behind, and what was set aside."""
    of = set(wanted)
    ailments = [
        Ailment(fallback.path, "its rows wait to become Parquet", CONVERT)
        for fallback in stores.archive.fallbacks()
        if fallback.series in of
    ]
    waiting, notes = {ailment.path for ailment in ailments}, []
    for leftover in stores.archive.leftovers():
        if leftover.what.startswith(_ASIDE):
            notes.append(f"{leftover.path}: {leftover.what}; delete it once nobody needs it")
        elif leftover.path not in waiting and leftover.written_at < datetime.now(UTC) - _YOUNG:
            ailments.append(Ailment(leftover.path, leftover.what, "nothing reads it: delete it"))
    return ailments, notes


def _between(times: np.ndarray[tuple[int], np.dtype[np.int64]], span: TimeRange) -> range:
    first, end = np.searchsorted(times, [span.start_ms, span.end_ms])
    return range(int(first), int(end))
