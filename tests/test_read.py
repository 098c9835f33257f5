"""Reading: candles as they stood at any moment, and gaps filled only with what was known before them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import select, text

from etl.errors import ConfigError
from etl.filling import fill_flat
from etl.ingest import clean_pages, load
from etl.read import Fill, read_candles
from etl.schema import AbsenceKind, Flag, empty_candles, from_columns, to_columns
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import from_ms, to_ms
from etl.warehouse import Finding, known_series, record_verdicts
from tests.candles import candle_tables
from tests.conftest import BTC
from tests.markets import START, kline, put_pages

MINUTE_MS = 60_000
ORIGIN_MS = to_ms(START)
SLOTS = 40
WHOLE = TimeRange.from_ms(ORIGIN_MS, ORIGIN_MS + SLOTS * MINUTE_MS)
shared = HealthCheck.function_scoped_fixture


def _ms(minute: int) -> int:
    return ORIGIN_MS + minute * MINUTE_MS


def _load(stores: Stores, series: Series, first: int, end: int, prices: dict[int, float]) -> None:
    """Load the minutes from `first` to `end`: what has no price is not there."""
    partition = Partition(series, TimeRange.from_ms(_ms(first), _ms(end)))
    rows = [kline(_ms(minute), price) for minute, price in prices.items() if first <= minute < end]
    put_pages(stores.raw, series, partition.time_range, rows)
    clean_pages(stores, partition)
    load(stores, partition, f"load of {first}")


@st.composite
def _loads(draw: st.DrawFn) -> list[tuple[int, int, dict[int, float]]]:
    """Draw loads of overlapping ranges, whose candles are late, revised, and at times far off."""
    prices = st.dictionaries(st.integers(0, SLOTS - 1), st.sampled_from([100.0, 100.5, 120.0]), min_size=5)
    bounds = st.tuples(st.integers(0, SLOTS), st.integers(0, SLOTS)).filter(lambda pair: pair[0] < pair[1])
    return [(*draw(bounds), draw(prices)) for _ in range(draw(st.integers(2, 4)))]


@given(loads=_loads(), number=st.integers(0, 10**6))
@examples(suppress_health_check=[shared], max_examples=10)
def test_a_reader_sees_again_what_was_there_at_a_moment(
    loads: list[tuple[int, int, dict[int, float]]], number: int, stores: Stores
) -> None:
    """Whatever later loads added, revised or flagged: a read as of a moment is the read of that moment, bit for bit."""
    series = Series.parse(f"binance:C{number}/USDT:1m")
    seen: list[tuple[datetime, pa.Table]] = []
    for one in loads:
        _load(stores, series, *one)
        with stores.warehouse.begin() as connection:
            now = connection.execute(select(text("clock_timestamp()"))).scalar_one()
        seen.append((now, read_candles(series, WHOLE, settings=stores.settings)))
    for moment, candles in seen:
        assert read_candles(series, WHOLE, as_of=moment, settings=stores.settings).equals(candles)
    ancient = seen[0][0] - timedelta(hours=1)
    assert read_candles(series, WHOLE, as_of=ancient, settings=stores.settings).num_rows == 0


@given(candles=candle_tables(SLOTS), before=candle_tables(1), absent=st.sets(st.integers(0, SLOTS - 1)))
@example(candles=empty_candles(), before=empty_candles(), absent={3})
def test_what_is_filled_in_is_flat_flagged_and_known_before(
    candles: pa.Table, before: pa.Table, absent: set[int]
) -> None:
    """Without what is flagged as filled the read is the unfilled one; what is filled follows from the close before."""
    first = to_columns(before)
    before = from_columns({**first, "open_time": first["open_time"] - MINUTE_MS})
    times = np.array(sorted(_ms(minute) for minute in absent), dtype=np.int64)
    filled = to_columns(fill_flat(candles, before, times))
    is_filled = (filled["flags"] & Flag.FILLED) != 0
    assert from_columns({name: values[~is_filled] for name, values in filled.items()}).equals(candles)
    assert (np.diff(filled["open_time"]) > 0).all()
    known = dict(
        zip(
            *(np.concatenate([to_columns(t)[n] for t in (before, candles)]) for n in ("open_time", "close")),
            strict=True,
        )
    )
    for place in np.flatnonzero(is_filled):
        at = int(filled["open_time"][place])
        close = known[max(each for each in known if each < at)]
        assert {filled[name][place] for name in ("open", "high", "low", "close")} == {close}
        assert filled["volume"][place] == 0
        assert filled["trades"][place] in (0, -1)
    wanted = set(times.tolist()) - set(known)
    assert set(filled["open_time"][is_filled].tolist()) == {at for at in wanted if known and at > min(known)}
    cut = to_columns(fill_flat(candles.slice(0, candles.num_rows // 2), before, times))
    until = to_columns(candles)["open_time"][candles.num_rows // 2 :][:1]
    both = [each["open_time"] < (until[0] if len(until) else 2**62) for each in (cut, filled)]
    assert all(
        np.array_equal(cut[name][both[0]], filled[name][both[1]], equal_nan=values.dtype.kind == "f")
        for name, values in filled.items()
    ), "what comes later changes nothing"


def test_only_what_is_known_to_be_quiet_is_filled_by_quiet(stores: Stores) -> None:
    """No trades is filled by QUIET, an outage only by ALL; never before the first close."""
    _load(stores, BTC, 0, 20, dict.fromkeys([2, 3, 10, 11], 100.0))
    quiet, outage = (TimeRange.from_ms(_ms(first), _ms(end)) for first, end in ((4, 6), (6, 8)))
    moments = []
    with stores.warehouse.begin() as connection:
        moments.append(connection.execute(select(text("clock_timestamp()"))).scalar_one())
    with stores.warehouse.begin() as connection:
        verdicts = [Finding(quiet, AbsenceKind.NO_TRADES, "so"), Finding(outage, AbsenceKind.OUTAGE, "so")]
        series_id = known_series(connection)[BTC]
        record_verdicts(connection, series_id, BTC.timeframe, verdicts, timedelta(0), "test")

    def made_up(span: TimeRange, fill: Fill, as_of: datetime | None = None) -> list[int]:
        columns = to_columns(read_candles(BTC, span, fill=fill, as_of=as_of, settings=stores.settings))
        is_filled = (columns["flags"] & Flag.FILLED) != 0
        return [(at - ORIGIN_MS) // MINUTE_MS for at in columns["open_time"][is_filled].tolist()]

    from_5 = TimeRange(from_ms(_ms(5)), WHOLE.end)
    assert made_up(WHOLE, Fill.NONE) == []
    assert made_up(WHOLE, Fill.QUIET) == [4, 5]
    assert made_up(WHOLE, Fill.ALL) == [*range(4, 10), *range(12, 20)]
    assert made_up(from_5, Fill.QUIET) == [5], "by the close before the range"
    assert made_up(WHOLE, Fill.QUIET, as_of=moments[0]) == [], "nobody knew then"
    assert made_up(from_5, Fill.ALL, as_of=moments[0]) == [*range(5, 10), *range(12, 20)]
    with stores.warehouse.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM candles").scalar_one() == 4, "nothing is stored"


def test_a_series_that_is_not_there_is_named(stores: Stores) -> None:
    """An unknown series is an error with the nearest that is known; so is a moment without a time zone."""
    _load(stores, BTC, 0, 5, dict.fromkeys(range(5), 100.0))
    with pytest.raises(ConfigError, match="nearest: binance:BTC/USDT:1m"):
        read_candles(Series.parse("binance:BTC/USDC:1m"), WHOLE, settings=stores.settings)
    naive = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(ValueError, match="no time zone"):
        read_candles(BTC, WHOLE, as_of=naive, settings=stores.settings)
