"""Putting candles into the stores: merged with what is there, flagged by rules, archive first, then one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial

import pyarrow as pa
from sqlalchemy import Connection

from etl.archive import Archive
from etl.archive.contents import between
from etl.extract import Bounds
from etl.findings import Finding
from etl.schema import SOURCED_COLUMNS, AbsenceKind, Flag, to_column, to_columns
from etl.series import TimeRange, clip, subtract, united
from etl.spelling import counted
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.validate import Refused, explain, find_absences, flag_candles, refused_slots
from etl.verdicts import Arrival, judged_at_once
from etl.warehouse import (
    Asking,
    Load,
    LoadReport,
    Lookback,
    Merge,
    begin_load,
    merge,
    open_ranges,
    read_candles,
    read_checkpoints,
    read_overruled,
    record_doubts,
    released_among,
    retired_ranges,
    with_flags,
    without_equals,
)

log = logging.getLogger(__name__)

_SHOWN = 10  # of what may be many, in a log
_UNJUDGED = frozenset({AbsenceKind.PENDING})


@dataclass(frozen=True, slots=True)
class Incoming:
    """Input of a load into the stores.

    Attributes:
        candles: CANDLE_SCHEMA, ascending by open_time, each in the range.
        refused: Rows for quarantine.
        bounds: Where the series begins and ends, as far as is known.
        asked_at: When the exchange was asked for them, by its clock.
        stated_ms: When the slots open that a file states to be silent.
    """

    candles: pa.Table
    refused: Sequence[Refused]
    bounds: Bounds
    asked_at: datetime
    stated_ms: Sequence[int] = ()


def put(
    stores: Stores,
    partition: Partition,
    incoming: Incoming,
    run: str,
    *,
    is_announced: bool = False,
    is_history: bool = False,
    first: Callable[[Connection], object] | None = None,
) -> LoadReport:
    """Merge what comes in with what is stored, archive first, then all the rest in one transaction.

    Args:
        is_history: Whether it is a backfill or a repair: of what is strange in it nobody is told.
        first: What else belongs into that transaction, before anything is read.

    Raises:
        StoreError: A store refuses or went away. What was there before is whole.
    """
    series, time_range = partition.series, partition.time_range
    settings = stores.settings
    rules = settings.rules_of(series.exchange)
    asking = Asking(incoming.asked_at, settings.settle_of(series), run)
    with begin_load(
        stores.warehouse,
        series,
        time_range,
        run,
        Lookback(series.timeframe, rules.lookback, rules.lookback_slots),
        read_archive=partial(stores.archive.read, series),
        first=first,
    ) as under_way:
        merged = with_flags(
            merge(under_way.stored, _without_overruled(under_way, incoming.candles)),
            under_way.before,
            under_way.after,
            lambda candles: flag_candles(candles, series.timeframe, rules, settings.splits_of(series)),
        )
        missing = find_absences(to_column(merged.candles, "open_time"), time_range, series.timeframe)
        unreleased = _unreleased(under_way, incoming.refused)
        refused = {
            **refused_slots(under_way.undecided_rows(), series.timeframe),
            **refused_slots(unreleased, series.timeframe),
        }
        absent: Sequence[Finding] = [
            Finding(*explained)
            for explained in explain(
                missing,
                series.timeframe,
                **asdict(incoming.bounds),
                refused=refused,
            )
        ]
        if under_way.is_first:
            columns = to_columns(merged.candles, SOURCED_COLUMNS)
            arrival = Arrival(series, time_range, columns, incoming.stated_ms, absent, asking)
            absent = judged_at_once(under_way.connection, settings, arrival)
        files = _archive(stores.archive, partition, merged, under_way)
        report = under_way.write(
            merged,
            absent=absent,
            refused=incoming.refused,
            asking=asking,
            archive_files=files,
            flagging=settings.flagging_of(series),
            first_ms=incoming.bounds.first_ms,
            end_ms=incoming.bounds.end_ms,
            stated_ms=incoming.stated_ms,
            is_announced=is_announced,
            is_history=is_history,
        )
        _record_doubts(under_way, unreleased, asking)
    _log_load(partition, report, merged, absent)
    return report


def _unreleased(under_way: Load, refused: Sequence[Refused]) -> Sequence[Refused]:
    """Leave out the rows of which a person has told which of two slots they are of: they say nothing of the other."""
    undecided = [row.row for row in refused if len(row.times_ms) > 1]
    if not undecided:
        return refused
    released = released_among(under_way.connection, under_way.series_id, undecided)
    return [row for row in refused if row.row not in released]


def _record_doubts(under_way: Load, refused: Sequence[Refused], asking: Asking) -> None:
    """Say of slots outside the range that rows may be of them, where the rows do not tell."""
    undecided = [row for row in refused if len(row.times_ms) > 1]
    if not undecided:
        return
    connection, series_id, timeframe = under_way.connection, under_way.series_id, under_way.series.timeframe
    slots = refused_slots(undecided, timeframe)
    # Of what was still forming the closed candle still comes.
    closed_ms = to_ms(timeframe.floor(asking.asked_at))
    spans = united(TimeRange.from_ms(at_ms, at_ms + timeframe.ms) for at_ms in slots if at_ms < closed_ms)
    absent = [
        part
        for span in spans
        for outside in subtract(span, [under_way.time_range])
        for part in open_ranges(connection, series_id, outside)
    ]
    found = explain(absent, timeframe, first_ms=None, end_ms=None, served_from_ms=None, refused=slots)
    known = [under_way.time_range, *spans]
    around = TimeRange(min(one.start for one in known), max(one.end for one in known))
    record_doubts(connection, series_id, timeframe, [Finding(*one) for one in found], around, asking)


def _without_overruled(under_way: Load, candles: pa.Table) -> pa.Table:
    """Leave out what a person has overruled: it comes again with every fetch, until the exchange changes it."""
    if not (to_column(under_way.stored, "flags") & Flag.RELEASED).any():
        return candles
    overruled = read_overruled(under_way.connection, under_way.series_id, under_way.time_range)
    kept = without_equals(candles, overruled)
    if left_out := candles.num_rows - kept.num_rows:
        log.info("as before a row was released, and left as released: %s", counted(left_out, "candle"))
    return kept


def _archive(archive: Archive, partition: Partition, merged: Merge, under_way: Load) -> list[str]:
    """Write the range, and what after it is flagged otherwise now. Returns the files that hold the range."""
    span = partition.time_range
    written = archive.write(
        partition.series, span, merged.candles, covered_before=lambda whole: _loaded_empty(under_way, whole)
    )
    if merged.after.num_rows:
        last_ms = int(to_column(merged.after, "open_time")[-1])
        later = TimeRange.from_ms(span.end_ms, last_ms + partition.series.timeframe.ms)
        # It may reach over what was never loaded: what the files cover stays as it is.
        covered = archive.covered(partition.series, later)
        archive.write(partition.series, later, merged.after, covered)
    return written.files


def _loaded_empty(under_way: Load, whole: TimeRange) -> list[TimeRange]:
    """Return what of `whole` was loaded before without a candle, and so had no file to be covered by.

    Where the warehouse has candles, or the archive alone kept them, the file was lost: a new one cannot cover that.
    """
    connection, series_id = under_way.connection, under_way.series_id
    earlier = [part for one in read_checkpoints(connection, series_id, whole) if (part := clip(one.time_range, whole))]
    if not earlier:
        return []
    lost = retired_ranges(connection, series_id, whole)
    stored = read_candles(connection, series_id, whole)
    return [
        part
        for span in earlier
        for rest in subtract(span, [under_way.time_range])
        for part in subtract(rest, lost)
        if between(stored, part).num_rows == 0
    ]


def _log_load(partition: Partition, report: LoadReport, merged: Merge, absent: Sequence[Finding]) -> None:
    series = partition.series
    log.info(
        "%s held: %d new, %d revised, %d the same as before; %d absent, %s quarantined",
        counted(report.rows, "candle"),
        report.new,
        report.revised,
        merged.unchanged,
        report.absent,
        counted(report.quarantined, "row"),
    )
    # What is not judged yet is no finding: why it is absent is told once it is.
    for kinds, level in ((_UNJUDGED, logging.INFO), (frozenset(AbsenceKind) - _UNJUDGED, logging.WARNING)):
        found = [finding for finding in absent if finding.kind in kinds]
        for finding in found[:_SHOWN]:
            told = counted(finding.span.count(series.timeframe), "candle")
            log.log(level, "%s: absent (%s) %s, %s: %s", series, finding.kind, finding.span, told, finding.evidence)
        if len(found) > _SHOWN:
            log.log(level, "%s: absent in all: %s", series, counted(len(found), "stretch", "stretches"))
