"""Stretches of candles that are not there with what is said of them, a thin series' thousands as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from etl.schema import AbsenceKind
from etl.series import TimeRange


@dataclass(frozen=True, slots=True)
class Finding:
    """A stretch of candles that are not there, and what is said of it.

    Attributes:
        evidence: A short sentence with the figures that the kind rests on.
    """

    span: TimeRange
    kind: AbsenceKind
    evidence: str


@dataclass(frozen=True, slots=True, eq=False)
class Findings(Sequence[Finding]):
    """Findings as columns, which make a Finding only of what is looked at.

    Attributes:
        start_ms: (n,) milliseconds since the epoch, ascending.
        end_ms: (n,) exclusive.
        kinds: n of them.
        evidence: n texts.
    """

    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]
    kinds: Sequence[AbsenceKind]
    evidence: Sequence[str]

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Findings:
        """Return findings as columns."""
        bounds = [(one.span.start_ms, one.span.end_ms) for one in findings]
        columns = np.array(bounds, dtype=np.int64).reshape(-1, 2)
        return cls(columns[:, 0], columns[:, 1], [one.kind for one in findings], [one.evidence for one in findings])

    def __len__(self) -> int:
        return len(self.kinds)

    @overload
    def __getitem__(self, place: int) -> Finding: ...

    @overload
    def __getitem__(self, place: slice) -> Findings: ...

    def __getitem__(self, place: int | slice) -> Finding | Findings:
        if isinstance(place, slice):
            return Findings(self.start_ms[place], self.end_ms[place], self.kinds[place], self.evidence[place])
        span = TimeRange.from_ms(int(self.start_ms[place]), int(self.end_ms[place]))
        return Finding(span, self.kinds[place], self.evidence[place])

    def __iter__(self) -> Iterator[Finding]:
        columns = (self.start_ms.tolist(), self.end_ms.tolist(), self.kinds, self.evidence)
        for start_ms, end_ms, kind, evidence in zip(*columns, strict=True):
            yield Finding(TimeRange.from_ms(start_ms, end_ms), kind, evidence)
