"""The accounts of candles, made to fit them again: checkpoints, absences, holes, quality."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

from etl.audit.grid import Slots, times_of
from etl.audit.pieces import Scope, read_stored
from etl.audit.series import find_holes, read_account
from etl.findings import Finding
from etl.schema import UNLOADED, to_columns
from etl.series import TimeRange, clip
from etl.validate import explain, find_absences, refused_slots
from etl.warehouse import (
    REBUILT,
    Asking,
    Checkpoint,
    covered_ranges,
    driver_of,
    log_mending,
    read_absences,
    read_accounts,
    read_checkpoints,
    read_listing,
    read_quality,
    record_absences,
    record_not_requested,
    refresh_quality,
    refused_rows,
    renew_checkpoint,
    tally,
    vouch,
    write_quality,
)

RUN = "audit --fix"
_UNVOUCHED = "it lies between loaded ranges, and no checkpoint covers it"


def vouch_for(scope: Scope, spans: Iterable[TimeRange]) -> Iterator[str]:
    """Account for ranges that both stores hold and whose checkpoint was lost."""
    for span in spans:
        vouch(scope.connection, scope.series_id, scope.series.timeframe, span, RUN, _files(scope, span))
        log_mending(scope.connection, scope.series_id, span, RUN)
        yield f"{span}: accounted for again"


def mend_absences(scope: Scope, touched: Sequence[TimeRange], doubtful: Collection[TimeRange]) -> Iterator[str]:
    """Let the absences of loaded ranges be what is not stored there; what fits stays as it is.

    Args:
        touched: Where to look.
        doubtful: Checkpoints' ranges whose candles neither store has: nothing is said of them.
    """
    for span in touched:
        for checkpoint in read_checkpoints(scope.connection, scope.series_id, span):
            inside = clip(checkpoint.time_range, span)
            if inside is not None and checkpoint.time_range not in doubtful:
                for wrong in _unfitting(scope, inside):
                    _record(scope, checkpoint, wrong)
                    log_mending(scope.connection, scope.series_id, wrong, RUN)
                    yield f"{wrong}: absences recorded anew"


def _unfitting(scope: Scope, span: TimeRange) -> list[TimeRange]:
    """Return where absences and candles do not make up the grid of a loaded range; all of it, if none is recorded."""
    timeframe = scope.series.timeframe
    slots = Slots.of(timeframe, span)
    held = slots.at(times_of(read_stored(scope, span)))
    absences = read_absences(scope.connection, scope.series_id, span)
    claimed = slots.mask(absence.span for absence in absences)
    unloaded = slots.mask(absence.span for absence in absences if absence.kind in UNLOADED)
    off_grid = [
        TimeRange(timeframe.floor(absence.span.start), timeframe.ceil(absence.span.end))
        for absence in absences
        if absence.span.start_ms % timeframe.ms or absence.span.end_ms % timeframe.ms
    ]
    wrong = (held == claimed) | unloaded | slots.mask(off_grid)
    return [span] if wrong.any() and not absences else slots.runs(wrong)


def _record(scope: Scope, checkpoint: Checkpoint, span: TimeRange) -> None:
    connection, series_id, timeframe = scope.connection, scope.series_id, scope.series.timeframe
    listing = read_listing(connection, scope.series)
    rows = refused_rows(connection, series_id, span)
    missing = find_absences(times_of(read_stored(scope, span)), span, timeframe)
    found = explain(
        missing,
        timeframe,
        first_ms=listing.first_ms,
        end_ms=listing.ended_ms,
        served_from_ms=None,
        refused=refused_slots(rows, timeframe),
    )
    asking = Asking(_asked_at(scope, checkpoint), scope.stores.settings.settle_of(scope.series), RUN)
    record_absences(connection, series_id, timeframe, span, [Finding(*one) for one in found], asking)


def _asked_at(scope: Scope, checkpoint: Checkpoint) -> datetime:
    """Return when the exchange was asked for a range: by its load, or before all of what was rebuilt had ended."""
    if checkpoint.run != REBUILT:
        return checkpoint.closed_by
    return max(span.end for span in covered_ranges(scope.connection, scope.series_id))


def mend_holes(scope: Scope) -> Iterator[str]:
    """Record as not requested what lies between loaded ranges, and is not recorded otherwise."""
    for hole in find_holes(read_account(scope)):
        record_not_requested(scope.connection, scope.series_id, scope.series.timeframe, hole, _UNVOUCHED)
        refresh_quality(scope.connection, scope.series_id, scope.series.timeframe, hole)
        yield f"{hole}: recorded as not requested"


def mend_checkpoints(scope: Scope, touched: Sequence[TimeRange], doubtful: Collection[TimeRange]) -> Iterator[str]:
    """Let checkpoints say what is stored, where one of the stores was intact."""
    seen = set()
    for span in touched:
        for checkpoint in read_checkpoints(scope.connection, scope.series_id, span):
            own = checkpoint.time_range
            if own in doubtful or own in seen:
                continue
            seen.add(own)
            timeframe, files, held = scope.series.timeframe, _files(scope, own), read_stored(scope, own)
            if renew_checkpoint(scope.connection, scope.series_id, timeframe, checkpoint, files, held):
                yield f"{own}: its checkpoint renewed"


def mend_quality(scope: Scope, touched: Sequence[TimeRange]) -> Iterator[str]:
    """Count the quality of the days again, of what both stores hold.

    Args:
        touched: Whole days.
    """
    connection, series_id, timeframe = scope.connection, scope.series_id, scope.series.timeframe
    for span in touched:
        accounts = read_accounts(driver_of(connection), series_id, span)
        counted = tally(span, accounts, timeframe, to_columns(read_stored(scope, span)))
        if read_quality(connection, series_id, span) != counted:
            write_quality(connection, series_id, span, counted)
            yield f"{span}: quality counted again"


def _files(scope: Scope, span: TimeRange) -> list[str]:
    files = scope.stores.archive.files(scope.series)
    return [file.path for file in files if clip(file.span, span) is not None]
