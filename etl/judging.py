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
from etl.validate.silence import BUCKET
from etl.warehouse import (
    Absence,
    Finding,
    LoggedLoad,
    covered_ranges,
    days_of,
    known_series,
    lock_series,
    mark_judged,
    mark_unjudged,
    read_absences,
    read_open_times,
    read_retired_times,
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
        reach = united(surroundings(load.time_range, timeframe) for load in group)
        with failed.contained({load.series for load in group}):
            pieces = [piece for span in reach for piece in span.windows(_MAX_SLOTS_PER_PIECE * timeframe.ms)]
            with ThreadPoolExecutor(_TOGETHER) as threads:
                changes += sum(threads.map(partial(_judge_market, stores, name, timeframe, run, failed), pieces))
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
class _Silence:
    """What of a series is to be judged.

    Attributes:
        spans: Ascending, disjoint; asked for after they had settled.
        hull: From the last candle before them to the first one after them.
    """

    series: Series
    series_id: int
    spans: Sequence[TimeRange]
    hull: TimeRange


def _judge_market(
    stores: Stores, exchange: str, timeframe: Timeframe, run: str, failed: _Failures, time_range: TimeRange
) -> int:
    """Judge what is silent in `time_range`, of all series of an exchange and timeframe."""
    with stores.warehouse.begin() as connection:
        members = {
            series: series_id
            for series, series_id in known_series(connection).items()
            if (series.exchange, series.timeframe) == (exchange, timeframe)
        }
        silences = []
        for series, series_id in members.items():
            with failed.contained([series]):
                found = _find_silence(connection, stores.settings, series, series_id, time_range)
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
    connection: Connection, settings: Settings, series: Series, series_id: int, time_range: TimeRange
) -> _Silence | None:
    absences = read_absences(connection, series_id, time_range)
    settle = settings.settle_of(series)
    spans = [
        settled
        for absence in absences
        if absence.kind in _SILENT and (settled := _settled(absence, settle, series.timeframe)) is not None
    ]
    if not spans:
        return None
    hull = TimeRange(min(a.span.start for a in absences), max(a.span.end for a in absences))
    return _Silence(series, series_id, spans, hull)


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
    of = list(presence.series).index(silence.series.symbol)
    verdicts = [Finding(*told) for told in _around_splits(stores.settings, presence, silence.series, absent)]
    findings = [Finding(v.span, v.kind, v.evidence) for v in judge(presence, of, absent, prints_empty)]
    findings = sorted([*findings, *verdicts], key=lambda one: one.span)
    settle = stores.settings.settle_of(silence.series)
    with stores.warehouse.begin() as connection:
        lock_series(connection, silence.series_id)
        changes = record_verdicts(connection, silence.series_id, presence.timeframe, findings, settle, run)
        for days in united(days_of(finding.span) for finding in findings) if changes else ():
            refresh_quality(connection, silence.series_id, presence.timeframe, days)
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


def _read_presence(
    connection: Connection, settings: Settings, members: dict[Series, int], time_range: TimeRange, failed: _Failures
) -> Presence:
    """Read which slots of the members are held and covered; one that cannot be read is left out."""
    timeframe = next(iter(members)).timeframe
    n_slots = time_range.count(timeframe)
    names, held, covered = [], [], []
    for series, series_id in members.items():
        with failed.contained([series]):
            asked = _mask(n_slots, time_range, timeframe, covered_ranges(connection, series_id))
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
            names.append(series.symbol)
            held.append(came)
            covered.append(asked | came)
    shape = (len(names), n_slots)
    return Presence(timeframe, time_range.start_ms, names, np.reshape(held, shape), np.reshape(covered, shape))


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
