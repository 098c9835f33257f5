"""Mending a series from what is intact: values first, then the accounts of them. What neither store has stays broken.

The archive's files are written before the transaction commits, as a load does. A file that cannot be trusted, or holds
what nobody vouches for, is moved aside before its place is filled: nothing that may be the only copy is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from etl.archive import file_spans
from etl.audit.findings import SeriesAudit
from etl.audit.grid import lie_in
from etl.audit.pieces import Fault, Intact, Piece, Scope, Verdicts, differing, read_piece
from etl.audit.reckoning import mend_absences, mend_checkpoints, mend_holes, mend_quality, vouch_for
from etl.audit.targets import Target, at, target_of
from etl.schema import VALUE_COLUMNS
from etl.series import TimeRange, subtract, united
from etl.spelling import counted
from etl.warehouse import (
    broken_revisions,
    follow_revisions,
    give_up,
    mark_flagged_by,
    restore_candles,
)


@dataclass(slots=True)
class Mending:
    """A series being mended.

    Attributes:
        done: What was done, a sentence each.
    """

    scope: Scope
    verdicts: Verdicts
    done: list[str] = field(default_factory=list)

    def note(self, span: TimeRange, what: str) -> None:
        """Add what was done."""
        self.done.append(f"{span}: {what}")


def mend_series(scope: Scope, account: SeriesAudit) -> list[str]:
    """Mend what can be mended of the problems of a series, in the caller's transaction.

    What the archive alone has, and no load was cut off in, stays there.

    Returns:
        What was done, a sentence each.

    Raises:
        StoreError: A store refuses. The warehouse is as before; the archive holds what it will hold the next time.
    """
    mending = Mending(scope, Verdicts(scope))
    unvouched: list[TimeRange] = []
    touched, is_whole = [], account.is_flagged_earlier
    for span in _touched(mending, account):
        piece = read_piece(scope, span)
        if piece.fault is Fault.OF_ANOTHER_VERSION:
            is_whole = False
            continue
        if _give_up(mending, piece):
            piece = read_piece(scope, span)
        target = target_of(scope, piece, mending.verdicts)
        _mend_warehouse(mending, piece, target)
        _mend_archive(mending, piece, target)
        _mend_revisions(mending, span)
        unvouched += target.unvouched
        touched.append(span)
    mending.done.extend(vouch_for(scope, unvouched))
    doubtful = {span for span, intact in mending.verdicts.known.items() if intact is Intact.NEITHER}
    mending.done.extend(mend_absences(scope, touched, doubtful))
    mending.done.extend(mend_holes(scope))
    mending.done.extend(mend_checkpoints(scope, touched, doubtful))
    mending.done.extend(mend_quality(scope, touched))
    if is_whole:
        mark_flagged_by(scope.connection, scope.series_id, scope.stores.settings.flagging_of(scope.series))
    return mending.done


def _touched(mending: Mending, account: SeriesAudit) -> Iterator[TimeRange]:
    """Yield the ranges of the archive files where something is wrong, or flags may follow from what is."""
    scope = mending.scope
    files = scope.stores.archive.files(scope.series)
    spans = [
        TimeRange(problem.time_range.start, problem.time_range.end + scope.lookback.far) for problem in account.problems
    ]
    spans += account.unproven
    if account.is_flagged_earlier:
        spans += [file.span for file in files]
    seen = set()
    for span in united(spans):
        for whole in file_spans(scope.series.timeframe, span):
            if whole not in seen:
                seen.add(whole)
                yield whole


def _give_up(mending: Mending, piece: Piece) -> int:
    """Let what the archive alone was to keep, and does not, be what neither store has, so that it can be loaded."""
    lost = [
        checkpoint.time_range
        for checkpoint in piece.checkpoints
        if checkpoint.is_retired and mending.verdicts.of(checkpoint, piece) is Intact.NEITHER
    ]
    for span in lost:
        give_up(mending.scope.connection, mending.scope.series_id, span)
        mending.note(span, "no longer taken for what the archive keeps, which does not hold it")
    return len(lost)


def _mend_revisions(mending: Mending, span: TimeRange) -> None:
    connection, series_id = mending.scope.connection, mending.scope.series_id
    if broken := sum(is_mendable for _, _, is_mendable in broken_revisions(connection, series_id, span)):
        follow_revisions(connection, series_id, span)
        mending.note(span, f"the earlier values of {counted(broken, 'candle')} made to follow one another")


def _mend_warehouse(mending: Mending, piece: Piece, target: Target) -> None:
    scope = mending.scope
    gone, new, _ = differing(piece.stored, target.stored, ())
    _, _, changed = differing(piece.stored, target.stored, VALUE_COLUMNS)
    _, _, said = differing(piece.stored, target.stored, ("flags", "source"))
    touched = np.union1d(new, np.union1d(changed, said))
    # Of what was retired nothing is to be here.
    new, changed, said, touched = (times[~lie_in(times, piece.retired)] for times in (new, changed, said, touched))
    gone = np.union1d(gone[~lie_in(gone, piece.retired)], piece.kept)
    if not len(gone) and not len(touched):
        return
    restore_candles(scope.connection, scope.series_id, gone, at(target.stored, touched))
    if len(new) or len(changed):
        mending.note(
            piece.span, f"{counted(len(new) + len(changed), 'candle')} restored in the warehouse from the archive"
        )
    if len(gone):
        mending.note(
            piece.span, f"{counted(len(gone), 'candle')} taken out of the warehouse that its checkpoint does not know"
        )
    if flagged := len(np.setdiff1d(said, changed)):
        mending.note(piece.span, f"{counted(flagged, 'candle')} in the warehouse flagged anew")


def _replaced(piece: Piece, target: Target) -> str:
    """Return what of the archive's file may be the only copy and would not be in the new one; empty if nothing is."""
    if piece.archived is None:
        return "the archive's file, which cannot be trusted," if piece.fault is Fault.BROKEN else ""
    if len(target.removed):
        return f"{counted(len(target.removed), 'archived candle')} of a load that was cut off taken out; the file is"
    _, gone, other = differing(target.archived, piece.archived, VALUE_COLUMNS)
    count = len(gone) + len(other)
    return (
        f"{counted(count, 'archived candle')} replaced by what a checkpoint vouches for; the file is" if count else ""
    )


def _mend_archive(mending: Mending, piece: Piece, target: Target) -> None:
    scope, archive = mending.scope, mending.scope.stores.archive
    covered = [checkpoint.time_range for checkpoint in piece.checkpoints] + [*target.unvouched]
    covered += [part for span in piece.covered for part in subtract(span, target.uncovered)]
    if piece.archived is not None and piece.archived.equals(target.archived):
        archive.write(scope.series, piece.span, target.archived, covered)
        return
    file = next((file for file in archive.files(scope.series) if file.span == piece.span), None)
    if file is not None and (replaced := _replaced(piece, target)):
        mending.note(piece.span, f"{replaced} kept as {archive.set_aside(file)}")
    archive.write(scope.series, piece.span, target.archived, covered)
    if target.archived.num_rows:
        mending.note(piece.span, f"the archive's file written anew, with {counted(target.archived.num_rows, 'candle')}")
