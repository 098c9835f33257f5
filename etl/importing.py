"""A file of candles into the stores, by the pipeline's own way: raw pages, cleaned and loaded a partition at a time.

A partition that this very file has loaded is left out, so an import that was cut off goes on where it was.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from etl.archive import spans
from etl.errors import ConfigError, QuarantineLimitError
from etl.extract import Bounds, CandleFile, Fetched, FileRows, Page, PageKey, file_rows, look_through
from etl.ingest import clean_pages, load_sound, received_of_file
from etl.rules import Rules
from etl.schema import AbsenceKind, to_column
from etl.series import Series, TimeRange, clip, united
from etl.settings import Settings
from etl.spelling import counted
from etl.stores import Partition, Stores
from etl.validate import CleanReport, Refused, clean, refused_slots
from etl.warehouse import (
    Absence,
    LoadReport,
    check_spelling,
    find_load,
    known_series,
    last_load,
    locked_partition,
    read_absences,
)

log = logging.getLogger(__name__)

_MOST_BYTES = 64 << 20  # of text in memory at once; a month of minutes is 4 MB


@dataclass(frozen=True, slots=True)
class Import:
    """Plan of an import of a file.

    Attributes:
        partitions: All of its range of time, each within one archive file; ascending.
        left: The numbers of those that are not loaded yet.
        run: What to call this in the warehouse; another import of the same bytes has the same name.
    """

    file: CandleFile
    partitions: tuple[Partition, ...]
    left: tuple[int, ...]
    run: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A partition that was loaded, and what became of its lines.

    Attributes:
        silent: How many of its lines say that nothing was traded; they are not among the cleaned rows.
    """

    partition: Partition
    cleaned: CleanReport
    loaded: LoadReport
    silent: int


