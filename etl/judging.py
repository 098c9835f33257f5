"""Judging absences: what the warehouse holds of an exchange says why a candle of one of its series is not there.

A load leaves behind what was silent. Once it has settled, and whenever something is loaded beside it, it is judged: the
kinds depend on what is held alone, not on who was loaded first.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from etl.errors import ClassificationError
from etl.findings import Findings
from etl.presence import (
    SILENT,
    Failures,
    Member,
    is_silent,
    mask_of,
    read_members,
    read_presence,
    settled_until,
)
from etl.series import Series, TimeRange, united
from etl.settings import Settings
from etl.spelling import counted
from etl.stores import Stores
from etl.timeframe import Timeframe
from etl.validate import surroundings
from etl.validate.runs import BUCKET
from etl.verdicts import tell
from etl.warehouse import (
    LoggedLoad,
    absences_before_first,
    days_of,
    lock_series,
    mark_judged,
    mark_unjudged,
    read_columns,
    record_verdicts,
    refresh_quality,
    unjudged_loads,
)

log = logging.getLogger(__name__)

_TOGETHER = 2  # pieces; the server has as much to do as we have
_MAX_SLOTS_PER_PIECE = 31 * BUCKET  # a month of `1m`; of any other timeframe as many slots


@dataclass(frozen=True, slots=True)
class Judged:
    """Outcome of judging the absences around loads.

    Attributes:
        changes: How many stretches are of another kind now.
        failures: By series that cannot be judged. Their loads count as unjudged, so that the next run tries again.
    """

    changes: int
    failures: Mapping[Series, ClassificationError]


def judge_loads(stores: Stores, exchange: str | None, run: str) -> Judged:
    """Judge the absences around all that was loaded since this was last done.

    A series that cannot be judged stops no other: its error is logged with its traceback and returned.

    Args:
        exchange: Of which exchange; None for all.
        run: What to call this run where a change of kind is recorded.

    Raises:
        StoreError: The warehouse refuses or went away; what is not judged will be.
    """
    with stores.warehouse.begin() as connection:
        loads = unjudged_loads(connection, exchange)
    by_market: defaultdict[tuple[str, Timeframe], list[LoggedLoad]] = defaultdict(list)
    for load in loads:
        by_market[load.series.exchange, load.series.timeframe].append(load)
    changes = 0
    failed = Failures()
    for (name, timeframe), group in by_market.items():
        with stores.warehouse.begin() as connection:
            members = read_members(connection, name, timeframe)
            reach = united(surroundings(span, timeframe) for span in _concerned(connection, members, group))
        with failed.contained({load.series for load in group}):
            pieces = [piece for span in reach for piece in span.windows(_MAX_SLOTS_PER_PIECE * timeframe.ms)]
            with ThreadPoolExecutor(_TOGETHER) as threads:
                changes += sum(threads.map(partial(_judge_market, stores, members, run, failed), pieces))
        with stores.warehouse.begin() as connection:
            mark_judged(connection, group)
            for series in failed.by_series:
                if (series.exchange, series.timeframe) == (name, timeframe):
                    mark_unjudged(connection, series, reach)
    if changes:
        verb = "is" if changes == 1 else "are"
        log.info("%s of absent candles %s of another kind now", counted(changes, "stretch", "stretches"), verb)
    return Judged(changes, failed.by_series)


def _concerned(connection: Connection, members: Iterable[Member], group: Iterable[LoggedLoad]) -> Iterator[TimeRange]:
    """Yield where the loads may change kinds: where they are, and in what lay before the first candle until now."""
    by_series = {member.series: member for member in members}
    for load in group:
        yield load.time_range
        member = by_series[load.series]
        since_ms = member.known_from_ms
        if since_ms is not None and load.time_range.start_ms <= since_ms < load.time_range.end_ms:
            for absence in absences_before_first(connection, member.series_id, load.time_range.end):
                if absence.kind in SILENT:
                    yield absence.span


@dataclass(frozen=True, slots=True)
class _Silence:
    """Silence of a series that is to be judged.

    Attributes:
        start_ms: (n,) of what was asked for after it had settled: ascending, disjoint.
        end_ms: (n,) exclusive.
        hull: From the last candle before them to the first one after them.
    """

    member: Member
    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    hull: TimeRange

    @property
    def series(self) -> Series:
        """The series that is silent."""
        return self.member.series


def _judge_market(stores: Stores, members: Sequence[Member], run: str, failed: Failures, time_range: TimeRange) -> int:
    """Judge what is silent in `time_range`, of all series of an exchange and timeframe."""
    timeframe = members[0].series.timeframe
    with stores.warehouse.begin() as connection:
        silences = []
        for member in members:
            with failed.contained([member.series]):
                found = _find_silence(connection, stores.settings, member, time_range)
                silences += [] if found is None else [found]
        if not silences:
            return 0
        hull = TimeRange(min(s.hull.start for s in silences), max(s.hull.end for s in silences))
        around = surroundings(hull, timeframe)
        presence = read_presence(connection, stores.settings, members, around, failed, {})
    changes = 0
    for silence in silences:
        if silence.series not in failed.by_series:
            with failed.contained([silence.series]):
                absent = mask_of(around, timeframe, silence.start_ms, silence.end_ms)
                findings = tell(stores.settings, presence, silence.member, absent)
                changes += _record(stores, silence.member, findings, run)
    return changes


def _find_silence(connection: Connection, settings: Settings, member: Member, time_range: TimeRange) -> _Silence | None:
    series, absences = member.series, read_columns(connection, member.series_id, time_range)
    until_ms = settled_until(absences, settings.settle_of(series), series.timeframe)
    is_old = is_silent(absences) & (absences.start_ms < until_ms)
    if not is_old.any():
        return None
    hull = TimeRange.from_ms(int(absences.start_ms.min()), int(absences.end_ms.max()))
    return _Silence(member, absences.start_ms[is_old], until_ms[is_old], hull)


def _record(stores: Stores, member: Member, findings: Findings, run: str) -> int:
    timeframe, settle = member.series.timeframe, stores.settings.settle_of(member.series)
    with stores.warehouse.begin() as connection:
        lock_series(connection, member.series_id)
        changes = record_verdicts(connection, member.series_id, timeframe, findings, settle, run)
        for days in united(days_of(span) for span in changes):
            refresh_quality(connection, member.series_id, timeframe, days)
    return len(changes)
