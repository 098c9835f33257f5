"""Kinds of silences: nobody traded, the symbol was halted, or the exchange was silent.

Pure, and a function of what is held alone: judged again, or from another range, the same slot gets the same kind.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from etl.findings import Findings
from etl.schema import AbsenceKind
from etl.series import TimeRange
from etl.spelling import counted
from etl.timeframe import Timeframe
from etl.validate.lulls import Likely, lull_chance, without_lulls
from etl.validate.printing import habit_chances, is_often_silent
from etl.validate.runs import BUCKET, Mask, Runs, find_runs
from etl.validate.silence import (
    LEAST_CHANCE,
    SILENT_IN_OUTAGE,
    Presence,
    find_outages,
    recurrence,
    usual_silence,
)


class _Reason(IntEnum):
    """The evidence of a slot's kind; of neighbours of one kind the greater is told."""

    NO_TRADES = 1
    HABIT = 2
    HALTED = 3
    OUTAGE_ALONE = 4
    OUTAGE_BESIDE = 5
    OUTAGE = 6
    STATED = 7


_KINDS = {
    _Reason.NO_TRADES: AbsenceKind.NO_TRADES,
    _Reason.HABIT: AbsenceKind.NO_TRADES,
    _Reason.HALTED: AbsenceKind.HALTED,
    _Reason.OUTAGE_ALONE: AbsenceKind.OUTAGE,
    _Reason.OUTAGE_BESIDE: AbsenceKind.OUTAGE,
    _Reason.OUTAGE: AbsenceKind.OUTAGE,
    _Reason.STATED: AbsenceKind.NO_TRADES,
}

_KINDS_BY_CODE = {int(reason): kind for reason, kind in _KINDS.items()}
_LEAST_OF_KIND = np.array(
    [0, *(min(other for other in _Reason if _KINDS[other] is _KINDS[reason]) for reason in _Reason)]
)
"""By reason, the least of those of its kind; 0 is no reason. What is stated is not told of its neighbours."""
_LEAST_OF_KIND[_Reason.STATED] = _Reason.STATED

_USUAL_AT_LEAST = 0.5
"""While an exchange comes back from an outage, less than half of what is usual is traded: who is silent still waits."""

_LEFT_OUT = "; the imported file is taken to leave out slots without trades"
"""Told where the exchange prints them, and the file is not shown to."""

_LEAST_TOLD = np.log(1e-15)
"""Less likely is not told apart: the habits are not known that well."""


def surroundings(silence: TimeRange, timeframe: Timeframe) -> TimeRange:
    """Return what a Presence has to span to judge in `silence`: whole buckets, and one more on either side.

    Args:
        silence: From the last candle before what is judged to the first one after it.
    """
    width_ms = BUCKET * timeframe.ms
    first, end = silence.start_ms // width_ms - 1, -(-silence.end_ms // width_ms) + 1
    return TimeRange.from_ms(max(first, 0) * width_ms, end * width_ms)


