"""Input of every check of a piece, and the report of what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from etl.audit.findings import SeriesAudit
from etl.audit.grid import Times, runs
from etl.audit.pieces import Fault, Intact, Piece, Scope, Verdicts
from etl.remedies import by_loading, by_mending
from etl.series import TimeRange, clip

_MOST = 20  # stretches of one kind in a piece that are named one by one


@dataclass(frozen=True, slots=True)
class Account:
    """Accounted-for ranges of a series: ascending, disjoint, not touching.

    Attributes:
        covered: What checkpoints vouch for.
        spoken_of: That, and what is recorded as refused without one: what loads have spoken of.
        accounted: That, and what is recorded as unfetched or not requested, or as refused without a checkpoint.
    """

    covered: Sequence[TimeRange]
    spoken_of: Sequence[TimeRange]
    accounted: Sequence[TimeRange]


@dataclass(frozen=True, slots=True)
class Check:
    """One piece that is looked at.

    Attributes:
        result: Where to report to.
    """

    scope: Scope
    account: Account
    piece: Piece
    verdicts: Verdicts
    result: SeriesAudit

    def report(self, span: TimeRange, what: str, remedy: str | None = None) -> None:
        """Report what is wrong in `span`; without a remedy it is mended from what is stored, if one store is intact."""
        self.result.report(span, what, remedy or self._remedy(span))

    def report_times(self, times: Times, what: str, remedy: Callable[[TimeRange], str] | None = None) -> None:
        """Report what is wrong with the candles that open at `times`: each stretch, or all at once if they are many.

        Args:
            what: Follows their number.
        """
        spans = runs(times, self.scope.series.timeframe)
        if len(spans) > _MOST:
            spans, counts = [TimeRange(spans[0].start, spans[-1].end)], [len(times)]
        else:
            counts = [max(span.count(self.scope.series.timeframe), 1) for span in spans]
        for span, count in zip(spans, counts, strict=True):
            self.report(span, f"{count} {what}", None if remedy is None else remedy(span))

    def by_loading(self, span: TimeRange) -> str:
        """Return what loads a range that nobody has loaded."""
        return by_loading(self.scope.series, span, again=False)

    def by_mending(self, span: TimeRange) -> str:
        """Return what mends from what is stored."""
        return by_mending(self.scope.series)

    def _remedy(self, span: TimeRange) -> str:
        for checkpoint in self.piece.checkpoints:
            if clip(checkpoint.time_range, span) and self.verdicts.of(checkpoint, self.piece) is Intact.NEITHER:
                if not checkpoint.is_retired:
                    return by_loading(self.scope.series, span)
                if self.piece.fault is Fault.OF_ANOTHER_VERSION:
                    return "update Chandler"
                return f"{by_mending(self.scope.series)}, then {by_loading(self.scope.series, checkpoint.time_range)}"
        return by_mending(self.scope.series)