@dataclass(frozen=True, slots=True)
class FileAccount:
    """Rows of a file by their fate: `rows = accepted + repeated + outside + silent + sum(refused)`.

    Attributes:
        repeated: Rows equal to an accepted or a refused one.
        outside: Rows that open outside what the file speaks for: candles that had not closed when it was written.
        silent: Rows without a price, which say that nothing was traded; their candles are absent.
        refused: Rows in quarantine, by rule.
    """

    rows: int
    accepted: int
    repeated: int
    outside: int
    silent: int
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line of a file that an import would put into quarantine.

    Attributes:
        number: Where it stands in the file, from 1; see `CandleFile.numbered`.
        reason: The evidence of the rule.
    """

    number: int
    rule: str
    reason: str
    line: str


@dataclass(frozen=True, slots=True)
class Preview:
    """A file as it would be imported.

    Attributes:
        rows: The first rows.
        refused: What an import would refuse, in the order of the file.
        slots: How many candles the ranges have that the file speaks of.
        stored: How many of them an import would store.
        refused_slots: How many have only rows that an import would refuse; those that are left have no row.
    """

    file: CandleFile
    rows: FileRows
    refused: Sequence[RefusedLine]
    slots: int
    stored: int
    refused_slots: int


def preview(path: Path, series: Series, zone: ZoneInfo | None, settings: Settings, rows: int) -> Preview:
    """Return a file as `plan_import` would see it, and its rows as they would be read and judged; asks no store.

    Args:
        rows: How many of the first ones to show.

    Raises:
        ConfigError: It is no file of candles of this timeframe, or nothing is known of the exchange.
    """
    settings.traits(series.exchange)
    file = look_through(path, series, zone)
    return _judged(file, file_rows(file.first_page(rows).body, series), settings.rules_of(series.exchange))


def _judged(file: CandleFile, rows: FileRows, rules: Rules) -> Preview:
    ranges = _pieces(file)
    refused: list[RefusedLine] = []
    width_ms = file.series.timeframe.ms
    possible = {at_ms for one in file.possible for at_ms in range(one.start_ms, one.end_ms, width_ms)}
    lacking, held = set[int](), set[int]()
    stored = 0
    for batch in _batches(file, ranges, range(len(ranges))):
        for page in file.pages(ranges, batch):
            cleaned = clean([received_of_file(page)], file.series, page.window, rules)
            refused += [_to_line(file, row) for row in cleaned.refused]
            times = set(to_column(cleaned.candles, "open_time").tolist())
            stored += len(times)
            held |= times & possible
            lacking |= {
                at_ms
                for at_ms in refused_slots(cleaned.refused, file.series.timeframe).keys() - times
                if at_ms in possible or page.window.start_ms <= at_ms < page.window.end_ms
            }
    slots = sum(one.count(file.series.timeframe) for one in united([*file.stretches, *file.possible]))
    refused.sort(key=lambda one: one.number)
    return Preview(file, rows, refused, slots, stored, len(lacking - held))


def _to_line(file: CandleFile, row: Refused) -> RefusedLine:
    number = row.number or 0
    reason = row.evidence.removesuffix(f"; {file.numbered} {number}")
    return RefusedLine(number, row.rule, reason, row.shown)


def _pieces(file: CandleFile) -> list[TimeRange]:
    """Return the ranges of a file, each within one file of the archive; ascending."""
    pieces = [piece for stretch in file.stretches for piece in spans(file.series.timeframe, stretch)]
    for piece in pieces:
        if (size := file.text_bytes(piece)) > _MOST_BYTES:
            raise ConfigError(
                f"{file.path} has {size >> 20} MB of lines for {piece}: no candles need as much", series=file.series
            )
    return pieces


def plan_import(stores: Stores, path: Path, series: Series, zone: ZoneInfo | None = None) -> Import:
    """Look through a file, and find what of it is to be loaded.

    Args:
        zone: Of times in the file that say none; see `look_through`.

    Raises:
        ConfigError: It is no file of candles of this timeframe, or nothing is known of the exchange, or its symbol is
            one that is loaded in another spelling.
    """
    stores.settings.traits(series.exchange)
    with stores.warehouse.begin() as connection:
        check_spelling(connection, series)
    file = look_through(path, series, zone)
    log.info("%s: %s, columns %s", path, counted(file.rows, "row"), ", ".join(file.columns.places))
    partitions = tuple(Partition(series, piece) for piece in _pieces(file))
    name = path.name.encode(errors="backslashreplace").decode()
    run = f"import {name} {file.digest[:12]}" + ("" if zone is None else f" {zone.key}")
    left = tuple(number for number, partition in enumerate(partitions) if not _is_done(stores, partition, run))
    return Import(file, partitions, left, run)


def run_import(stores: Stores, planned: Import) -> Iterator[Imported]:
    """Load what is left, and yield each partition once it is committed.

    Raises:
        QuarantineLimitError: Too many rows of a partition were refused: raised for the first such partition once all
            are yielded.
        StoreError: A store refuses or went away; the same import, begun again, goes on.
    """
    ranges = [partition.time_range for partition in planned.partitions]
    errors: list[QuarantineLimitError] = []
    for batch in _batches(planned.file, ranges, planned.left):
        for number, page in zip(batch, planned.file.pages(ranges, batch), strict=True):
            partition = planned.partitions[number]
            with locked_partition(stores.warehouse, partition.series, partition.time_range):
                imported, error = _import_page(stores, partition, page, planned.run)
            if error is not None:
                errors.append(error)
            yield imported
    if errors:
        raise errors[0]


def _import_page(
    stores: Stores, partition: Partition, page: Page, run: str
) -> tuple[Imported, QuarantineLimitError | None]:
    raw = stores.raw.partition(partition.series, partition.time_range)
    with stores.warehouse.begin() as connection:
        last = last_load(connection)
    raw.note_begun(last)
    raw.write_page(page)
    raw.write_list(Fetched((PageKey(page.window, page.route),), Bounds(), page.fetched_at_ms))
    cleaned = clean_pages(stores, partition)
    loaded, error = load_sound(stores, partition, run, is_history=True)
    return Imported(partition, cleaned, loaded, silent=page.body.count("\n") - cleaned.rows), error


def account(imported: Sequence[Imported]) -> FileAccount:
    """Return what became of the lines of all of `imported`."""
    silent = sum(one.silent for one in imported)
    reports = [one.cleaned for one in imported]
    refused: Counter[str] = Counter()
    for report in reports:
        refused.update(report.refused)
    return FileAccount(
        rows=silent + sum(report.rows for report in reports),
        accepted=sum(report.accepted for report in reports),
        repeated=sum(report.repeated for report in reports),
        outside=sum(report.outside for report in reports),
        silent=silent,
        refused=dict(sorted(refused.items())),
    )


def absent_kinds(stores: Stores, planned: Import) -> dict[AbsenceKind, list[Absence]]:
    """Return what is absent where the file speaks for candles, by kind, as it is known now; the longest first.

    The slots that rows of two readings may be of are among them.
    """
    kinds: defaultdict[AbsenceKind, list[Absence]] = defaultdict(list)
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[planned.file.series]
        for stretch in united([*planned.file.stretches, *planned.file.possible]):
            for absence in read_absences(connection, series_id, stretch):
                if (span := clip(absence.span, stretch)) is not None:
                    kinds[absence.kind].append(replace(absence, span=span))
    return {kind: sorted(kinds[kind], key=lambda one: one.span.start - one.span.end) for kind in sorted(kinds)}


def _batches(file: CandleFile, ranges: Sequence[TimeRange], wanted: Iterable[int]) -> Iterator[list[int]]:
    """Yield numbers of ranges whose lines fit into memory together: the file is read once for each batch."""
    batch: list[int] = []
    size = 0
    for number in wanted:
        mine = file.text_bytes(ranges[number])
        if batch and size + mine > _MOST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(number)
        size += mine
    if batch:
        yield batch


def _is_done(stores: Stores, partition: Partition, run: str) -> bool:
    """Return whether this run has loaded the partition and tidied up after it."""
    with stores.warehouse.begin() as connection:
        is_loaded = find_load(connection, partition.series, partition.time_range, run) is not None
    return is_loaded and not stores.raw.partition(partition.series, partition.time_range).folder.exists()
