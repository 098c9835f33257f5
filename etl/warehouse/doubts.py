"""Slots of which a refused row may be that does not tell: absent as refused, also where nobody has asked for them.

A file that begins or ends inside an hour that the clock shows twice says nothing else of such a slot. No checkpoint
covers it then, so that it is asked for as whatever was never loaded.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from etl.findings import Finding
from etl.schema import AbsenceKind
from etl.series import TimeRange, clip, subtract, united
from etl.timeframe import Timeframe
from etl.warehouse.absences import read_absences
from etl.warehouse.checkpoints import read_checkpoints
from etl.warehouse.quality import refresh_quality
from etl.warehouse.quarantine import leave_confirmed_alone
from etl.warehouse.recording import Asking, record_absences, record_not_requested

_BESIDE = "it lies beside slots that a refused row may be of, and no run has requested it"


def open_ranges(connection: Connection, series_id: int, time_range: TimeRange) -> list[TimeRange]:
    """Return what of a range is loaded and absent, or not loaded: ascending, disjoint."""
    spans = [clip(absence.span, time_range) for absence in read_absences(connection, series_id, time_range)]
    vouched = [one.time_range for one in read_checkpoints(connection, series_id, time_range)]
    return united([*filter(None, spans), *subtract(time_range, vouched)])


def record_doubts(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    found: Sequence[Finding],
    around: TimeRange,
    asking: Asking,
) -> None:
    """Let slots outside what a load has asked for be refused, since its rows may be of them.

    Args:
        found: Of ranges that `open_ranges` has returned.
        around: From the first to the last of these slots and of what is loaded; what no checkpoint covers there, and no
            row may be of, is not requested.
    """
    for one in found:
        record_absences(connection, series_id, timeframe, one.span, [one], asking)
        leave_confirmed_alone(connection, series_id, timeframe, one.span)
        refresh_quality(connection, series_id, timeframe, one.span)
    vouched = [one.time_range for one in read_checkpoints(connection, series_id, around)]
    for rest in subtract(around, vouched):
        record_not_requested(connection, series_id, timeframe, rest, _BESIDE)
        refresh_quality(connection, series_id, timeframe, rest)


def withdraw_doubt(
    connection: Connection, series_id: int, timeframe: Timeframe, slot: TimeRange, evidence: str
) -> bool:
    """Let a refused slot be not requested, after all, of which no row may be any more, if no checkpoint covers it.

    Returns:
        Whether it is.
    """
    if read_checkpoints(connection, series_id, slot):
        return False
    record_not_requested(connection, series_id, timeframe, slot, evidence, instead_of=AbsenceKind.REFUSED)
    refresh_quality(connection, series_id, timeframe, slot)
    return True
