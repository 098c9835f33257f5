"""Law 1, accounted for: candles expected = candles stored + candles absent, for every loaded range."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from etl.audit import audit, is_sound
from etl.ingest import Partition, Stores, clean_pages, load
from etl.schema import Series, TimeRange
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import read_absences
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
    assert account.expected == len(loaded)
    assert account.stored == len(held)
    assert sum(account.absent.values()) == len(loaded - held)
    assert _recorded_absences(stores, series) == loaded - held


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


def _recorded_absences(stores: Stores, series: Series) -> set[int]:
    """Return the absent minutes; that their ranges do not touch is asserted on the way."""
    whole = TimeRange.from_ms(ORIGIN_MS - MINUTE_MS, ORIGIN_MS + (WIDTH + 1) * MINUTE_MS)
    with stores.warehouse.begin() as connection:
        series_id = connection.exec_driver_sql(
            "SELECT id FROM series WHERE symbol = %(symbol)s", {"symbol": series.symbol}
        ).scalar_one()
        spans = [absence.span for absence in read_absences(connection, series_id, whole)]
    assert all(one.end < other.start for one, other in itertools.pairwise(spans)), "neighbours are one absence"
    return {(at - ORIGIN_MS) // MINUTE_MS for span in spans for at in range(span.start_ms, span.end_ms, MINUTE_MS)}
