"""Content that both stores are to hold of a piece, so that what is intact is in both. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from etl.audit.grid import Slots, Times, cut, lie_in, runs, times_of
from etl.audit.pieces import Intact, Piece, Scope, Verdicts, differing, right_flags
from etl.schema import UNLOADED, VALUE_COLUMNS, AbsenceKind, empty_candles, from_columns, to_column, to_columns
from etl.series import TimeRange, clip, subtract
from etl.warehouse import Checkpoint


@dataclass(frozen=True, slots=True)
class Target:
    """Content that the stores are to hold of a piece.

    Attributes:
        stored: The warehouse: CANDLE_SCHEMA, ascending by open_time, with the flags that are right.
        archived: The archive, likewise.
        removed: When candles open that only the archive has, since a load was cut off.
        uncovered: What the archive is no longer to cover, since a load was cut off.
        unvouched: What both hold and no checkpoint vouches for.
    """

    stored: pa.Table
    archived: pa.Table
    removed: Times
    uncovered: Sequence[TimeRange]
    unvouched: Sequence[TimeRange]


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of a piece with one checkpoint, or with none.

    Attributes:
        stored: What the warehouse is to hold of it, with whatever flags.
        archived: What the archive is to hold if that is something else.
        shared: When candles open that the archive is to hold as the warehouse does.
    """

    span: TimeRange
    stored: pa.Table
    archived: pa.Table
    shared: Times
    removed: Times
    uncovered: Sequence[TimeRange] = ()
    unvouched: Sequence[TimeRange] = ()


def target_of(scope: Scope, piece: Piece, verdicts: Verdicts) -> Target:
    """Return what the stores are to hold of a piece."""
    is_certain = piece.archived is not None and all(
        verdicts.of(checkpoint, piece) is not Intact.NEITHER for checkpoint in piece.checkpoints
    )
    parts = [
        _unvouched_part(scope, piece, span, is_certain=is_certain)
        if checkpoint is None
        else _part(piece, span, verdicts.of(checkpoint, piece))
        for span, checkpoint in _stretches(piece)
    ]
    stored = pa.concat_tables([part.stored for part in parts])
    stored = from_columns({**to_columns(stored), "flags": right_flags(scope, piece, stored)})
    archived = to_columns(
        pa.concat_tables([each for part in parts for each in (part.archived, at(cut(stored, part.span), part.shared))])
    )
    order = np.argsort(archived["open_time"], kind="stable")
    return Target(
        stored=stored,
        archived=from_columns({name: values[order] for name, values in archived.items()}),
        removed=np.concatenate([part.removed for part in parts]),
        uncovered=[span for part in parts for span in part.uncovered],
        unvouched=[span for part in parts for span in part.unvouched],
    )


def _stretches(piece: Piece) -> Iterator[tuple[TimeRange, Checkpoint | None]]:
    """Yield the piece, cut where a checkpoint begins or ends."""
    start = piece.span.start
    for checkpoint in piece.checkpoints:
        if (span := clip(checkpoint.time_range, piece.span)) is not None:
            if start < span.start:
                yield TimeRange(start, span.start), None
            yield span, checkpoint
            start = span.end
    if start < piece.span.end:
        yield TimeRange(start, piece.span.end), None


def _part(piece: Piece, span: TimeRange, intact: Intact) -> _Part:
    stored = cut(piece.stored, span)
    archived = empty_candles() if piece.archived is None else cut(piece.archived, span)
    if intact is Intact.NEITHER:
        return _Part(span, stored, archived, _no_times(), _no_times())
    if intact is Intact.ARCHIVE:
        stored = archived
    if intact is Intact.BOTH:
        # The archive's own hash holds the source too, the checkpoint's does not.
        flags = to_column(stored, "flags") | to_column(archived, "flags")
        stored = from_columns({**to_columns(archived), "flags": flags})
    return _Part(span, stored, empty_candles(), times_of(stored), _no_times())


def _unvouched_part(scope: Scope, piece: Piece, span: TimeRange, *, is_certain: bool) -> _Part:
    """Return what is to be held where no checkpoint is: each store what it has, but for loads that were cut off."""
    stored = cut(piece.stored, span)
    archived = empty_candles() if piece.archived is None else cut(piece.archived, span)
    extra, missing, other = differing(archived, stored, VALUE_COLUMNS)
    if not is_certain:
        return _Part(span, stored, archived, _no_times(), _no_times())
    agreed = np.setdiff1d(times_of(stored), np.union1d(missing, other))
    slots = Slots.of(scope.series.timeframe, span)
    absent = slots.mask(absence.span for absence in piece.absences if absence.kind not in UNLOADED)
    # Where no checkpoint was, a row may be of a slot and not tell: then the archive does not cover it.
    refused = (absence.span for absence in piece.absences if absence.kind is AbsenceKind.REFUSED)
    absent &= ~slots.mask(part for one in refused for part in subtract(one, piece.covered)) & ~slots.at(extra)
    known = runs(slots.times(slots.at(agreed) | absent), scope.series.timeframe)
    # What differs nobody can judge, and what the archive alone has may be of a lost account: both stay as they are.
    removed = extra[lie_in(extra, piece.unvouched.cut_off)]
    kept = np.union1d(other, np.setdiff1d(extra, removed))
    uncovered = [part for one in piece.unvouched.cut_off if (part := clip(one, span)) is not None]
    return _Part(span, stored, at(archived, kept), agreed, removed, uncovered, known)


def at(candles: pa.Table, times: Times) -> pa.Table:
    """Return the candles that open at one of `times`."""
    if not len(times):
        return empty_candles()
    columns = to_columns(candles)
    mask = np.isin(columns["open_time"], times)
    return from_columns({name: values[mask] for name, values in columns.items()})


def _no_times() -> Times:
    return np.array([], dtype=np.int64)
