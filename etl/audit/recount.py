"""The quality of each day, counted from what was read for the audit: another way than the one that wrote it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.audit.check import Check
from etl.audit.grid import Slots, Times, times_of
from etl.schema import COUNTED_FLAGS, Flag, to_column, to_columns
from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.warehouse import DayCandle, Quality, count_refused

_Counts = NDArray[np.int64]
"""(n,) one a day."""


def recount(check: Check, days: TimeRange) -> dict[date, Quality]:
    """Count the quality of each of `days`, whole ones of the piece, of which anything is known."""
    scope, piece = check.scope, check.piece
    slots = Slots.of(scope.series.timeframe, days)
    stored = times_of(piece.stored)
    flags = to_column(piece.stored, "flags")
    absent = {
        kind.value: _by_day(slots.times(slots.mask(a.span for a in piece.absences if a.kind is kind)), days)
        for kind in sorted({absence.kind for absence in piece.absences})
    }
    expected = _by_day(slots.times(slots.mask(check.account.accounted)), days)
    flagged = {
        str(flag.name).lower(): _by_day(stored[(flags & flag) != 0], days) for flag in Flag if flag in COUNTED_FLAGS
    }
    unjudged = _by_day(stored[(flags & Flag.UNJUDGED) != 0], days)
    held, revisions = _by_day(stored, days), _by_day(piece.revised, days)
    candles = _candles(piece.stored, days)
    refused = count_refused(scope.connection, scope.series_id, days)
    counted = {}
    for number in range(days.count(Timeframe.D1)):
        day = days.start.date() + timedelta(days=number)
        quality = Quality(
            expected=int(expected[number]),
            stored=int(held[number]),
            absent=_of_day(absent, number),
            refused=refused.get(day, {}),
            flagged=_of_day(flagged, number),
            unjudged=int(unjudged[number]),
            revisions=int(revisions[number]),
            candle=candles[number],
        )
        if quality != Quality():
            counted[day] = quality
    return counted


def _candles(stored: pa.Table, days: TimeRange) -> list[DayCandle | None]:
    """Return what the candles of each day make."""
    columns = to_columns(stored)
    bounds = np.searchsorted(columns["open_time"], np.arange(days.start_ms, days.end_ms + 1, Timeframe.D1.ms))
    made: list[DayCandle | None] = []
    for first, end in zip(bounds, bounds[1:], strict=False):
        own = {name: values[first:end] for name, values in columns.items()}
        if first == end:
            made.append(None)
            continue
        made.append(
            DayCandle(
                open=float(own["open"][0]),
                high=float(own["high"].max()),
                low=float(own["low"].min()),
                close=float(own["close"][-1]),
                volume=math.fsum(own["volume"]),
            )
        )
    return made


def _by_day(times: Times, days: TimeRange) -> _Counts:
    """Count how many of `times` there are in each day; what lies outside does not count."""
    inside = times[(times >= days.start_ms) & (times < days.end_ms)]
    return np.bincount((inside - days.start_ms) // Timeframe.D1.ms, minlength=days.count(Timeframe.D1))


def _of_day(counts: Mapping[str, _Counts], number: int) -> dict[str, int]:
    return {name: int(each[number]) for name, each in counts.items() if each[number]}
