"""Reading: the same from either store, as it stood at any moment, gaps filled only with what was known before them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import select, text

import etl
from etl.errors import ConfigError, StoreUnavailableError
from etl.filling import fill_flat
from etl.findings import Finding, Findings
from etl.ingest import clean_pages, load
from etl.read import Fill, Source, read_candles
from etl.schema import AbsenceKind, Flag, empty_candles, from_columns, to_columns
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import from_ms, to_ms
from etl.warehouse import known_series, read_candles_at_once, record_verdicts
from etl.warehouse import read_candles as read_stored
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


LATE: list[tuple[int, int, dict[int, float]]] = [
    (0, SLOTS, {10: 120.0, 12: 100.0, 14: 100.0, 16: 100.0, 20: 100.0}),
    (0, SLOTS, {9: 100.0, 10: 120.0, 11: 120.0, 19: 120.0}),  # two of the first are jumps now
    (0, SLOTS, {9: 120.0, 19: 120.5, 20: 100.5}),  # of which one is none any more, and the other is revised
]


@given(loads=_loads(), number=st.integers(0, 10**6))
@example(loads=LATE, number=10**7)
@examples(suppress_health_check=[shared], max_examples=10)
def test_a_reader_sees_again_what_was_there_at_a_moment(
    loads: list[tuple[int, int, dict[int, float]]], number: int, stores: Stores
) -> None:
    """Whatever later loads added, revised or flagged: a read as of a moment is the read of that moment, bit for bit.

    In SQL too, whose flags are those that stood then, and not what rules find again.
    """
    series = Series.parse(f"binance:C{number}/USDT:1m")
    seen: list[tuple[datetime, pa.Table]] = []
    for one in loads:
        _load(stores, series, *one)
        with stores.warehouse.begin() as connection:
            now = connection.execute(select(text("clock_timestamp()"))).scalar_one()
        seen.append((now, read_candles(series, WHOLE, settings=stores.settings)))
    for moment, candles in seen:
        assert read_candles(series, WHOLE, as_of=moment, settings=stores.settings).equals(candles)
        with stores.warehouse.begin() as connection:
            assert read_stored(connection, known_series(connection)[series], WHOLE, moment).equals(candles)
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
        record_verdicts(connection, series_id, BTC.timeframe, Findings.of(verdicts), timedelta(0), "test")

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


def test_both_stores_give_the_same(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archive and warehouse, pieces and the whole, text and types: one answer, absent candles filled in or not."""
    _load(stores, BTC, 0, 12, dict.fromkeys(range(1, 12), 100.0))
    _load(stores, BTC, 8, SLOTS, {minute: 100.0 + minute for minute in range(8, SLOTS) if minute not in {20, 21}})
    texts = (f"{WHOLE.start:%Y-%m-%dT%H:%M}", f"{WHOLE.end:%Y-%m-%dT%H:%M}")
    whole = read_candles(BTC, WHOLE, settings=stores.settings)
    assert whole.num_rows == SLOTS - 3
    assert etl.read_candles(str(BTC), texts, source="archive").equals(whole), "by the settings of the environment"
    filled = read_candles(BTC, WHOLE, fill=Fill.ALL, settings=stores.settings)
    assert filled.num_rows == SLOTS - 1
    from_20 = TimeRange(from_ms(_ms(20)), WHOLE.end)
    for source in Source:
        assert read_candles(BTC, WHOLE, fill="all", source=source, settings=stores.settings).equals(filled)
        ahead = read_candles(BTC, from_20, fill="all", source=source, settings=stores.settings)
        assert ahead.equals(filled.slice(19)), "by the close before the range"
    monkeypatch.setattr("etl.read._AT_ONCE", 7)
    now = datetime.now(UTC)
    for wider in (WHOLE, TimeRange(datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))):
        for as_of in (None, now):
            assert read_candles(BTC, wider, as_of=as_of, settings=stores.settings).equals(whole)
            assert read_candles(BTC, wider, as_of=as_of, fill="all", settings=stores.settings).equals(filled)


