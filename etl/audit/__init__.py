"""The proof that every candle of every loaded range is held or accounted for, and that both stores hold the same.

What is wrong is named with its range and the command that mends it. Mending takes from whichever store is intact.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from etl.accounting import account_for_loads
from etl.audit.findings import Problem, SeriesAudit, is_sound
from etl.audit.mending import mend_series
from etl.audit.pieces import Scope
from etl.audit.reckoning import RUN
from etl.audit.series import check_series
from etl.errors import ChandlerError, ConfigError
from etl.rebuild import plan_rebuild, run_rebuild
from etl.remedies import by_loading, by_mending, by_rebuilding
from etl.series import Series, TimeRange, clip
from etl.spelling import counted
from etl.stores import Stores
from etl.warehouse import known_series, lock_series

__all__ = ["Problem", "SeriesAudit", "audit", "by_mending", "is_sound", "mend"]

_AT_ONCE = 2  # series; the server has as much to do as we have


def audit(stores: Stores, only: Collection[Series] = (), within: TimeRange | None = None) -> list[SeriesAudit]:
    """Prove law 1, that archive and warehouse hold the same, and that checkpoints, flags and revisions are true.

    Args:
        only: The series to look at; without, all that the warehouse or the archive has ever heard of.
        within: The range to look at; all, without.

    Raises:
        StoreUnavailableError: The warehouse does not answer.
    """
    with stores.warehouse.begin() as connection:
        known = known_series(connection)
    wanted = [one for one in sorted({*known, *stores.archive.series()}) if not only or one in only]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(lambda series: _audit(stores, series, within), wanted))


def mend(stores: Stores, audits: Sequence[SeriesAudit], within: TimeRange | None = None) -> list[SeriesAudit]:
    """Mend what was found, as far as one of the stores is intact, and audit again what was mended.

    What the archive covers and the warehouse has no account of is read in as a rebuild does it.

    Args:
        audits: What `audit` has found.
        within: The range that it looked at.

    Returns:
        The audits as they are now, each with what was done.

    Raises:
        StoreError: A store refuses or went away. What was mended of other series stays so.
    """
    mendable = [one for one in audits if one.is_mendable]
    done = {one.series: _mend(stores, one) for one in mendable}
    read_in = _read_in(stores, [one.series for one in mendable if one.unknown], within)
    for series, spans in read_in.items():
        done[series] += [f"{span}: read in from the archive" for span in spans]
        # What follows was flagged without it.
        done[series] += _mend(stores, _audit(stores, series, within))
    for exchange in sorted({series.exchange for series in done}):
        account_for_loads(stores, exchange, RUN)
    return [_again(stores, one, within, done, read_in) if one.series in done else one for one in audits]


def _audit(stores: Stores, series: Series, within: TimeRange | None) -> SeriesAudit:
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection).get(series)
        if series_id is None:
            return _unknown(stores, series, within)
        # A load writes the archive before it commits: wait for one that is under way, and hold off the next.
        lock_series(connection, series_id)
        try:
            return check_series(Scope(stores, connection, series, series_id), within)
        except ConfigError as error:
            # A mistake in the table of one exchange keeps no other series from being audited.
            return SeriesAudit(series, not_audited=error.message)


def _unknown(stores: Stores, series: Series, within: TimeRange | None) -> SeriesAudit:
    """Return the audit of a series that the archive alone has."""
    result = SeriesAudit(series)
    for file in stores.archive.files(series):
        span = file.span if within is None else clip(file.span, within)
        if span is None:
            continue
        try:
            count = stores.archive.read(series, span).num_rows
        except ChandlerError as error:
            result.report(span, error.message, by_loading(series, span))
        else:
            what = f"the warehouse does not know the series: {file.path} holds {counted(count, 'candle')} of it"
            result.report(span, what, by_rebuilding(series))
            result.unknown.append(span)
    return result


def _mend(stores: Stores, account: SeriesAudit) -> list[str]:
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection).get(account.series)
        if series_id is None or not account.is_mendable:
            return []
        lock_series(connection, series_id)
        return mend_series(Scope(stores, connection, account.series, series_id), account)


def _read_in(stores: Stores, wanted: Collection[Series], within: TimeRange | None) -> dict[Series, list[TimeRange]]:
    """Read in what the archive covers and the warehouse has no account of; what cannot be the next audit tells."""
    found: dict[Series, list[TimeRange]] = {}
    if wanted:
        plans = plan_rebuild(stores, wanted, within)
        # Two at once call it, but for one series one after the other.
        run_rebuild(stores, plans, lambda one, report: found.setdefault(one.series, []).append(one.time_range))
    return found


def _again(
    stores: Stores,
    account: SeriesAudit,
    within: TimeRange | None,
    done: Mapping[Series, list[str]],
    read_in: Mapping[Series, list[TimeRange]],
) -> SeriesAudit:
    result = _audit(stores, account.series, within)
    result.mended, result.is_rebuilt = done[account.series], account.series in read_in
    return result
