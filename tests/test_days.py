"""The account of a day, and the candle of each day: what a recount of all that is stored gives, whatever was loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from etl.days import DayLoad, SeriesFacts, read_day, read_series
from etl.findings import Finding
from etl.ingest import clean_pages, load
from etl.judging import judge_loads
from etl.schema import AbsenceKind, from_columns
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import (
    Asking,
    DayCandle,
    Lookback,
    Quality,
    State,
    begin_load,
    count_quality,
    ensure_series,
    merge,
    read_candles,
    read_last_opens,
    read_quality,
    read_revisions,
    read_status,
)
from tests.conftest import BTC
from tests.markets import START, kline, put_pages

MINUTE = timedelta(minutes=1)
SPAN = TimeRange(START, START + 60 * MINUTE)
REFUSED = START + 5 * MINUTE
ETH = Series.parse("binance:ETH/USDT:30m")
SLOT_MS = ETH.timeframe.ms


@dataclass(frozen=True, slots=True)
class Step:
    """A load of some slots, counted from START; `held` says which of them the exchange gives.

    Attributes:
        lookback: How many candles around it a load looks at, so that days beyond it are read.
    """

    first: int
    held: list[bool]
    price: float
    lookback: int


STEPS = st.lists(
    st.builds(
        Step,
        first=st.integers(-20, 120),
        held=st.lists(st.booleans(), min_size=1, max_size=60),
        price=st.sampled_from([100.0, 100.1, 0.3]),
        lookback=st.integers(0, 50),
    ),
    min_size=1,
    max_size=5,
)


@given(steps=STEPS)
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
def test_the_candle_of_a_day_is_what_a_recount_of_it_gives(steps: list[Step], stores: Stores) -> None:
    """To the last bit, though each load has seen another part of the day; counted anew it is the same, too."""
    with stores.warehouse.begin() as connection:
        tables = "candles, candle_revisions, quality, checkpoints, absences, absence_changes, loads, quarantine"
        connection.exec_driver_sql(f"TRUNCATE {tables}")
    for number, step in enumerate(steps):
        _load(stores, step, number)
    with stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, ETH)
        whole = TimeRange(START - timedelta(days=3), START + timedelta(days=9))
        known = read_quality(connection, series_id, whole)
        candles = {day: quality.candle for day, quality in known.items() if quality.candle is not None}
        assert candles == _recount(connection, series_id, whole)
        assert count_quality(connection, series_id, ETH.timeframe, whole) == known


def _load(stores: Stores, step: Step, number: int) -> None:
    span = _slots(step.first, step.first + len(step.held))
    random = np.random.default_rng(number)
    times = np.arange(span.start_ms, span.end_ms, SLOT_MS)[step.held]
    n = len(times)
    low, none = step.price * (1 + random.random(n)), np.full(n, np.nan)
    fetched = from_columns(
        {
            **{"open_time": times, "low": low, "high": low + 2, "open": low + random.random(n), "close": low + 1},
            **{"volume": random.lognormal(sigma=5, size=n), "quote_volume": none, "trades": np.full(n, -1)},
            **{"taker_buy_volume": none, "taker_buy_quote_volume": none},
            **{"flags": np.zeros(n, np.int16), "source": np.ones(n, np.int16)},
        }
    )
    lookback = Lookback(ETH.timeframe, step.lookback, 4 * step.lookback)
    with begin_load(stores.warehouse, ETH, span, "test", lookback) as under_way:
        merged = merge(under_way.stored, fetched)
        there = set(merged.candles.column("open_time").to_pylist())
        missing = [one for one in span.windows(SLOT_MS) if one.start not in there]
        absent = [Finding(one, AbsenceKind.PENDING, "") for one in missing]
        asking = Asking(span.end + timedelta(days=9), timedelta(days=1), "test")
        under_way.write(merged, absent=absent, refused=(), asking=asking, archive_files=(), flagging="")


def _slots(first: int, end: int) -> TimeRange:
    return TimeRange.from_ms(to_ms(START) + first * SLOT_MS, to_ms(START) + end * SLOT_MS)


def _recount(connection: Connection, series_id: int, span: TimeRange) -> dict[date, DayCandle]:
    days: dict[date, list[dict[str, float]]] = {}
    for row in read_candles(connection, series_id, span).to_pylist():
        days.setdefault(row["open_time"].date(), []).append(row)
    return {
        day: DayCandle(
            open=rows[0]["open"],
            high=max(row["high"] for row in rows),
            low=min(row["low"] for row in rows),
            close=rows[-1]["close"],
            volume=math.fsum(row["volume"] for row in reversed(rows)),
        )
        for day, rows in days.items()
    }


def _ingest(stores: Stores, span: TimeRange, price: float, run: str) -> None:
    rows = [
        kline(at, price, **({"low": "-1"} if at == to_ms(REFUSED) else {}))
        for at in range(span.start_ms, span.end_ms, 60_000)
        if not 20 <= (at - to_ms(START)) // 60_000 < 30
    ]
    put_pages(stores.raw, BTC, span, rows)
    clean_pages(stores, Partition(BTC, span))
    load(stores, Partition(BTC, span), run)


def test_the_account_of_a_day(stores: Stores) -> None:
    """Counted, absent, refused and revised candles, and the loads that they come from, the latest first."""
    generous = stores.settings.model_copy(update={"max_quarantined_pct": 50.0})
    stores = Stores(generous, stores.warehouse, stores.archive, stores.raw)
    _ingest(stores, SPAN, 100.0, "first")
    _ingest(stores, TimeRange(START + 40 * MINUTE, START + 42 * MINUTE), 101.0, "second")
    judge_loads(stores, None, "judge")
    with stores.warehouse.begin() as connection:
        account = read_day(connection, BTC, START.date())
        few = read_day(connection, BTC, START.date(), 1)
        empty = read_day(connection, BTC, date(2020, 1, 1))
        (changed, _) = read_revisions(connection, [BTC])
    quality = account.quality
    assert (quality.expected, quality.stored, quality.absent) == (60, 49, {"outage": 10, "refused": 1})
    assert quality.candle is not None
    assert (quality.candle.open, quality.candle.high) == (100.0, 101.0 * 1.01)
    assert [(one.start, one.slots, one.kind) for one in account.absences] == [
        (REFUSED, 1, AbsenceKind.REFUSED),
        (START + 20 * MINUTE, 10, AbsenceKind.OUTAGE),
    ]
    assert [(one.open_time, one.state) for one in account.refused] == [(REFUSED, State.OPEN)]
    assert [one.open_time for one in account.revisions] == [START + 41 * MINUTE, START + 40 * MINUTE]
    revision = account.revisions[0]
    assert (revision.before["open"], revision.after and revision.after["open"]) == (100.0, 101.0)
    assert set(revision.before) == {"open", "high", "low", "close", "volume"}
    assert changed.changed["open"] == (100.0, 101.0)
    assert "volume" not in changed.changed
    assert [(one.run, one.rows, one.new, one.revised, one.quarantined) for one in account.loads] == [
        ("second", 2, 0, 2, 0),
        ("first", 49, 49, 0, 1),
    ]
    assert isinstance(account.loads[0], DayLoad)
    assert account.more == {}
    assert few.more == {"absences": 1, "revisions": 1, "loads": 1}
    assert (few.absences, few.revisions, few.loads) == (account.absences[:1], account.revisions[:1], account.loads[:1])
    assert (empty.quality, empty.absences, empty.loads) == (Quality(), [], [])


def test_how_far_each_series_reaches(stores: Stores) -> None:
    """From days, checkpoints and what lies at either end, with the newest load; of one only named, nothing."""
    half, other = (TimeRange(START + at * MINUTE, START + (at + 10) * MINUTE) for at in (6, 2880))
    for span in (half, other):
        _ingest(stores, span, 100.0, "test")
    with stores.warehouse.begin() as connection:
        ensure_series(connection, ETH)
        ended = text("UPDATE series SET ended = :at WHERE symbol = 'BTC/USDT'")
        connection.execute(ended, {"at": other.end})
        connection.execute(text("UPDATE checkpoints SET loaded_at = loaded_at - interval '1 day'"))
        newest = connection.execute(
            text("UPDATE checkpoints SET loaded_at = now() WHERE range_end = :end RETURNING loaded_at"),
            {"end": half.end},
        ).scalar_one()
        assert read_series(connection) == [
            SeriesFacts(str(BTC), half.start, other.end - MINUTE, half.end, other.end, other.end, newest),
            SeriesFacts(str(ETH), *[None] * 6),
        ]
        status = read_status(connection)[0]
        assert status.last_load == newest, "the newest load, though it was of an older range"
        assert status.lag(other.end + 5 * MINUTE) is None, "of what has ended nothing is late"
        assert replace(status, ended=None).lag(other.end + 5 * MINUTE) == 5 * MINUTE
        assert read_last_opens(connection) == {BTC: other.end - MINUTE}
        connection.execute(text("DELETE FROM candles"))
        first = read_series(connection)[0]
        assert read_last_opens(connection) == {BTC: first.last}
        assert (first.first, first.last) == tuple(Timeframe.D1.floor(one.start) for one in (half, other))
