"""Judging absences: what the warehouse holds of an exchange says why a candle of one of its series is not there.

A load leaves behind what was silent. Once it has settled, and whenever something is loaded beside it, it is judged: the
kinds depend on what is held alone, not on who was loaded first.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from etl.errors import ClassificationError, ConfigError, StoreError
from etl.exchanges import ANY
from etl.schema import AbsenceKind
from etl.series import Series, TimeRange, clip, united
from etl.settings import Settings
from etl.stores import Stores
from etl.timeframe import Timeframe, from_ms
from etl.validate import Presence, judge, surroundings
from etl.validate.absences import Explained
from etl.validate.silence import BUCKET, find_runs
from etl.warehouse import (
    Absence,
    Finding,
    LoggedLoad,
    absences_before_first,
    covered_ranges,
    days_of,
    known_from,
    known_series,
    lock_series,
    mark_judged,
    mark_unjudged,
    read_absences,
    read_open_times,
    read_retired_times,
    read_stated,
    record_verdicts,
    refresh_quality,
    unjudged_loads,
)

log = logging.getLogger(__name__)

_SILENT = frozenset({AbsenceKind.PENDING, AbsenceKind.NO_TRADES, AbsenceKind.OUTAGE, AbsenceKind.HALTED})
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
    failed = _Failures()
    for (name, timeframe), group in by_market.items():
        with stores.warehouse.begin() as connection:
            members = _members(connection, name, timeframe)
            reach = united(surroundings(span, timeframe) for span in _concerned(connection, members, group))
        with failed.contained({load.series for load in group}):
            pieces = [piece for span in reach for piece in span.windows(_MAX_SLOTS_PER_PIECE * timeframe.ms)]
            with ThreadPoolExecutor(_TOGETHER) as threads:
                changes += sum(threads.map(partial(_judge_market, stores, name, members, run, failed), pieces))
        with stores.warehouse.begin() as connection:
            mark_judged(connection, group)
            for series in failed.by_series:
                if (series.exchange, series.timeframe) == (name, timeframe):
                    mark_unjudged(connection, series, reach)
    if changes:
        log.info("%d stretches of absent candles are of another kind now", changes)
    return Judged(changes, failed.by_series)


@dataclass(slots=True)
class _Failures:
    """The series that cannot be judged, each with its first error."""

    by_series: dict[Series, ClassificationError] = field(default_factory=dict)

    @contextmanager
    def contained(self, concerned: Iterable[Series]) -> Iterator[None]:
        """Log what goes wrong and note it for the series concerned; errors of the warehouse stop everything."""
        try:
            yield
        except (StoreError, SQLAlchemyError, psycopg.Error):
            raise
        except Exception as error:
            for series in concerned:
                message = (
                    f"absences cannot be classified: {type(error).__name__}: {error}; "
                    "the candles are stored, and every run tries again; report this with the traceback in the log"
                )
                log.exception("%s: absences cannot be classified", series)
                self.by_series.setdefault(series, ClassificationError(message, series=series))


@dataclass(frozen=True, slots=True)
class _Member:
    """A series of the exchange and timeframe at hand.

    Attributes:
        known_from_ms: Since when it is known to be listed; None if it is not.
    """

    series: Series
    series_id: int
    known_from_ms: int | None


def _members(connection: Connection, exchange: str, timeframe: Timeframe) -> list[_Member]:
    known = known_from(connection, exchange, timeframe)
    return [
        _Member(series, series_id, known.get(series_id))
        for series, series_id in known_series(connection).items()
        if (series.exchange, series.timeframe) == (exchange, timeframe)
    ]


def _concerned(connection: Connection, members: Iterable[_Member], group: Iterable[LoggedLoad]) -> Iterator[TimeRange]:
    """Yield where the loads may change kinds: where they are, and in what lay before the first candle until now."""
    by_series = {member.series: member for member in members}
    for load in group:
        yield load.time_range
        member = by_series[load.series]
        since_ms = member.known_from_ms
        if since_ms is not None and load.time_range.start_ms <= since_ms < load.time_range.end_ms:
            for absence in absences_before_first(connection, member.series_id, load.time_range.end):
                if absence.kind in _SILENT:
                    yield absence.span


@dataclass(frozen=True, slots=True)
class _Silence:
    """Silence of a series that is to be judged.

    Attributes:
        spans: Ascending, disjoint; asked for after they had settled.
        hull: From the last candle before them to the first one after them.
    """

    member: _Member
    spans: Sequence[TimeRange]
    hull: TimeRange

    @property
    def series(self) -> Series:
        """The series that is silent."""
        return self.member.series


def _judge_market(
    stores: Stores, exchange: str, members: Sequence[_Member], run: str, failed: _Failures, time_range: TimeRange
) -> int:
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
        presence = _read_presence(connection, stores.settings, members, surroundings(hull, timeframe), failed)
    prints_empty = _prints_empty(stores.settings, exchange)
    changes = 0
    for silence in silences:
        if silence.series not in failed.by_series:
            with failed.contained([silence.series]):
                changes += _judge_series(stores, presence, silence, prints_empty, run)
    return changes


def _find_silence(
    connection: Connection, settings: Settings, member: _Member, time_range: TimeRange
) -> _Silence | None:
    absences = read_absences(connection, member.series_id, time_range)
    series = member.series
    settle = settings.settle_of(series)
    spans = [
        settled
        for absence in absences
        if absence.kind in _SILENT and (settled := _settled(absence, settle, series.timeframe)) is not None
    ]
    if not spans:
        return None
    hull = TimeRange(min(a.span.start for a in absences), max(a.span.end for a in absences))
    return _Silence(member, spans, hull)


def _settled(absence: Absence, settle: timedelta, timeframe: Timeframe) -> TimeRange | None:
    """Return the part of an absence that was old enough when it was asked for last."""
    if absence.asked_at is None:
        return None
    end = min(absence.span.end, timeframe.floor(absence.asked_at - settle))
    return TimeRange(absence.span.start, end) if absence.span.start < end else None


def _judge_series(stores: Stores, presence: Presence, silence: _Silence, prints_empty: bool, run: str) -> int:
    absent = np.zeros(presence.held.shape[1], dtype=np.bool_)
    for span in silence.spans:
        absent[_slots(presence.start_ms, presence.timeframe, span)] = True
    told = [*_around_splits(stores.settings, presence, silence.series, absent)]
    told += _before_first(presence, silence.member, absent)
    if absent.any():
        of = list(presence.series).index(silence.series.symbol)
        told += [(each.span, each.kind, each.evidence) for each in judge(presence, of, absent, prints_empty)]
    findings = sorted((Finding(*each) for each in told), key=lambda one: one.span)
    settle = stores.settings.settle_of(silence.series)
    with stores.warehouse.begin() as connection:
        lock_series(connection, silence.member.series_id)
        changes = record_verdicts(connection, silence.member.series_id, presence.timeframe, findings, settle, run)
        for days in united(days_of(finding.span) for finding in findings) if changes else ():
            refresh_quality(connection, silence.member.series_id, presence.timeframe, days)
    return changes


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


def _before_first(presence: Presence, member: _Member, absent: NDArray[np.bool_]) -> Iterator[Explained]:
    """Yield what is absent before the series is known to be listed, and take it out of `absent`: it is no halt."""
    before = absent[: _slots_before(presence.start_ms, presence.timeframe, member.known_from_ms, len(absent))]
    told = "no candle of it has come"
    if member.known_from_ms is not None:
        told = f"no candle of it came before the first, at {from_ms(member.known_from_ms):%Y-%m-%d %H:%M}"
    for start, end in zip(*find_runs(before), strict=True):
        bounds = (presence.start_ms + int(slot) * presence.timeframe.ms for slot in (start, end))
        yield TimeRange.from_ms(*bounds), AbsenceKind.NO_TRADES, f"{told}: not traded, or not listed yet"
    before[:] = False


def _slots_before(start_ms: int, timeframe: Timeframe, known_from_ms: int | None, n_slots: int) -> int:
    """Return how many of the slots open before the series is known to be listed."""
    if known_from_ms is None:
        return n_slots
    return min(max((known_from_ms - start_ms) // timeframe.ms, 0), n_slots)


def _read_presence(
    connection: Connection, settings: Settings, members: Sequence[_Member], time_range: TimeRange, failed: _Failures
) -> Presence:
    """Read which slots of the members are held and covered; one that cannot be read is left out."""
    timeframe = members[0].series.timeframe
    n_slots = time_range.count(timeframe)
    names, held, covered, stated = [], [], [], []
    for member in members:
        series, series_id = member.series, member.series_id
        with failed.contained([series]):
            asked = _mask(n_slots, time_range, timeframe, covered_ranges(connection, series_id))
            asked[: _slots_before(time_range.start_ms, timeframe, member.known_from_ms, n_slots)] = False
            if not asked.any():
                continue
            came = np.zeros(n_slots, dtype=np.bool_)
            times = read_open_times(connection, series_id, time_range)
            # What was retired came, too: a candle is no less there because the archive alone keeps it.
            retired = read_retired_times(connection, series_id, timeframe, time_range)
            came[(np.concatenate([times, retired]) - time_range.start_ms) // timeframe.ms] = True
            settle = settings.settle_of(series)
            for absence in read_absences(connection, series_id, time_range):
                here = _slots(time_range.start_ms, timeframe, clip(absence.span, time_range) or absence.span)
                if absence.kind is AbsenceKind.REFUSED:
                    came[here] = True
                elif absence.kind not in _SILENT or _settled(absence, settle, timeframe) != absence.span:
                    asked[here] = False
            stated.append(_mask(n_slots, time_range, timeframe, read_stated(connection, series_id, time_range)))
            names.append(series.symbol)
            held.append(came)
            covered.append(asked | came)
    shape = (len(names), n_slots)
    came_by_series, asked_by_series = np.reshape(held, shape), np.reshape(covered, shape)
    is_stated = np.reshape(stated, shape) if any(mask.any() for mask in stated) else None
    return Presence(timeframe, time_range.start_ms, names, came_by_series, asked_by_series, is_stated)


def _mask(n_slots: int, time_range: TimeRange, timeframe: Timeframe, spans: Iterable[TimeRange]) -> NDArray[np.bool_]:
    mask = np.zeros(n_slots, dtype=np.bool_)
    for span in spans:
        if (inside := clip(span, time_range)) is not None:
            mask[_slots(time_range.start_ms, timeframe, inside)] = True
    return mask


def _slots(start_ms: int, timeframe: Timeframe, span: TimeRange) -> slice:
    first, end = (-(-(bound - start_ms) // timeframe.ms) for bound in (span.start_ms, span.end_ms))
    return slice(first, end)


def _prints_empty(settings: Settings, exchange: str) -> bool:
    try:
        return settings.traits(exchange).prints_empty
    except ConfigError:
        # Candles of an exchange that nobody speaks to came out of a file.
        return ANY.prints_empty
