"""Reading from the warehouse what is held of all series of a market: by that their silence is judged."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from etl.errors import ClassificationError, ConfigError, StoreError
from etl.exchanges import ANY, Traits
from etl.schema import AbsenceKind, Origin
from etl.series import Series, TimeRange, united
from etl.settings import Settings
from etl.timeframe import Timeframe
from etl.validate import Presence, find_unprinted
from etl.warehouse import (
    AbsenceColumns,
    covered_ranges,
    known_from,
    known_series,
    read_columns,
    read_open_times,
    read_retired_times,
    read_sourced,
    read_stated,
)

log = logging.getLogger(__name__)

SILENT = frozenset({AbsenceKind.PENDING, AbsenceKind.NO_TRADES, AbsenceKind.OUTAGE, AbsenceKind.HALTED})
"""Kinds of what is to be judged, now or again."""


@dataclass(slots=True)
class Failures:
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
class Member:
    """A series of a market, which is all of one exchange and timeframe.

    Attributes:
        known_from_ms: Since when it is known to be listed; None if it is not.
    """

    series: Series
    series_id: int
    known_from_ms: int | None


def read_members(connection: Connection, exchange: str, timeframe: Timeframe) -> list[Member]:
    """Return the series of a market, in the order of their names."""
    known = known_from(connection, exchange, timeframe)
    return [
        Member(series, series_id, known.get(series_id))
        for series, series_id in known_series(connection).items()
        if (series.exchange, series.timeframe) == (exchange, timeframe)
    ]


def settled_until(absences: AbsenceColumns, settle: timedelta, timeframe: Timeframe) -> NDArray[np.int64]:
    """Return until when each absence was old enough when it was asked for last: (n,) ms; not after its start for none.

    Args:
        settle: How long a candle stays young.
    """
    old_ms = (absences.asked_ms - settle // timedelta(milliseconds=1)) // timeframe.ms * timeframe.ms
    return np.where(absences.asked_ms == 0, absences.start_ms, np.minimum(absences.end_ms, old_ms))


def is_silent(absences: AbsenceColumns) -> NDArray[np.bool_]:
    """Return which absences are of a kind in SILENT: (n,)."""
    return np.array([kind in SILENT for kind in absences.kinds], dtype=np.bool_)


def mask_of(
    time_range: TimeRange, timeframe: Timeframe, start_ms: NDArray[np.int64], end_ms: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which slots of a range open in some spans: (n_slots,).

    Args:
        start_ms: (n,) of the spans, which do not overlap.
        end_ms: (n,) exclusive.
    """
    n_slots = time_range.count(timeframe)
    first, end = (
        np.clip(-(-(bounds - time_range.start_ms) // timeframe.ms), 0, n_slots) for bounds in (start_ms, end_ms)
    )
    edges = np.bincount(first, minlength=n_slots + 1) - np.bincount(end, minlength=n_slots + 1)
    return np.cumsum(edges)[:n_slots] > 0


def mask_of_spans(time_range: TimeRange, timeframe: Timeframe, spans: Iterable[TimeRange]) -> NDArray[np.bool_]:
    """Return which slots of a range open in some spans, which do not overlap: (n_slots,)."""
    bounds = np.array([(span.start_ms, span.end_ms) for span in spans], dtype=np.int64).reshape(-1, 2)
    return mask_of(time_range, timeframe, bounds[:, 0], bounds[:, 1])


def slots_before(start_ms: int, timeframe: Timeframe, known_from_ms: int | None, n_slots: int) -> int:
    """Return how many of the slots open before the series is known to be listed."""
    if known_from_ms is None:
        return n_slots
    return min(max((known_from_ms - start_ms) // timeframe.ms, 0), n_slots)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Held slots of one series in a range.

    Attributes:
        came: (n_slots,) the exchange has sent a candle.
        asked: (n_slots,) the slot was asked for while the symbol was listed, so that silence says something.
        stated: (n_slots,) a file states that nothing was traded.
        is_of_file: (n_slots,) the candle came out of a file that may leave out slots for which the exchange prints one.
        is_empty: (n_slots,) and it has no volume.
    """

    came: NDArray[np.bool_]
    asked: NDArray[np.bool_]
    stated: NDArray[np.bool_]
    is_of_file: NDArray[np.bool_]
    is_empty: NDArray[np.bool_]


def traits_of(settings: Settings, exchange: str) -> Traits:
    """Return the facts that hold for the series of an exchange, also of one that Chandler cannot speak to."""
    try:
        return settings.traits(exchange)
    except ConfigError:
        # Candles of an exchange that nobody speaks to came out of a file.
        return ANY


def mark_files(
    settings: Settings, exchange: str, columns: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which candles came out of a file that may leave out empty slots, and which of them have no volume.

    Args:
        columns: SOURCED_COLUMNS, (n,) each.
    """
    # An earlier version has called an imported file one of the exchange's.
    has_files = traits_of(settings, exchange).bulk_url is not None
    is_of_file = np.isin(columns["source"], [Origin.FILE] if has_files else [Origin.FILE, Origin.BULK])
    return is_of_file, is_of_file & (columns["volume"] == 0)


def read_presence(
    connection: Connection,
    settings: Settings,
    members: Sequence[Member],
    time_range: TimeRange,
    failed: Failures,
    given: Mapping[Series, Row],
) -> Presence:
    """Read which slots of the members are held and covered; one that cannot be read is left out.

    Args:
        given: Of whom the caller knows better; they are not read.
    """
    timeframe = members[0].series.timeframe
    names, held, covered, stated, unprinted = [], [], [], [], []
    for member in members:
        with failed.contained([member.series]):
            row = given.get(member.series) or read_row(connection, settings, member, time_range)
            if row.asked.any():
                names.append(member.series.symbol)
                held.append(row.came)
                covered.append(row.asked | row.came)
                stated.append(row.stated)
                unprinted.append(find_unprinted(row.came, covered[-1], row.stated, row.is_of_file, row.is_empty))
    shape = (len(names), time_range.count(timeframe))
    by_series = (np.reshape(masks, shape) for masks in (held, covered))
    some = (np.reshape(masks, shape) if np.any(masks) else None for masks in (stated, unprinted))
    return Presence(timeframe, time_range.start_ms, names, *by_series, *some)


def read_row(
    connection: Connection, settings: Settings, member: Member, time_range: TimeRange, *, is_arriving: bool = False
) -> Row:
    """Read what is held of one series.

    Args:
        is_arriving: Whether silences of it are known to the caller that are not recorded yet.
    """
    series, series_id, timeframe = member.series, member.series_id, member.series.timeframe
    n_slots = time_range.count(timeframe)
    came = np.zeros(n_slots, dtype=np.bool_)
    asked = mask_of_spans(time_range, timeframe, covered_ranges(connection, series_id))
    asked[: slots_before(time_range.start_ms, timeframe, member.known_from_ms, n_slots)] = False
    if not asked.any():
        return Row(came, asked, *np.zeros((3, n_slots), dtype=np.bool_))
    times = read_open_times(connection, series_id, time_range)
    # What was retired came, too: a candle is no less there because the archive alone keeps it.
    retired = read_retired_times(connection, series_id, timeframe, time_range)
    came[(np.concatenate([times, retired]) - time_range.start_ms) // timeframe.ms] = True
    absences = read_columns(connection, series_id, time_range)
    is_refused = np.array([kind is AbsenceKind.REFUSED for kind in absences.kinds], dtype=np.bool_)
    came |= mask_of(time_range, timeframe, absences.start_ms[is_refused], absences.end_ms[is_refused])
    # Of a silence says something what had settled when it was asked for last, though the rest of it was young.
    until_ms = np.maximum(settled_until(absences, settings.settle_of(series), timeframe), absences.start_ms)
    untold_ms = np.where(is_refused, absences.end_ms, np.where(is_silent(absences), until_ms, absences.start_ms))
    asked &= ~mask_of(time_range, timeframe, untold_ms, absences.end_ms)
    stated = mask_of_spans(time_range, timeframe, united(read_stated(connection, series_id, time_range)))
    is_of_file, is_empty = np.zeros((2, n_slots), dtype=np.bool_)
    if traits_of(settings, series.exchange).prints_empty and (is_arriving or (asked & ~came).any()):
        columns = read_sourced(connection, series_id, time_range)
        slots = (columns["open_time"] - time_range.start_ms) // timeframe.ms
        is_of_file[slots], is_empty[slots] = mark_files(settings, series.exchange, columns)
    return Row(came, asked, stated, is_of_file, is_empty)
