"""Law 4, nothing silent: a closed candle that changes leaves a revision, a row that is refused is in quarantine."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import text

from etl.audit import audit, is_sound
from etl.ingest import clean_pages, load
from etl.schema import Flag, to_columns
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import known_series, read_candles
from tests.markets import START, kline, put_pages

MINUTE_MS = 60_000
WIDTH = 24
ORIGIN_MS = to_ms(START)
WHOLE = TimeRange.from_ms(ORIGIN_MS, ORIGIN_MS + WIDTH * MINUTE_MS)

_number = itertools.count()
# What an answer holds of one minute: nothing, a row, or two; of a few prices, so that some answers agree.
answers = st.lists(
    st.sampled_from(["missing", "100", "100", "101", "102", "broken", "100 and 101", "101 and 101"]),
    min_size=WIDTH,
    max_size=WIDTH,
)
spans = st.tuples(st.integers(0, WIDTH - 1), st.integers(1, WIDTH)).filter(lambda pair: pair[0] < pair[1])


@given(fetches=st.lists(st.tuples(spans, answers), min_size=1, max_size=5))
@examples(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_that_ever_came_can_be_found(fetches: list[tuple[Any, list[str]]], stores: Stores) -> None:
    """However often and however differently candles are sent, each value sent is stored, revised or in quarantine."""
    series = Series("binance", f"N{next(_number)}/USDT", Timeframe.M1)
    patient = replace(stores, settings=stores.settings.model_copy(update={"max_quarantined_pct": 100.0}))
    history: defaultdict[int, list[float]] = defaultdict(list)
    refused: set[str] = set()
    for number, ((first, end), answer) in enumerate(fetches):
        span = TimeRange.from_ms(ORIGIN_MS + first * MINUTE_MS, ORIGIN_MS + end * MINUTE_MS)
        rows = {minute: _rows(minute, answer[minute]) for minute in range(first, end)}
        put_pages(stores.raw, series, span, list(itertools.chain.from_iterable(rows.values())))
        clean_pages(patient, Partition(series, span))
        load(patient, Partition(series, span), f"run {number}")
        for minute, sent in rows.items():
            sound = [row for row in sent if row[3] != "-1"]
            refused |= {json.dumps(row) for row in sent if row[3] == "-1" or row[1] != sent[-1][1]}
            if sound and history[minute][-1:] != [float(sound[-1][1])]:
                history[minute].append(float(sound[-1][1]))

    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[series]
        stored = to_columns(read_candles(connection, series_id, WHOLE))
        revisions = connection.execute(
            text("SELECT open_time, open FROM candle_revisions WHERE series_id = :id ORDER BY open_time, revision"),
            {"id": series_id},
        ).all()
        kept = connection.execute(text("SELECT row FROM quarantine WHERE series_id = :id"), {"id": series_id}).scalars()
        assert set(kept) == refused, "every refused row, and none else"
    earlier: defaultdict[int, list[float]] = defaultdict(list)
    for open_time, price in revisions:
        earlier[(to_ms(open_time) - ORIGIN_MS) // MINUTE_MS].append(price)
    current = dict(zip(((stored["open_time"] - ORIGIN_MS) // MINUTE_MS).tolist(), stored["open"].tolist(), strict=True))
    assert {minute: [*earlier[minute], price] for minute, price in current.items()} == {
        minute: prices for minute, prices in history.items() if prices
    }, "the values in the order in which they came"
    is_revised = (stored["flags"] & Flag.REVISED) != 0
    assert is_revised.tolist() == [bool(earlier[minute]) for minute in current], "and it is said of the candle"
    assert is_sound(audit(stores, [series]))


def _rows(minute: int, answer: str) -> list[list[Any]]:
    at = ORIGIN_MS + minute * MINUTE_MS
    if answer == "missing":
        return []
    if answer == "broken":
        return [kline(at, low="-1")]
    return [kline(at, float(price)) for price in answer.split(" and ")]