def test_a_long_read_sees_one_moment(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that commits while a range is read in pieces is in none of them."""
    _load(stores, BTC, 0, SLOTS, dict.fromkeys(range(SLOTS), 100.0))
    monkeypatch.setattr("etl.read._AT_ONCE", 10)

    def read_and_meddle(*args: Any) -> pa.Table:
        table = read_candles_at_once(*args)
        with stores.warehouse.begin() as connection:
            connection.exec_driver_sql("UPDATE candles SET close = 100.5")
        return table

    monkeypatch.setattr("etl.read.read_candles_at_once", read_and_meddle)
    assert set(to_columns(read_candles(BTC, WHOLE, settings=stores.settings))["close"].tolist()) == {100.1}


def test_a_frame_holds_what_the_table_does(stores: Stores) -> None:
    """A frame has open_time as its UTC index, NaN and NA for what is not given, and may be written into."""
    rows = {minute: 100.0 for minute in range(5)}
    _load(stores, BTC, 0, 5, rows)
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE candles SET trades = NULL, quote_volume = NULL WHERE open_time > '2024-02-29 12:01Z'"
        )
    table = read_candles(BTC, WHOLE, settings=stores.settings)
    frame = read_candles(BTC, WHOLE, as_frame=True, settings=stores.settings)
    assert list(frame.columns) == table.schema.names[1:]
    assert frame.index.name == "open_time"
    assert str(frame.index.tz) == "UTC"
    assert frame.index[-1].to_pydatetime() == START + timedelta(minutes=4)
    assert frame["trades"].isna().tolist() == frame["quote_volume"].isna().tolist() == [False] * 2 + [True] * 3
    assert frame["trades"].sum() == 24
    frame.loc[frame["flags"] == Flag.UNJUDGED.value, "close"] = 1.0
    assert frame["close"].tolist() == [1.0] * 5
    assert read_candles(BTC, ("2023-01-01", "2023-02-01"), as_frame=True, settings=stores.settings).empty


def test_the_archive_is_read_without_a_database(stores: Stores) -> None:
    """The archive is read all the same if the warehouse is gone, but neither filled nor as of a moment."""
    _load(stores, BTC, 0, 5, dict.fromkeys(range(5), 100.0))
    gone = stores.settings.model_copy(update={"warehouse_url": "postgresql://nobody@127.0.0.1:1/none"})
    assert read_candles(BTC, WHOLE, source="archive", settings=gone).num_rows == 5
    with pytest.raises(StoreUnavailableError):
        read_candles(BTC, WHOLE, source="archive", fill="quiet", settings=gone)
    with pytest.raises(ConfigError, match="not what was"):
        read_candles(BTC, WHOLE, source="archive", as_of="2024-03-01", settings=gone)
    with pytest.raises(ConfigError, match="nearest: binance:BTC/USDT:1m"):
        read_candles("binance:BTC/USDC:1m", WHOLE, source="archive", settings=gone)
    with pytest.raises(ConfigError, match="'archiv' is no source; nearest: archive"):
        read_candles(BTC, WHOLE, source="archiv", settings=gone)


def test_what_the_archive_alone_keeps_is_not_missed_silently(stores: Stores) -> None:
    """A range that reaches into retired candles is refused, with the range and the store that has them."""
    _load(stores, BTC, 0, 10, dict.fromkeys(range(10), 100.0))
    _load(stores, BTC, 10, 20, dict.fromkeys(range(10, 20), 100.0))
    with stores.warehouse.begin() as connection:
        retired = "UPDATE checkpoints SET is_retired = true WHERE range_end <= '2024-02-29 12:10Z'"
        assert connection.exec_driver_sql(retired).rowcount == 1
        connection.exec_driver_sql("DELETE FROM candles WHERE open_time < '2024-02-29 12:10Z'")
    with pytest.raises(ConfigError, match=r'12:00, 2024-02-29 12:10\); read them with source="archive"'):
        read_candles(BTC, WHOLE, settings=stores.settings)
    assert read_candles(BTC, WHOLE, source="archive", settings=stores.settings).num_rows == 20
    assert read_candles(BTC, (from_ms(_ms(10)), WHOLE.end), settings=stores.settings).num_rows == 10


def test_importing_the_package_imports_no_reader() -> None:
    """`import etl` costs nothing; what stands in it is there when it is asked for, and nothing else is."""
    code = "import sys, etl; assert 'pyarrow' not in sys.modules; assert etl.Fill.ALL == 'all'; etl.Flag, etl.Series"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(etl, name) for name in etl.__all__)
    with pytest.raises(AttributeError):
        _ = etl.read_candle  # type: ignore[attr-defined]
