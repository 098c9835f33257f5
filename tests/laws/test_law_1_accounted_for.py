"""Law 1, accounted for: candles expected = candles stored + candles absent, for every loaded range."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from etl.audit import audit, is_sound
from etl.ingest import clean_pages, load
from etl.schema import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import known_series, read_absences
from tests.markets import START, kline, put_pages

MINUTE_MS = 60_000
WIDTH = 180
ORIGIN_MS = to_ms(START)
DEFECTS = ("sound", "sound", "sound", "missing", "repeated", "negative", "null", "conflicting")

_number = itertools.count()
minutes = st.integers(0, WIDTH - 1)
ranges = st.lists(
    st.tuples(minutes, minutes).filter(lambda pair: pair[0] != pair[1]).map(sorted), min_size=1, max_size=5
)


@given(defects=st.lists(st.sampled_from(DEFECTS), min_size=WIDTH, max_size=WIDTH), loads=ranges)
@examples(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_expected_is_stored_or_absent(defects: list[str], loads: list[list[int]], stores: Stores) -> None:
    """Whatever a market lacks or breaks, and in whatever order overlapping ranges are loaded, the sum holds."""
    series = Series("binance", f"C{next(_number)}/USDT", Timeframe.M1)
    patient = replace(stores, settings=stores.settings.model_copy(update={"max_quarantined_pct": 100.0}))
    rows = [row for minute, defect in enumerate(defects) for row in _rows(minute, defect)]
    loaded: set[int] = set()
    between = range(min(first for first, _ in loads), max(last for _, last in loads))
    for first, last in loads:
        span = TimeRange.from_ms(ORIGIN_MS + first * MINUTE_MS, ORIGIN_MS + last * MINUTE_MS)
        partition = Partition(series, span)
        put_pages(stores.raw, series, span, [row for row in rows if span.start_ms <= row[0] < span.end_ms], limit=1000)
        clean_pages(patient, partition)
        load(patient, partition, "test")
        loaded.update(range(first, last))

    (account,) = audit(stores, [series])
    held = {minute for minute in loaded if defects[minute] in {"sound", "repeated", "conflicting"}}
    assert is_sound([account]), account.problems
    assert account.expected == len(between)
    assert account.stored == len(held)
    assert account.absent.get("unfetched", 0) == len(set(between) - loaded), "what nobody asked for is said to be so"
    kinds = _recorded_absences(stores, series)
    assert set(kinds) == set(between) - held
    assert {minute for minute, kind in kinds.items() if kind == "refused"} == {
        minute for minute in loaded if defects[minute] in {"negative", "null"}
    }


def _rows(minute: int, defect: str) -> list[list[object]]:
    at = ORIGIN_MS + minute * MINUTE_MS
    match defect:
        case "missing":
            return []
        case "repeated":
            return [kline(at), kline(at)]
        case "negative":
            return [kline(at, low="-1")]
        case "null":
            return [kline(at, close=None)]
        case "conflicting":
            return [kline(at, 90.0), kline(at, 100.0)]
    return [kline(at)]


def _recorded_absences(stores: Stores, series: Series) -> dict[int, str]:
    """Return the kind of each absent minute; that neighbours of one kind are one is asserted on the way."""
    with stores.warehouse.begin() as connection:
        recorded = read_absences(connection, known_series(connection)[series])
    for one, other in itertools.pairwise(recorded):
        assert one.span.end < other.span.start or one.evidence != other.evidence, "neighbours are one absence"
    return {
        (at - ORIGIN_MS) // MINUTE_MS: absence.kind.value
        for absence in recorded
        for at in range(absence.span.start_ms, absence.span.end_ms, MINUTE_MS)
    }
