"""Known reasons why a candle is not there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from etl.schema import AbsenceKind, Origin
from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.validate import Refused, explain, refused_slots

MINUTE_MS = 60_000
bounds = st.none() | st.integers(0, 40)


def _ms(minute: int | None) -> int | None:
    return None if minute is None else minute * MINUTE_MS


@given(
    cuts=st.lists(st.integers(0, 40), min_size=2, max_size=8, unique=True),
    first=bounds,
    end=bounds,
    served=bounds,
    refused=st.sets(st.integers(0, 40), max_size=4),
)
def test_each_minute_has_the_reason_of_its_side(
    cuts: list[int], first: int | None, end: int | None, served: int | None, refused: set[int]
) -> None:
    """Cut where a reason begins or ends, nothing lost; a row that came tells more than the listing."""
    ordered = sorted(cuts)
    absent = [
        TimeRange.from_ms(a * MINUTE_MS, b * MINUTE_MS) for a, b in zip(ordered[::2], ordered[1::2], strict=False)
    ]
    explained = explain(
        absent,
        Timeframe.M1,
        first_ms=_ms(first),
        end_ms=_ms(end),
        served_from_ms=_ms(served),
        refused={minute * MINUTE_MS: ("ohlc", "high 1", Origin.API) for minute in refused},
    )
    kinds = {
        at // MINUTE_MS: kind for span, kind, _ in explained for at in range(span.start_ms, span.end_ms, MINUTE_MS)
    }
    assert sorted(kinds) == [at // MINUTE_MS for span in absent for at in range(span.start_ms, span.end_ms, MINUTE_MS)]
    assert all(evidence for *_, evidence in explained)
    for minute, kind in kinds.items():
        if minute in refused:
            assert kind is AbsenceKind.REFUSED
        elif first is not None and minute < first:
            assert kind is AbsenceKind.NOT_LISTED
        elif end is not None and minute >= end:
            assert kind is AbsenceKind.DELISTED
        elif served is not None and minute < served:
            assert kind is AbsenceKind.BEYOND_RETENTION
        else:
            assert kind is AbsenceKind.PENDING


def test_the_evidence_of_a_refused_row_says_where_the_row_came_from() -> None:
    """A row of a file was not sent by the exchange; neighbours of two origins are two stretches."""
    origins = [Origin.FILE, Origin.FILE, Origin.API, Origin.BULK, Origin.TRADES]
    rows = [Refused(slot * MINUTE_MS, "ohlc", "high 1", "[]", None, origin) for slot, origin in enumerate(origins)]
    refused = refused_slots(rows, Timeframe.M1)
    absent = [TimeRange.from_ms(0, len(origins) * MINUTE_MS)]
    explained = explain(absent, Timeframe.M1, first_ms=None, end_ms=None, served_from_ms=None, refused=refused)
    assert [evidence for *_, evidence in explained] == [
        "the imported file has rows that ohlc refused, the first: high 1; see quarantine",
        "the exchange sent a row that ohlc refused (high 1); see quarantine",
        "the exchange's archive has a row that ohlc refused (high 1); see quarantine",
        "the exchange's trades make a row that ohlc refused (high 1); see quarantine",
    ]
