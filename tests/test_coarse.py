"""Wider candles are what a recount of the stored candles gives, at every width, of every range, now and at a moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import text

from etl.coarse import MOST_READ, WIDTHS, CoarseCandles, read_coarse
from etl.errors import ConfigError
from etl.keeping import Keep
from etl.retention import retire_candles
from etl.schema import Flag, from_columns
from etl.series import Series, TimeRange
from etl.stores import Stores
from etl.timeframe import Timeframe, from_ms, to_ms
from etl.warehouse import Asking, Lookback, Warehouse, begin_load, ensure_series, merge, refresh_quality
from etl.warehouse.copying import copy_in
from etl.warehouse.reading import cursor_of
from tests.conftest import BTC

MINUTE_MS, DAY_MS = 60_000, 86_400_000
FIRST = datetime(2024, 1, 1, 7, 13, tzinfo=UTC)
HELD = TimeRange(FIRST, FIRST + timedelta(days=95))
HALVES = Series.parse("kraken:BTC/USD:30m")
COLUMNS = ("open", "high", "low", "close", "volume", "counts", "flags")


def _random_candles(span: TimeRange, timeframe: Timeframe) -> dict[str, NDArray[Any]]:
    """Return candles with holes, one of them of days, and flags."""
    random = np.random.default_rng(8)
    times = np.arange(to_ms(timeframe.ceil(span.start)), span.end_ms, timeframe.ms)
    is_held = (random.random(len(times)) < 0.97) & ~(
        (times > times[0] + 20 * DAY_MS) & (times < times[0] + 23 * DAY_MS)
    )
    n = len(times := times[is_held])
    low = 1 + random.random(n)
    none = np.full(n, np.nan)
    return {
        **{"open_time": times, "low": low, "high": low + 2, "open": low + random.random(n), "close": low + 1},
        **{"volume": random.lognormal(size=n), "quote_volume": none, "trades": np.full(n, -1)},
        **{"taker_buy_volume": none, "taker_buy_quote_volume": none, "source": np.ones(n, np.int16)},
        "flags": np.where(random.random(n) < 1e-3, random.choice([8, 16, 256, 24], n), 0).astype(np.int16),
    }


def _store(warehouse: Warehouse, series: Series, columns: dict[str, NDArray[Any]]) -> int:
    with warehouse.begin() as connection:
        series_id = ensure_series(connection, series)
        with cursor_of(connection) as cursor:
            copy_in(cursor, "candles", series_id, from_columns(columns))
        span = TimeRange.from_ms(int(columns["open_time"][0]), int(columns["open_time"][-1]) + 1)
        refresh_quality(connection, series_id, series.timeframe, span)
    return series_id


@pytest.fixture
def minutes(stores: Stores) -> dict[str, NDArray[Any]]:
    """Four months of BTC at 1m, stored, and a series of 30m besides."""
    columns = _random_candles(HELD, BTC.timeframe)
    _store(stores.warehouse, BTC, columns)
    _store(stores.warehouse, HALVES, _random_candles(HELD, HALVES.timeframe))
    return columns


def _recount(columns: dict[str, NDArray[Any]], span: TimeRange, width: Timeframe) -> dict[int, tuple[float, ...]]:
    """Return wider candles by their open time in seconds, made one candle at a time."""
    made: dict[int, list[float]] = {}
    is_inside = (columns["open_time"] >= span.start_ms) & (columns["open_time"] < span.end_ms)
    rows = zip(*(columns[name][is_inside].tolist() for name in ("open_time", *COLUMNS[:5], "flags")), strict=True)
    for at, opened, high, low, close, volume, flags in rows:
        one = made.setdefault(at // width.ms * width.ms // 1000, [opened, high, low, close, 0.0, 0, 0])
        one[1], one[2], one[3] = max(one[1], high), min(one[2], low), close
        one[4], one[5], one[6] = one[4] + volume, one[5] + 1, int(one[6]) | flags
    return {at: tuple(one) for at, one in made.items()}


def _shown(found: CoarseCandles) -> dict[int, tuple[float, ...]]:
    lists = [getattr(found, name).tolist() for name in COLUMNS]
    return dict(zip(found.time_s.tolist(), zip(*lists, strict=True), strict=True))


def _check(found: CoarseCandles, columns: dict[str, NDArray[Any]]) -> None:
    whole = TimeRange(found.start, found.end)
    expected = _recount(columns, whole, found.width)
    shown = _shown(found)
    assert list(shown) == list(expected)
    for at, one in shown.items():
        assert one == pytest.approx(expected[at], rel=1e-12), from_ms(at * 1000)


@given(
    start=st.integers(-2 * 1440, 94 * 1440),
    length=st.one_of(st.integers(1, 300), st.integers(1, 100 * 1440)),
    most=st.integers(1, 3000),
    seconds=st.integers(0, 59),
)
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_wider_candles_are_what_a_recount_gives(
    start: int, length: int, most: int, seconds: int, minutes: dict[str, NDArray[Any]], stores: Stores
) -> None:
    """Of the finest width of which no more are needed, whole ones; unless that takes more candles than are read."""
    asked = TimeRange.from_ms(HELD.start_ms + start * MINUTE_MS, HELD.start_ms + (start + length) * MINUTE_MS)
    asked = TimeRange(asked.start + timedelta(seconds=seconds), asked.end + timedelta(seconds=seconds))
    with stores.warehouse.begin() as connection:
        found = read_coarse(connection, BTC, asked, most)
    fitting = [
        one
        for one in WIDTHS
        if (to_ms(one.ceil(asked.end)) - to_ms(one.floor(asked.start))) // one.ms <= most
        and asked.count(BTC.timeframe) <= MOST_READ
    ]
    finest = fitting[0] if fitting else Timeframe.D1
    assert found.width is finest
    assert (found.start, found.end) == (finest.floor(asked.start), finest.ceil(asked.end))
    assert found.is_made == (finest is not BTC.timeframe)
    _check(found, minutes)


def _load(stores: Stores, columns: dict[str, NDArray[Any]], span: TimeRange) -> None:
    first, end = np.searchsorted(columns["open_time"], [span.start_ms, span.end_ms])
    candles = from_columns({name: values[first:end] for name, values in columns.items()})
    stores.archive.write(BTC, span, candles)
    with begin_load(stores.warehouse, BTC, span, "test", Lookback(BTC.timeframe, 0, 0)) as load:
        asking = Asking(span.end + timedelta(days=9), timedelta(days=1), "test")
        files = [file.path for file in stores.archive.files(BTC)]
        load.write(merge(load.stored, candles), absent=(), refused=(), asking=asking, archive_files=files, flagging="")


def test_a_series_keeps_its_own_width(minutes: dict[str, NDArray[Any]], stores: Stores) -> None:
    """Nothing is finer than its candles, and only what they divide is made of them."""
    own = _random_candles(HELD, HALVES.timeframe)
    with stores.warehouse.begin() as connection:
        for days, most, width in (
            (1, 1500, "30m"),
            (40, 1500, "1h"),
            (40, 300, "4h"),
            (40, 40, "1d"),
            (95, 5000, "30m"),
        ):
            found = read_coarse(connection, HALVES, TimeRange(FIRST, FIRST + timedelta(days=days)), most)
            assert (found.width, found.is_made) == (width, width != "30m")
            _check(found, own)
        year = TimeRange(FIRST - timedelta(days=200), FIRST + timedelta(days=100))
        assert read_coarse(connection, BTC, TimeRange(FIRST, FIRST + timedelta(days=40)), 9000).width is Timeframe.M15
        assert read_coarse(connection, BTC, year, 9000).width is Timeframe.D1, "too many to make others of"
        nothing = read_coarse(connection, BTC, TimeRange(FIRST - timedelta(days=3), FIRST - timedelta(days=2)))
        assert nothing.time_s.tolist() == []
        with pytest.raises(ConfigError, match="never loaded; nearest: binance:BTC/USDT:1m"):
            read_coarse(connection, Series.parse("binance:BTC/USDC:1m"), HELD)


def test_days_that_an_earlier_version_has_counted_are_made_of_their_candles(
    minutes: dict[str, NDArray[Any]], stores: Stores
) -> None:
    """Whoever has not tidied up since the upgrade sees the same; of the newest days, if all of them are too many."""
    with stores.warehouse.begin() as connection:
        connection.execute(text("UPDATE quality SET open = NULL WHERE day <> '2024-01-05'"))
        found = read_coarse(connection, BTC, TimeRange(FIRST, FIRST + timedelta(days=44)), 100)
        assert found.width is Timeframe.D1
        _check(found, minutes)
        many = read_coarse(connection, BTC, HELD, 100)
    expected = _recount(minutes, TimeRange(many.start, many.end), Timeframe.D1)
    counted, *newest = many.time_s.tolist()
    assert counted == to_ms(datetime(2024, 1, 5, tzinfo=UTC)) // 1000
    assert newest == list(expected)[-len(newest) :]
    assert MOST_READ - 1440 < sum(expected[at][5] for at in newest) <= MOST_READ


def test_of_what_the_archive_alone_keeps_there_are_days(stores: Stores) -> None:
    """The days' candles stay when the minutes leave the warehouse, and then they are what there is to see."""
    span = TimeRange(datetime(2024, 1, 1, 9, tzinfo=UTC), datetime(2024, 1, 5, tzinfo=UTC))
    columns = _random_candles(span, BTC.timeframe)
    first = TimeRange(span.start, datetime(2024, 1, 2, tzinfo=UTC))
    for day in (first, *TimeRange(first.end, span.end).windows(DAY_MS)):
        _load(stores, columns, day)
    keeping = stores.settings.model_copy(update={"keep": Keep(warehouse=timedelta(days=30))})
    retire_candles(replace(stores, settings=keeping), span.end + timedelta(days=28, hours=1))
    with stores.warehouse.begin() as connection:
        assert connection.execute(text("SELECT count(*) < 3000 FROM candles")).scalar_one()
        refresh_quality(connection, 1, BTC.timeframe, span)
        for hours in (0, -7):  # what is held of the day, and what is not
            start = span.start + timedelta(hours=hours)
            found = read_coarse(connection, BTC, TimeRange(start, start + timedelta(hours=5)))
            assert (found.width, found.is_retired) == (Timeframe.D1, True)
            _check(found, columns)
        kept = read_coarse(connection, BTC, TimeRange(span.end - timedelta(hours=5), span.end))
        assert (kept.width, kept.is_retired) == (Timeframe.M1, False)
        _check(kept, columns)
        with pytest.raises(ConfigError, match="the archive alone keeps candles of this range"):
            read_coarse(connection, BTC, span, as_of=datetime.now(UTC))


