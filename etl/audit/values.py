"""Archive and warehouse hold the same, value for value and flag for flag, and flags and revisions tell the truth."""

from __future__ import annotations

import numpy as np

from etl.audit.check import Check
from etl.audit.grid import Times, lie_in, times_of
from etl.audit.pieces import Fault, differing, right_flags
from etl.remedies import by_loading, by_mending, by_rebuilding
from etl.schema import COMPUTED_FLAGS, VALUE_COLUMNS, Flag, to_columns
from etl.series import TimeRange, united
from etl.spelling import counted
from etl.unvouched import by_running_again
from etl.warehouse import broken_revisions


def check_archive(check: Check) -> None:
    """Hold the archive against the warehouse, values and what we say of them."""
    piece, covered = check.piece, check.account.covered
    check.report_times(piece.kept, "candles that the archive alone is to keep are in the warehouse still")
    if piece.archived is None:
        remedy = check.by_mending(piece.span) if piece.fault is Fault.BROKEN else "update Chandler"
        check.report(piece.span, piece.complaint, remedy)
        check_strays(check, times_of(piece.stored))
        return
    if piece.archived.equals(piece.stored):
        check_strays(check, np.array([], dtype=np.int64))
        _report_unvouched(check, np.array([], dtype=np.int64))
        return
    extra, missing, other = differing(piece.archived, piece.stored, VALUE_COLUMNS)
    check_strays(check, np.union1d(missing, other))
    is_vouched = lie_in(extra, covered)
    check.report_times(extra[is_vouched], "candles that the archive has are not in the warehouse")
    _report_unvouched(check, extra[~is_vouched])
    missing = missing[lie_in(missing, covered)]
    check.report_times(missing, "candles that the warehouse has are not in the archive")
    check.report_times(other, "candles have other values in the archive than in the warehouse")
    _, _, said = differing(piece.archived, piece.stored, ("flags", "source"))
    only_said = np.setdiff1d(said, other)
    check.report_times(only_said, "candles have other flags or another source in the archive than in the warehouse")


def check_strays(check: Check, alone: Times) -> None:
    """Find stored candles outside every loaded range.

    Args:
        alone: When candles open that the archive does not confirm.
    """
    times = times_of(check.piece.stored)
    strays = times[~lie_in(times, check.account.accounted)]
    what = "stored candles lie outside every loaded range"
    check.report_times(np.setdiff1d(strays, alone), what, check.by_mending)
    check.report_times(np.intersect1d(strays, alone), what, check.by_loading)


def _report_unvouched(check: Check, times: Times) -> None:
    """Report what the archive covers and no checkpoint vouches for: of a lost account, or of a load that was cut off.

    Args:
        times: When candles open there that the archive alone has.
    """
    series, unvouched = check.scope.series, check.piece.unvouched
    for span in unvouched.cut_off:
        held = counted(int(lie_in(times, [span]).sum()), "archived candle")
        again = by_running_again(check.scope.stores, series, span)
        remedy = f"{again}, or {by_mending(series)} to take them out of the archive"
        check.report(span, f"{held} outside every loaded range: a load was cut off", remedy)
    for span in unvouched.unknown:
        held = counted(int(lie_in(times, [span]).sum()), "candle")
        what = f"the archive covers it, with {held} that the warehouse does not have, and no checkpoint knows of it"
        check.report(span, what, by_rebuilding(series))
        check.result.unknown.append(span)
    others = times[~lie_in(times, united([*unvouched.cut_off, *unvouched.unknown]))]
    what = "archived candles lie outside what their file says that it covers"
    check.report_times(others, what, check.by_loading)


def check_flags(check: Check) -> None:
    """Compute the rules' flags again, and hold those of states against what they tell of.

    What earlier rules have flagged, or the same with other parameters, is only counted where today's find otherwise.
    """
    columns = to_columns(check.piece.stored)
    times, flags = columns["open_time"], columns["flags"]
    right = right_flags(check.scope, check.piece, check.piece.stored)
    wrong, lacking = flags & ~right, right & ~flags
    computed = (wrong | lacking) & np.int16(COMPUTED_FLAGS)
    if check.result.is_flagged_earlier:
        check.result.flagged_otherwise += int(np.count_nonzero(computed))
        computed[:] = 0
    for mask, what in (
        (computed, "candles have other flags than the rules find"),
        (wrong & np.int16(Flag.REVISED), "candles are flagged as revised and have no earlier value"),
        (lacking & np.int16(Flag.REVISED), "candles have earlier values and are not flagged as revised"),
        (wrong & np.int16(Flag.FILLED), "stored candles are flagged as made up"),
        (wrong & np.int16(Flag.VALUE_DROPPED), "candles are flagged as having lost a value, and lack none"),
        (wrong & np.int16(Flag.RELEASED), "candles are flagged as released, and no row of theirs was"),
    ):
        check.report_times(times[mask != 0], what)


def check_revisions(check: Check) -> None:
    """Check that the earlier values of each candle follow one another."""
    series = check.scope.series
    for open_time, what, is_mendable in broken_revisions(
        check.scope.connection, check.scope.series_id, check.piece.span
    ):
        span = TimeRange(open_time, open_time + series.timeframe.delta)
        check.report(span, what, None if is_mendable else by_loading(series, span))
