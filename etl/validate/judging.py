"""Why a candle is not there: nobody traded, the symbol was halted, or the exchange was silent.

Pure, and a function of what is held alone: judged again, or from another range, the same slot gets the same kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from etl.schema import AbsenceKind
from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.validate.silence import BUCKET, LEAST_CHANCE, Mask, Presence, find_outages, find_runs, usual_silence


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a stretch of the grid holds no candle.

    Attributes:
        evidence: A short sentence with the figures that the kind rests on.
    """

    span: TimeRange
    kind: AbsenceKind
    evidence: str


class _Reason(IntEnum):
    """What a slot's kind rests on."""

    NO_TRADES = 1
    HALTED = 2
    OUTAGE_ALONE = 3
    OUTAGE = 4


_KINDS = {
    _Reason.NO_TRADES: AbsenceKind.NO_TRADES,
    _Reason.HALTED: AbsenceKind.HALTED,
    _Reason.OUTAGE_ALONE: AbsenceKind.OUTAGE,
    _Reason.OUTAGE: AbsenceKind.OUTAGE,
}


def surroundings(silence: TimeRange, timeframe: Timeframe) -> TimeRange:
    """Return what a Presence has to span to judge in `silence`: whole buckets, and one more on either side.

    Args:
        silence: From the last candle before what is judged to the first one after it.
    """
    width_ms = BUCKET * timeframe.ms
    first, end = silence.start_ms // width_ms - 1, -(-silence.end_ms // width_ms) + 1
    return TimeRange.from_ms(max(first, 0) * width_ms, end * width_ms)


def judge(presence: Presence, of: int, absent: Mask, prints_empty: bool) -> list[Verdict]:
    """Tell why one series holds no candle in some slots.

    Args:
        presence: Reaches over the `surroundings` of the silences that the slots lie in.
        of: Which series of `presence`.
        absent: (n_slots,) the slots to judge; `of` holds nothing there.
        prints_empty: Whether the exchange prints a candle for a slot without trades.

    Returns:
        Ascending and disjoint, together exactly `absent`; neighbours that touch are of different kinds.
    """
    silence = usual_silence(presence)
    outage = np.zeros(absent.shape, dtype=np.bool_)
    # Where every slot prints a candle, a missing one is no chance, and the majority is enough.
    starts, ends = find_outages(presence, silence, 0.0) if prints_empty else find_outages(presence, silence)
    for start, end in zip(starts, ends, strict=True):
        outage[start:end] = True
    reasons = np.where(outage, _Reason.OUTAGE, _alone(presence, of, absent, outage, None if prints_empty else silence))
    pieces = _pieces(np.where(absent, reasons, 0))
    return [_verdict(presence, of, silence, slice(start, end), reason) for start, end, reason in pieces]


def _alone(
    presence: Presence, of: int, absent: Mask, outage: Mask, silence: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """Return the reasons of one series' silent runs, of what lies outside of outages: (n_slots,).

    Args:
        silence: From `usual_silence`; None where no silence is usual.
    """
    starts, ends = find_runs(absent | (presence.covered[of] & ~presence.held[of]))
    others_trade = presence.held.sum(axis=0) > presence.held[of]
    others_covered = presence.covered.sum(axis=0) > presence.covered[of]
    is_implausible = np.ones(len(starts), dtype=np.bool_)
    if silence is not None:
        chances = np.where(outage, 0.0, np.repeat(np.log(silence[of]), BUCKET))
        is_implausible = _sums(chances, starts, ends) < LEAST_CHANCE
    is_told = _sums(others_trade, starts, ends) > 0
    of_run = np.select([~is_implausible, is_told], [_Reason.NO_TRADES, _Reason.HALTED], _Reason.OUTAGE_ALONE)
    reasons = np.zeros(absent.shape, dtype=np.int64)
    for start, end, reason in zip(starts, ends, of_run, strict=True):
        reasons[start:end] = reason
    return np.where((reasons == _Reason.HALTED) & ~others_covered, _Reason.OUTAGE_ALONE, reasons)


def _sums(values: NDArray[np.float64] | Mask, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.float64]:
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    return sums[ends] - sums[starts]


def _pieces(reasons: NDArray[np.int64]) -> Iterator[tuple[int, int, _Reason]]:
    """Yield stretches of one kind with the better of their reasons; 0 is no reason."""
    kinds = np.minimum(reasons, _Reason.OUTAGE_ALONE)
    bounds = np.flatnonzero(np.diff(kinds, prepend=0, append=0))
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if kinds[start]:
            yield start, end, _Reason(reasons[start:end].max())


def _verdict(presence: Presence, of: int, silence: NDArray[np.float64], piece: slice, reason: _Reason) -> Verdict:
    start_ms, width_ms = presence.start_ms, presence.timeframe.ms
    span = TimeRange.from_ms(start_ms + piece.start * width_ms, start_ms + piece.stop * width_ms)
    return Verdict(span, _KINDS[reason], _evidence(presence, of, silence, piece, reason))


def _evidence(presence: Presence, of: int, silence: NDArray[np.float64], piece: slice, reason: _Reason) -> str:
    match reason:
        case _Reason.NO_TRADES:
            share = silence[of, piece.start // BUCKET]
            if share > 1 - 2 / BUCKET:
                return f"no candle of it within {BUCKET:,} slots: hardly traded, or halted"
            return f"in quiet hours up to {100 * share:.1f} % of its slots are empty"
        case _Reason.OUTAGE_ALONE:
            return "nothing else of the exchange is loaded that could tell an outage from a halt"
        case _Reason.OUTAGE:
            covered = presence.covered[:, piece]
            bucket = np.arange(piece.start, piece.stop) // BUCKET
            expected = ((1 - silence[:, bucket]) * covered).sum()
            came = np.count_nonzero(presence.held[:, piece])
            n_series = np.count_nonzero(covered.any(axis=1))
            return f"{came:,} candles of {n_series} series came, where {expected:,.0f} were to be expected"
        case _Reason.HALTED:
            others = presence.held[:, piece].copy()
            others[of] = False
            counts = np.count_nonzero(others, axis=1)
            slots, traded = piece.stop - piece.start, np.count_nonzero(others.any(axis=0))
            busiest = int(counts.argmax())
            return f"others traded in {traded:,} of {slots:,} slots, {presence.series[busiest]} in {counts[busiest]:,}"