def test_candles_as_they_stood_at_a_moment(stores: Stores) -> None:
    """At every width, before a revision and after it; not of more than can be found out in a blink."""
    span = TimeRange(FIRST, FIRST + timedelta(days=2))
    columns = _random_candles(span, BTC.timeframe)
    _load(stores, columns, span)
    with stores.warehouse.begin() as connection:
        before = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    is_other = columns["open_time"] % (7 * MINUTE_MS) == 0
    changed = {**columns, "high": columns["high"] + np.where(is_other, 5.0, 0.0)}
    _load(stores, changed, span)
    flagged = {**changed, "flags": changed["flags"] | np.where(is_other, int(Flag.REVISED), 0).astype(np.int16)}
    with stores.warehouse.begin() as connection:
        for most in (5000, 600, 50, 3):
            _check(read_coarse(connection, BTC, span, most, before), columns)
            now = read_coarse(connection, BTC, span, most)
            if now.width is Timeframe.D1:
                now = read_coarse(connection, BTC, span, most, datetime.now(UTC))
            _check(now, flagged)
        with pytest.raises(
            ConfigError, match="more than 45 days stood at a moment takes too long to find out; zoom in"
        ):
            read_coarse(connection, BTC, TimeRange(FIRST, FIRST + timedelta(days=91)), as_of=before)
