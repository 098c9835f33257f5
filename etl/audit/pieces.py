"""Pieces of an audit: all that the stores hold of the range of one archive file, and what of it is intact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.audit.grid import Times, cut, lie_in, times_of
from etl.errors import DataQualityError, StoreError, StoreUnavailableError
from etl.schema import COMPUTED_FLAGS, Flag, empty_candles, to_columns, value_hash
from etl.series import Series, TimeRange
from etl.stores import Stores
from etl.unvouched import Unvouched, find_unvouched
from etl.validate import flag_candles
from etl.warehouse import (
    Absence,
    Checkpoint,
    Lookback,
    covered_ranges,
    read_absences,
    read_candles,
    read_candles_at_once,
    read_checkpoints,
    read_far_before,
    rebuilt_spans,
    released_times,
    retired_ranges,
    revised_times,
    with_retired,
)
from etl.warehouse.merge import lacks_value


@dataclass(frozen=True, slots=True)
class Scope:
    """One series, whose lock is held."""

    stores: Stores
    connection: Connection
    series: Series
    series_id: int

    @property
    def lookback(self) -> Lookback:
        """The span before a candle that its flags depend on."""
        rules = self.stores.settings.rules_of(self.series.exchange)
        return Lookback(self.series.timeframe, rules.lookback, rules.lookback_slots)


class Fault(Enum):
    """Faults of an archive file as a whole."""

    BROKEN = auto()
    OF_ANOTHER_VERSION = auto()


@dataclass(frozen=True, slots=True)
class Piece:
    """All that the stores hold of a range within one archive file.

    Attributes:
        before: What is stored before the range and counts for flags in it.
        stored: What the warehouse holds, and of what was retired what the archive does: CANDLE_SCHEMA, ascending by
            open_time.
        archived: What the archive holds; None if its file has a fault.
        retired: What the archive alone is to hold.
        kept: When candles open that are retired and yet in the warehouse.
        complaint: What is wrong with the file.
        covered: What the file says of the range that it covers; nothing if it has a fault.
        unvouched: What of that no checkpoint vouches for.
        absences: Those that overlap the range, whole.
        checkpoints: Likewise.
        revised: When candles open that have earlier values.
        released: When rows belong that a person has released.
    """

    span: TimeRange
    before: pa.Table
    stored: pa.Table
    archived: pa.Table | None
    retired: Sequence[TimeRange]
    kept: Times
    fault: Fault | None
    complaint: str
    covered: Sequence[TimeRange]
    unvouched: Unvouched
    absences: Sequence[Absence]
    checkpoints: Sequence[Checkpoint]
    revised: Times
    released: Times


def read_piece(scope: Scope, span: TimeRange) -> Piece:
    """Read what the stores hold of `span`, which lies within one archive file."""
    connection, series_id = scope.connection, scope.series_id
    wider = TimeRange(span.start - scope.lookback.near, span.end)
    candles = read_candles_at_once(connection, series_id, wider)
    first = int(np.searchsorted(times_of(candles), span.start_ms))
    archived, covered, fault, complaint = _read_archive(scope, span)
    checkpoints = read_checkpoints(connection, series_id, span)
    vouched = covered_ranges(connection, series_id)
    stored, retired = candles.slice(first), retired_ranges(connection, series_id, span)
    at_hand = empty_candles() if archived is None else archived
    return Piece(
        span=span,
        before=_read_before(scope, span.start, candles.slice(0, first)),
        stored=with_retired(connection, series_id, span, stored, lambda part: cut(at_hand, part)),
        archived=archived,
        retired=retired,
        kept=times_of(stored)[lie_in(times_of(stored), retired)],
        fault=fault,
        complaint=complaint,
        covered=covered,
        unvouched=find_unvouched(scope.stores, scope.series, covered, vouched),
        absences=read_absences(connection, series_id, span),
        checkpoints=checkpoints,
        revised=revised_times(connection, series_id, span),
        released=released_times(connection, series_id, scope.series.timeframe, span),
    )


def read_stored(scope: Scope, span: TimeRange) -> pa.Table:
    """Return what the warehouse holds of `span`, and of what was retired what the archive does, if it can be read."""
    return _with_archived(scope, span, read_candles(scope.connection, scope.series_id, span))


def _read_before(scope: Scope, moment: datetime, stored: pa.Table) -> pa.Table:
    lookback, read = scope.lookback, partial(_read_archived, scope)
    near = _with_archived(scope, TimeRange(moment - lookback.near, moment), stored)
    if lookback.suffices(near):
        return near
    return pa.concat_tables([read_far_before(scope.connection, scope.series_id, lookback, moment, read), near])


def _with_archived(scope: Scope, span: TimeRange, stored: pa.Table) -> pa.Table:
    return with_retired(scope.connection, scope.series_id, span, stored, partial(_read_archived, scope))


def _read_archived(scope: Scope, part: TimeRange) -> pa.Table:
    archived, *_ = _read_archive(scope, part)
    return empty_candles() if archived is None else archived


def _read_archive(scope: Scope, span: TimeRange) -> tuple[pa.Table | None, Sequence[TimeRange], Fault | None, str]:
    try:
        archived, covered = scope.stores.archive.read_covered(scope.series, span)
    except StoreUnavailableError:
        raise  # which says nothing of the file
    except DataQualityError as error:
        return None, (), Fault.OF_ANOTHER_VERSION, error.message
    except StoreError as error:
        return None, (), Fault.BROKEN, error.message
    if (np.diff(times_of(archived)) <= 0).any():
        return None, (), Fault.BROKEN, "the archive's file has candles twice or out of order"
    return archived, covered, None, ""


def right_flags(scope: Scope, piece: Piece, candles: pa.Table) -> NDArray[np.int16]:
    """Return what the flags of a piece's candles must be: those of rules computed again, those of states as recorded.

    Args:
        candles: What the warehouse holds of the piece, or is to hold.
    """
    rules = scope.stores.settings.rules_of(scope.series.exchange)
    around = pa.concat_tables([piece.before, candles])
    splits_ms = scope.stores.settings.splits_of(scope.series)
    found = flag_candles(around, scope.series.timeframe, rules, splits_ms)
    bits = found[piece.before.num_rows :] & np.int16(COMPUTED_FLAGS)
    columns = to_columns(candles)
    times, states = columns["open_time"], columns["flags"]
    is_revised = np.isin(times, piece.revised)
    is_released = np.isin(times, piece.released) & ((states & Flag.RELEASED) != 0)
    if states.any():
        for span in rebuilt_spans(scope.connection, scope.series_id):
            inside = (times >= span.start_ms) & (times < span.end_ms)
            is_revised |= inside & ((states & Flag.REVISED) != 0)
            is_released |= inside & ((states & Flag.RELEASED) != 0)
    # No other record tells of a value that was dropped, but where one was there is none.
    is_dropped = lacks_value(columns) & ((states & Flag.VALUE_DROPPED) != 0)
    bits = bits | np.where(is_dropped, np.int16(Flag.VALUE_DROPPED), np.int16(0))
    # The file that had another value is not kept: the flag is believed.
    bits = bits | states & np.int16(Flag.BULK_DIFFERED)
    bits = bits | np.where(is_revised, np.int16(Flag.REVISED), np.int16(0))
    right: NDArray[np.int16] = bits | np.where(is_released, np.int16(Flag.RELEASED), np.int16(0))
    return right


class Intact(Enum):
    """The store that holds what a checkpoint vouches for; of what was retired, the archive stands for both."""

    BOTH = auto()
    WAREHOUSE = auto()
    ARCHIVE = auto()
    NEITHER = auto()


@dataclass(slots=True)
class Verdicts:
    """The intact store of each checkpoint: read and hashed when it is asked for, once."""

    scope: Scope
    known: dict[TimeRange, Intact] = field(default_factory=dict)

    def of(self, checkpoint: Checkpoint, piece: Piece) -> Intact:
        """Return which store holds what `checkpoint`, which overlaps `piece`, vouches for."""
        span = checkpoint.time_range
        if span not in self.known:
            self.known[span] = self._judge(checkpoint, piece)
        return self.known[span]

    def _judge(self, checkpoint: Checkpoint, piece: Piece) -> Intact:
        span = checkpoint.time_range
        is_inside = piece.span.start <= span.start and span.end <= piece.span.end
        if is_inside:
            archived = None if piece.archived is None else cut(piece.archived, span)
        else:
            archived, *_ = _read_archive(self.scope, span)
        if checkpoint.is_retired:
            is_proved = archived is not None and value_hash(archived) == checkpoint.value_hash
            return Intact.BOTH if is_proved else Intact.NEITHER
        scope = self.scope
        stored = cut(piece.stored, span) if is_inside else read_candles(scope.connection, scope.series_id, span)
        return which_is_intact(checkpoint, stored, archived)


def which_is_intact(checkpoint: Checkpoint, stored: pa.Table, archived: pa.Table | None) -> Intact:
    """Return which of what both stores hold of a checkpoint's range is what it vouches for.

    Where both are equal and as many as it counts, it is the hash that is wrong. Without a hash the count must do, and
    where that does not tell which of two is right, neither is.
    """
    mine = value_hash(stored)
    theirs = None if archived is None else value_hash(archived)
    count, is_hashed = checkpoint.rows, bool(checkpoint.value_hash)
    is_mine = mine == checkpoint.value_hash if is_hashed else stored.num_rows == count
    if mine == theirs:
        return Intact.BOTH if is_mine or stored.num_rows == count else Intact.NEITHER
    is_theirs = archived is not None and (theirs == checkpoint.value_hash if is_hashed else archived.num_rows == count)
    if is_mine == is_theirs:
        return Intact.NEITHER
    return Intact.WAREHOUSE if is_mine else Intact.ARCHIVE


def differing(ones: pa.Table, others: pa.Table, names: Sequence[str]) -> tuple[Times, Times, Times]:
    """Hold two tables of candles against each other.

    Returns:
        When those open that only the first has, that only the second has, and that differ in one of the columns.
    """
    a, b = to_columns(ones), to_columns(others)
    common, in_a, in_b = np.intersect1d(a["open_time"], b["open_time"], assume_unique=True, return_indices=True)
    differs = np.zeros(len(common), dtype=np.bool_)
    for name in names:
        before, after = a[name][in_a], b[name][in_b]
        differs |= (before != after) & ~(np.isnan(before) & np.isnan(after))
    only_a = np.setdiff1d(a["open_time"], common, assume_unique=True)
    only_b = np.setdiff1d(b["open_time"], common, assume_unique=True)
    return only_a, only_b, common[differs]
