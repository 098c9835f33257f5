"""Reasons why one series is silent: its settings, its listing and the market around it, in that order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.findings import Finding, Findings
from etl.presence import (
    Failures,
    Member,
    Row,
    mark_files,
    mask_of_spans,
    read_members,
    read_presence,
    read_row,
    slots_before,
    traits_of,
)
from etl.schema import AbsenceKind
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.timeframe import from_ms
from etl.validate import Presence, judge, surroundings
from etl.validate.absences import Explained
from etl.validate.runs import find_runs
from etl.warehouse import Asking

log = logging.getLogger(__name__)

_WORTH_READING = 100
"""Absences for each series of the market: of fewer it is cheaper to record them as pending and to judge them later,
together with those of the other series."""


def tell(settings: Settings, presence: Presence, member: Member, absent: NDArray[np.bool_]) -> Findings:
    """Return why a series holds no candle in some slots: ascending, disjoint, together exactly those slots.

    Args:
        presence: Reaches over the `surroundings` of the silences that the slots lie in.
        absent: (n_slots,) asked for after they had settled; `presence` holds nothing of the series there.
    """
    series, absent = member.series, absent.copy()
    told = [*_around_splits(settings, presence, series, absent), *_before_first(presence, member, absent)]
    findings = [Finding(*each) for each in told]
    if not absent.any():
        return Findings.of(sorted(findings, key=lambda one: one.span.start))
    of = list(presence.series).index(series.symbol)
    judged = judge(presence, of, absent, traits_of(settings, series.exchange).prints_empty)
    return judged if not told else Findings.of(sorted([*findings, *judged], key=lambda one: one.span.start))


@dataclass(frozen=True, slots=True)
class Arrival:
    """The outcome of a load's fetch, before it is written.

    Attributes:
        time_range: All of which was asked for.
        candles: SOURCED_COLUMNS of its candles: (n,) each, ascending by open_time.
        stated_ms: When its slots open that a file states to be silent.
        found: All its absences, ascending.
    """

    series: Series
    time_range: TimeRange
    candles: Mapping[str, NDArray[Any]]
    stated_ms: Sequence[int]
    found: Sequence[Finding]
    asking: Asking


def judged_at_once(connection: Connection, settings: Settings, arrival: Arrival) -> Sequence[Finding]:
    """Return what a first load of a range has found, with its silences judged by what is held at this moment.

    It spares the warehouse from writing most of them twice. `judge_loads` judges them again, by what is held after all.

    Args:
        arrival: Of a range in which no absence was known before.
    """
    series, found, asking = arrival.series, arrival.found, arrival.asking
    times_ms: NDArray[np.int64] = arrival.candles["open_time"]
    timeframe = series.timeframe
    if sum(one.kind is AbsenceKind.PENDING for one in found) < _WORTH_READING:
        return found
    members = read_members(connection, series.exchange, timeframe)
    old = timeframe.floor(asking.asked_at - asking.settle)
    silent = [one for one in found if one.kind is AbsenceKind.PENDING and one.span.end <= old]
    if len(silent) < _WORTH_READING * len(members):
        return found
    around, failed = surroundings(arrival.time_range, timeframe), Failures()
    with failed.contained([series]):
        refused = [one.span for one in found if one.kind is AbsenceKind.REFUSED]
        sent = [*times_ms[:1].tolist(), *(span.start_ms for span in refused[:1])]
        (own,) = (member for member in members if member.series == series)
        since = [own.known_from_ms] if own.known_from_ms is not None else []
        own = replace(own, known_from_ms=min([*since, *sent], default=None))
        row = read_row(connection, settings, own, around, is_arriving=True)
        here, absent = (
            mask_of_spans(around, timeframe, [arrival.time_range]),
            mask_of_spans(around, timeframe, [one.span for one in silent]),
        )
        came, is_of_file, is_empty = np.zeros((3, len(here)), dtype=np.bool_)
        slots = (times_ms - around.start_ms) // timeframe.ms
        came[slots] = True
        if traits_of(settings, series.exchange).prints_empty:
            is_of_file[slots], is_empty[slots] = mark_files(settings, series.exchange, arrival.candles)
        came |= mask_of_spans(around, timeframe, refused)
        asked = np.where(here, came | absent, row.asked)
        asked[: slots_before(around.start_ms, timeframe, own.known_from_ms, len(asked))] = False
        stated = row.stated.copy()
        stated[(np.asarray(arrival.stated_ms, dtype=np.int64) - around.start_ms) // timeframe.ms] = True
        own_files = (np.where(here, is_of_file, row.is_of_file), np.where(here, is_empty, row.is_empty))
        row = Row(np.where(here, came, row.came), asked, stated, *own_files)
        presence = read_presence(connection, settings, members, around, failed, {series: row})
        told = [one for one in found if one.kind is not AbsenceKind.PENDING or one.span.end > old]
        judged = tell(settings, presence, own, absent)
    return found if failed.by_series else sorted([*told, *judged], key=lambda one: one.span.start)


def _around_splits(
    settings: Settings, presence: Presence, series: Series, absent: NDArray[np.bool_]
) -> Iterator[Explained]:
    """Yield what is absent between two coins of one name, and take it out of `absent`: an end, and a new start."""
    start_ms, width_ms = presence.start_ms, presence.timeframe.ms
    for split_ms in settings.splits_of(series):
        slot = (split_ms - start_ms) // width_ms
        if not 0 <= slot <= len(absent):
            continue
        first, end = slot, slot
        while first > 0 and absent[first - 1]:
            first -= 1
        while end < len(absent) and absent[end]:
            end += 1
        moment = f"{from_ms(split_ms):%Y-%m-%d %H:%M}"
        for kind, part, what in (
            (AbsenceKind.DELISTED, slice(first, slot), "the coin before it is traded no more"),
            (AbsenceKind.NOT_LISTED, slice(slot, end), "no candle of the new coin came before"),
        ):
            if part.start < part.stop:
                absent[part] = False
                span = TimeRange.from_ms(start_ms + part.start * width_ms, start_ms + part.stop * width_ms)
                yield span, kind, f"another coin has the symbol since {moment} (split in [series]); {what}"


def _before_first(presence: Presence, member: Member, absent: NDArray[np.bool_]) -> Iterator[Explained]:
    """Yield what is absent before the series is known to be listed, and take it out of `absent`: it is no halt."""
    before = absent[: slots_before(presence.start_ms, presence.timeframe, member.known_from_ms, len(absent))]
    told = "no candle of it has come"
    if member.known_from_ms is not None:
        told = f"no candle of it came before the first, at {from_ms(member.known_from_ms):%Y-%m-%d %H:%M}"
    for start, end in zip(*find_runs(before), strict=True):
        bounds = (presence.start_ms + int(slot) * presence.timeframe.ms for slot in (start, end))
        yield TimeRange.from_ms(*bounds), AbsenceKind.NO_TRADES, f"{told}: not traded, or not listed yet"
    before[:] = False