def judge(presence: Presence, of: int, absent: Mask, prints_empty: bool) -> Findings:
    """Tell why one series holds no candle in some slots.

    Args:
        presence: Reaches over the `surroundings` of the silences that the slots lie in.
        of: Which series of `presence`.
        absent: (n_slots,) the slots to judge; `of` holds nothing there.
        prints_empty: Whether the exchange prints a candle for a slot without trades.

    Returns:
        Ascending and disjoint, together exactly `absent`; neighbours that touch are of different kinds, or a file
        states the silence of one alone.
    """
    silence = usual_silence(presence)
    stated = None if presence.stated is None else absent & presence.stated[of]
    presence, habit = _only_likely(presence, silence)
    is_chance = _chance_counts(presence, of, absent, prints_empty)
    reasons, chances = np.zeros(absent.shape, dtype=np.int64), np.full(absent.shape, -np.inf)
    for is_printed in set((~is_chance[absent]).tolist()):
        outage, of_lulls = _outage(presence, silence, stated, is_printed)
        told, likely = _of_runs(presence, of, absent, outage, None if is_printed else silence)
        likely = np.maximum(likely, np.where(told == _Reason.OUTAGE, of_lulls, -np.inf))
        here = is_chance != is_printed
        reasons[here], chances[here] = told[here], likely[here]
    if stated is not None:
        # A halt is no better explanation of it; only that the exchange as a whole was silent beyond chance.
        reasons[stated & (reasons != _Reason.OUTAGE)] = _Reason.STATED
    starts, ends, best = _pieces(np.where(absent, reasons, 0))
    evidence, usual = [], {}
    for start, end, code in zip(starts.tolist(), ends.tolist(), best.tolist(), strict=True):
        bucket, piece = start // BUCKET, slice(start, end)
        if code not in (_Reason.NO_TRADES, _Reason.STATED):
            chance = chances[start] if is_chance[start] else None
            evidence.append(_evidence(presence, of, silence, piece, _Reason(code), chance))
        else:
            # It says the same of all in a bucket, which are many.
            if (bucket, code) not in usual:
                usual[bucket, code] = _evidence(presence, of, silence, piece, _Reason(code), None)
            evidence.append(usual[bucket, code])
    if habit is not None and prints_empty:
        is_other = best != _Reason.STATED
        for each in np.flatnonzero(is_other & is_chance[starts]).tolist():
            evidence[each] += _LEFT_OUT
        for each in np.flatnonzero(is_other & ~is_chance[starts] & (habit[of, starts] < 0)).tolist():
            evidence[each] += _such(habit[of, starts[each]])
    start_ms, end_ms = (presence.start_ms + slots.astype(np.int64) * presence.timeframe.ms for slots in (starts, ends))
    return Findings(start_ms, end_ms, [_KINDS_BY_CODE[code] for code in best.tolist()], evidence)


def _only_likely(presence: Presence, silence: NDArray[np.float64]) -> tuple[Presence, NDArray[np.float64] | None]:
    """Take back that slots were left out of a file in silences that are too long to be a lack of trades.

    Not so if the series is often silent there: then silences come in clusters, and are judged by those around.

    Returns:
        The presence, and how likely the silences are in which that was taken back: (n_series, n_slots) natural
        logarithms, 0 elsewhere; None if the presence knows of no file.
    """
    if presence.unprinted is None:
        return presence, None
    habit = habit_chances(presence, silence)
    is_unlikely = presence.unprinted & (habit < LEAST_CHANCE) & ~is_often_silent(presence)
    return replace(presence, unprinted=presence.unprinted & ~is_unlikely), np.where(is_unlikely, habit, 0.0)


def _chance_counts(presence: Presence, of: int, absent: Mask, prints_empty: bool) -> Mask:
    """Return where a missing candle may be chance, as nobody traded: (n_slots,).

    That is in the whole of a silence if its rows came from where empty slots are not printed at one of its ends.
    """
    if not prints_empty or presence.unprinted is None:
        return np.full(absent.shape, not prints_empty)
    is_chance = np.zeros_like(absent)
    for start, end in zip(*find_runs(absent | (presence.covered[of] & ~presence.held[of])), strict=True):
        is_chance[start:end] = presence.unprinted[of, start:end].any()
    return is_chance


def _outage(presence: Presence, silence: NDArray[np.float64], stated: Mask | None, prints_empty: bool) -> Likely:
    """Return where the exchange as a whole was silent, and how likely that is in a lull: as `without_lulls`.

    Where every slot prints a candle, a missing one is no chance, and the majority is enough. Not so of a slot that a
    file states to be silent, or is not shown to print: its writer has left out what the exchange printed. It has no say
    in an outage of the others, and is in one itself only if that is beyond chance.

    Args:
        stated: (n_slots,) where a file states the silence of the series that is judged.
    """
    if not prints_empty:
        outage = _mask(presence, find_outages(presence, silence))
        expected = (np.repeat(1 - silence, BUCKET, axis=1) * presence.covered).sum(axis=0)
        usual = _all_silent(presence, silence, slice(0, len(outage)))
        return without_lulls(outage, presence.held, presence.covered, expected, usual)
    no_chance = np.full(presence.held.shape[1], -np.inf)
    if presence.stated is None and presence.unprinted is None:
        return _mask(presence, find_outages(presence, silence, 0.0)), no_chance
    said = np.zeros_like(presence.held)
    for mask in (presence.stated, presence.unprinted):
        said |= False if mask is None else mask & ~presence.held
    by_majority = find_outages(replace(presence, covered=presence.covered & ~said), silence, 0.0)
    outage = _mask(presence, by_majority)
    if stated is not None and stated.any():
        outage = np.where(stated, _mask(presence, find_outages(presence, silence)), outage)
    return outage, no_chance


