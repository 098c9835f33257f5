"""Law 1: what is expected is stored or absent, and checkpoints and quality say so."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from etl.audit.check import Check
from etl.audit.grid import Mask, Slots, cut, times_of
from etl.audit.pieces import Intact, read_stored
from etl.audit.recount import recount
from etl.remedies import by_loading
from etl.schema import UNLOADED, AbsenceKind, value_hash
from etl.series import TimeRange, clip
from etl.spelling import counted
from etl.timeframe import Timeframe
from etl.validate import refused_slots
from etl.warehouse import Checkpoint, read_absences, read_quality, refused_rows


def check_slots(check: Check) -> None:
    """Hold the stored candles and the recorded absences against the grid, slot by slot."""
    timeframe, piece, result = check.scope.series.timeframe, check.piece, check.result
    slots, times = Slots.of(timeframe, piece.span), times_of(piece.stored)
    expected, held = slots.mask(check.account.accounted), slots.at(times)
    by_kind = {
        kind: slots.mask(absence.span for absence in piece.absences if absence.kind is kind)
        for kind in sorted({absence.kind for absence in piece.absences})
    }
    claimed = np.logical_or.reduce([slots.mask(()), *by_kind.values()])
    result.expected += int(expected.sum())
    result.stored += int((held & expected).sum())
    for kind, mask in by_kind.items():
        if count := int((mask & expected).sum()):
            result.absent[kind.value] = result.absent.get(kind.value, 0) + count
    unloaded = slots.mask(absence.span for absence in piece.absences if absence.kind in UNLOADED)
    for mask, what in (
        (expected & ~held & ~claimed, "candles are neither stored nor recorded as absent"),
        (held & claimed, "candles are stored and recorded as absent at once"),
        (unloaded & slots.mask(check.account.covered), "candles of a loaded range are recorded as not loaded"),
        (claimed & ~expected, "candles are recorded as absent outside every loaded range"),
    ):
        check.report_times(slots.times(mask), what)
    if AbsenceKind.REFUSED in by_kind:
        _check_refused(check, slots, by_kind[AbsenceKind.REFUSED] & ~slots.mask(check.account.covered))
    check.report_times(times[times % timeframe.ms != 0], f"candles are off the {timeframe} grid")
    _check_absences(check)


def _check_refused(check: Check, slots: Slots, alone: Mask) -> None:
    """Hold what is refused without a checkpoint against the rows that may be of it."""
    if not alone.any():
        return
    timeframe = check.scope.series.timeframe
    rows = refused_rows(check.scope.connection, check.scope.series_id, check.piece.span)
    doubts = refused_slots([row for row in rows if len(row.times_ms) > 1], timeframe)
    what = "candles outside every loaded range are recorded as refused, and no row may be of them"
    check.report_times(np.setdiff1d(slots.times(alone), list(doubts)), what, check.by_loading)


def _check_absences(check: Check) -> None:
    timeframe = check.scope.series.timeframe
    for absence in check.piece.absences:
        is_off = absence.span.start_ms % timeframe.ms or absence.span.end_ms % timeframe.ms
        if is_off and any(clip(absence.span, span) for span in check.account.covered):
            whole = TimeRange(timeframe.floor(absence.span.start), timeframe.ceil(absence.span.end))
            check.report(whole, f"an absence is off the {timeframe} grid")


def check_checkpoint(check: Check, checkpoint: Checkpoint) -> None:
    """Check that what a load vouched for is still so."""
    span = checkpoint.time_range
    if span.end > checkpoint.closed_by:
        what = f"it was loaded at {checkpoint.closed_by:%Y-%m-%d %H:%M:%S}, before it had closed"
        check.report(span, what, by_loading(check.scope.series, span))
    stored, absent = _stored_and_absent(check, span)
    if not checkpoint.value_hash:
        check.result.unproven.append(span)
    elif value_hash(stored) != checkpoint.value_hash:
        if checkpoint.is_retired:
            check.report(span, "the archive does not hold the candles that it alone is to keep")
        elif check.verdicts.of(checkpoint, check.piece) is Intact.NEITHER:
            check.report(span, "neither the warehouse nor the archive has the candles that its checkpoint vouches for")
        else:
            check.report(span, "its candles are not those that its checkpoint vouches for")
    if (stored.num_rows, absent) != (checkpoint.rows, checkpoint.absent):
        said = f"its checkpoint counts {counted(checkpoint.rows, 'candle')} and {checkpoint.absent} absent ones"
        check.report(span, f"{said}, there are {stored.num_rows} and {absent}")


def _stored_and_absent(check: Check, span: TimeRange) -> tuple[pa.Table, int]:
    """Return what is stored of `span`, which may reach beyond the piece, and how many are absent there."""
    scope, piece = check.scope, check.piece
    if piece.span.start <= span.start and span.end <= piece.span.end:
        stored, absences = cut(piece.stored, span), piece.absences
    else:
        stored = read_stored(scope, span)
        absences = read_absences(scope.connection, scope.series_id, span)
    inside = (clip(absence.span, span) for absence in absences)
    return stored, sum(part.count(scope.series.timeframe) for part in inside if part is not None)


def check_quality(check: Check) -> None:
    """Count the quality again, of each day that is looked at from its beginning to its end."""
    scope, piece = check.scope, check.piece
    start, end = Timeframe.D1.ceil(piece.span.start), Timeframe.D1.floor(piece.span.end)
    if start >= end:
        return
    days = TimeRange(start, end)
    said = read_quality(scope.connection, scope.series_id, days)
    counted = recount(check, days)
    for day in said.keys() & counted.keys():
        if said[day].candle is None:  # an earlier version has counted it; the nightly maintenance makes its candle
            counted[day].candle = None
    wrong = [day for day in sorted(said.keys() | counted.keys()) if said.get(day) != counted.get(day)]
    if wrong:
        times = np.array(wrong, dtype="datetime64[ms]").astype(np.int64)
        where = TimeRange.from_ms(int(times[0]), int(times[-1]) + Timeframe.D1.ms)
        check.report(
            where,
            f"the quality of {len(wrong):,} {'day' if len(wrong) == 1 else 'days'} is not what a recount gives",
            check.by_mending(where),
        )
