"""The proof of one series, a piece at a time, so that memory does not grow with the range. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from etl.archive import file_spans
from etl.audit.accounts import check_checkpoint, check_quality, check_slots
from etl.audit.check import Account, Check
from etl.audit.findings import SeriesAudit
from etl.audit.pieces import Scope, Verdicts, read_piece
from etl.audit.values import check_archive, check_flags, check_revisions
from etl.remedies import by_loading, by_mending
from etl.schema import AbsenceKind
from etl.series import TimeRange, clip, subtract, united
from etl.spelling import counted
from etl.warehouse import covered_ranges, read_flagged_by, span_of_absences, span_of_candles, unloaded_ranges


def check_series(scope: Scope, within: TimeRange | None) -> SeriesAudit:
    """Prove the account of a series, or what of it lies `within`."""
    result = SeriesAudit(scope.series)
    account = read_account(scope)
    whole = _hull(scope, account.accounted)
    wanted = whole if whole is None or within is None else clip(whole, within)
    if wanted is None:
        return result
    result.ranges = [inside for span in account.accounted if (inside := clip(span, wanted)) is not None]
    _check_holes(result, account, wanted)
    flagged_by = read_flagged_by(scope.connection, scope.series_id)
    result.is_flagged_earlier = flagged_by != scope.stores.settings.flagging_of(scope.series)
    verdicts = Verdicts(scope)
    pieces = [clip(span, within or span) or span for span in file_spans(scope.series.timeframe, wanted)]
    for span in pieces:
        check = Check(scope, account, read_piece(scope, span), verdicts, result)
        check_slots(check)
        check_archive(check)
        check_flags(check)
        check_revisions(check)
        for checkpoint in check.piece.checkpoints:
            # One that reaches over several pieces is looked at once.
            if span is pieces[0] or checkpoint.time_range.start >= span.start:
                check_checkpoint(check, checkpoint)
        check_quality(check)
    return result


def read_account(scope: Scope) -> Account:
    """Read what of the series is accounted for."""
    covered = covered_ranges(scope.connection, scope.series_id)
    doubted = unloaded_ranges(scope.connection, scope.series_id, [AbsenceKind.REFUSED])
    unloaded = unloaded_ranges(scope.connection, scope.series_id)
    return Account(covered, united([*covered, *doubted]), united([*covered, *unloaded]))


def find_holes(account: Account) -> list[TimeRange]:
    """Return what lies between ranges that a load has spoken of without being accounted for; see `Account`."""
    if not account.spoken_of:
        return []
    return subtract(TimeRange(account.spoken_of[0].start, account.spoken_of[-1].end), account.accounted)


def _check_holes(result: SeriesAudit, account: Account, wanted: TimeRange) -> None:
    for hole in find_holes(account):
        inside = clip(hole, wanted)
        if inside is not None and (count := inside.count(result.series.timeframe)):
            loading = by_loading(result.series, inside, again=False)
            remedy = f"{loading}, or {by_mending(result.series)} to record it as not requested"
            result.report(inside, f"{counted(count, 'candle')} between loaded ranges not accounted for", remedy)


def _hull(scope: Scope, accounted: Sequence[TimeRange]) -> TimeRange | None:
    spans = list(_known(scope, accounted))
    return TimeRange(min(span.start for span in spans), max(span.end for span in spans)) if spans else None


def _known(scope: Scope, accounted: Sequence[TimeRange]) -> Iterator[TimeRange]:
    yield from accounted
    yield from (file.span for file in scope.stores.archive.files(scope.series))
    for find in (span_of_absences, span_of_candles):
        if (span := find(scope.connection, scope.series_id)) is not None:
            yield span