def _all_silent(presence: Presence, silence: NDArray[np.float64], piece: slice) -> NDArray[np.float64]:
    """Return how likely all are silent in each slot of a piece by what is usual: natural logarithms."""
    bucket = np.arange(piece.start, piece.stop) // BUCKET
    chances: NDArray[np.float64] = (np.log(silence)[:, bucket] * presence.covered[:, piece]).sum(axis=0)
    return chances


def _mask(presence: Presence, bounds: Runs) -> Mask:
    mask = np.zeros(presence.held.shape[1], dtype=np.bool_)
    for start, end in zip(*bounds, strict=True):
        mask[start:end] = True
    return mask


def _of_runs(
    presence: Presence, of: int, absent: Mask, outage: Mask, silence: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the reasons of one series' silent runs, and how likely such runs are: (n_slots,) each.

    Args:
        outage: Where the vote is for an outage. It does not count in a run if the exchange is as silent at other times.
        silence: From `usual_silence`; None where no silence is usual.

    Returns:
        The likelihoods are natural logarithms.
    """
    silent = absent | (presence.covered[of] & ~presence.held[of])
    starts, ends = find_runs(silent)
    trading, asked = presence.held.sum(axis=0), presence.covered.sum(axis=0)
    others_trade, others_covered = trading > presence.held[of], asked > presence.covered[of]
    any_trades, any_covered = trading > 0, asked > 0
    is_habit, is_told, is_beside = np.zeros((3, len(starts)), dtype=np.bool_)
    is_implausible = np.ones(len(starts), dtype=np.bool_)
    chances, outage = np.full(absent.shape, -np.inf), outage.copy()
    if silence is not None:
        for each in np.flatnonzero(_sums(outage, starts, ends)).tolist():
            run = slice(starts[each], ends[each])
            length = _longest(outage[run] & ~any_trades[run])
            chances[run] = recurrence(length, run, any_trades, any_covered) if length else -np.inf
            if chances[run.start] > LEAST_CHANCE:
                outage[run], is_habit[each] = False, True
            elif not outage[run].all() and not _are_others_there(
                presence, of, silence, run, ~outage[run], _USUAL_AT_LEAST
            ):
                outage[run] = True
        by_habit = _sums(np.where(outage, 0.0, np.repeat(np.log(silence[of]), BUCKET)), starts, ends)
        is_implausible = by_habit < LEAST_CHANCE
    for each in np.flatnonzero(is_implausible).tolist():
        run = slice(starts[each], ends[each])
        is_told[each], is_beside[each] = others_trade[run].any(), others_covered[run].any()
        if silence is not None:
            is_told[each] &= _are_others_there(presence, of, silence, run, ~outage[run])
            beside = others_trade if is_told[each] else None
            length = int(np.count_nonzero(~outage[run]))
            chance = max(
                by_habit[each],
                recurrence(length, run, presence.held[of], presence.covered[of], beside),
                lull_chance(run, length, presence.held[of], presence.covered[of]),
            )
            chances[run] = np.where(outage[run], chances[run], chance)
            is_habit[each] = chance > LEAST_CHANCE
    is_implausible &= ~is_habit
    which = [is_habit, ~is_implausible, is_told, is_beside]
    reasons = [_Reason.HABIT, _Reason.NO_TRADES, _Reason.HALTED, _Reason.OUTAGE_BESIDE]
    by_slot = np.zeros(absent.shape, dtype=np.int64)
    by_slot[silent] = np.repeat(np.select(which, reasons, _Reason.OUTAGE_ALONE), ends - starts)
    by_slot[(by_slot == _Reason.HALTED) & ~others_covered] = _Reason.OUTAGE_ALONE
    by_slot[outage] = _Reason.OUTAGE
    return by_slot, chances


def _are_others_there(
    presence: Presence,
    of: int,
    silence: NDArray[np.float64],
    run: slice,
    inside: Mask,
    least: float = 1 - SILENT_IN_OUTAGE,
) -> bool:
    """Return whether the others trade more than a share of what is usual, in some slots of a run.

    Args:
        inside: (n_run_slots,) those slots.
        least: That share; of an outage if it is not given.
    """
    bucket = np.arange(run.start, run.stop)[inside] // BUCKET
    others = np.arange(len(presence.series)) != of
    covered, held = (mask[others, run][:, inside] for mask in (presence.covered, presence.held))
    expected = ((1 - silence[others][:, bucket]) * covered).sum()
    return bool(np.count_nonzero(held) > least * expected)


def _longest(mask: Mask) -> int:
    starts, ends = find_runs(mask)
    return int((ends - starts).max(initial=0))


def _sums(values: NDArray[np.float64] | Mask, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.float64]:
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    return sums[ends] - sums[starts]


def _pieces(reasons: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """Return stretches of one kind, where they begin and end, with the better of their reasons; 0 is no reason."""
    kinds = _LEAST_OF_KIND[reasons]
    bounds = np.flatnonzero(np.diff(kinds, prepend=0, append=0))
    if not bounds.size:
        return bounds, bounds, bounds
    best = np.maximum.reduceat(reasons, bounds[:-1])
    is_one = best > 0
    return bounds[:-1][is_one], bounds[1:][is_one], best[is_one]


def _evidence(
    presence: Presence, of: int, silence: NDArray[np.float64], piece: slice, reason: _Reason, chance: float | None
) -> str:
    """Say what the kind rests on.

    Args:
        chance: Natural logarithm of how likely such a silence is; None if it is no matter of chance.
    """
    match reason:
        case _Reason.NO_TRADES:
            share = silence[of, piece.start // BUCKET]
            if share > 1 - 2 / BUCKET:
                return f"no candle of it within {BUCKET:,} slots: hardly traded, or halted"
            return f"in quiet hours up to {100 * share:.1f} % of its slots are empty"
        case _Reason.STATED:
            return "an imported file has a row of it without a price: nothing was traded"
        case _Reason.HABIT:
            return f"a silence as long has {_words(chance)} by those around: too likely for a halt or an outage"
        case _Reason.OUTAGE_ALONE:
            return f"nothing else of the exchange is loaded that could tell an outage from a halt{_such(chance)}"
        case _Reason.OUTAGE_BESIDE:
            expected, _, n_series = _expected(presence, silence, piece)
            came = int(np.count_nonzero(presence.held[:, piece]))
            return (
                f"{counted(came, 'candle')} of {n_series} series came, where {expected:,.0f} were to be expected, "
                f"too few to tell an outage from a halt{_such(chance)}"
            )
        case _Reason.OUTAGE:
            expected, asked, n_series = _expected(presence, silence, piece)
            came = int(np.count_nonzero(presence.held[:, piece]))
            told = f"{counted(came, 'candle')} of {n_series} series came, where {expected:,.0f} were to be expected"
            if chance is None:
                return told
            by_usual = _of_so_few(came, expected, asked) if came else float(_all_silent(presence, silence, piece).sum())
            return f"{told}{_such(max(chance, by_usual))}"
        case _Reason.HALTED:
            others = presence.held[:, piece].copy()
            others[of] = False
            counts = np.count_nonzero(others, axis=1)
            slots, traded = piece.stop - piece.start, np.count_nonzero(others.any(axis=0))
            busiest = int(counts.argmax())
            of_slots = counted(slots, "slot")
            told = f"others traded in {traded:,} of {of_slots}, {presence.series[busiest]} in {counts[busiest]:,}"
            return f"{told}{_such(chance)}"


def _expected(presence: Presence, silence: NDArray[np.float64], piece: slice) -> tuple[float, int, int]:
    """Return how many candles were to be expected in the stretch, of how many slots, and of how many series."""
    covered = presence.covered[:, piece]
    bucket = np.arange(piece.start, piece.stop) // BUCKET
    expected = float(((1 - silence[:, bucket]) * covered).sum())
    return expected, int(np.count_nonzero(covered)), int(np.count_nonzero(covered.any(axis=1)))


def _of_so_few(came: int, expected: float, asked: int) -> float:
    """Return a bound of the chance that so few candles come: natural logarithm (Hoeffding, for unlike series)."""
    share, usual = came / asked, expected / asked
    if share >= usual:
        return 0.0
    few = share * np.log(share / usual) if share else 0.0
    return float(-asked * (few + (1 - share) * np.log((1 - share) / (1 - usual))))


def _such(chance: float | None) -> str:
    return "" if chance is None else f"; such a silence has {_words(chance)}"


def _words(chance: float | None) -> str:
    if chance is None or chance < _LEAST_TOLD:
        return "a chance below 1e-15"
    return f"a chance of {np.exp(chance):.1g}"
