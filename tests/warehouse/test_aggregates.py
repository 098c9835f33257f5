"""Coarser candles: what is kept, or counted by a view, is what a recount of the minutes gives."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy import Connection, column, delete, literal_column, select, table, text, update

from etl.schema import from_columns
from etl.series import Series
from etl.stores import Stores
from etl.timeframe import Timeframe, from_ms, to_ms
from etl.warehouse import ensure_series
from etl.warehouse.aggregates import AGGREGATES, aggregate_name, refresh_aggregates
from etl.warehouse.copying import copy_in
from etl.warehouse.database import Warehouse
from etl.warehouse.features import read_features
from etl.warehouse.reading import cursor_of
from etl.warehouse.tables import candles
from tests.conftest import BTC
from tests.markets import START

MINUTE = 60_000
DAY = 1440
ETH = Series.parse("binance:ETH/USDT:1m")
HOURLY = Series.parse("binance:BTC/USDT:1h")
SUMS = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is done to some minutes of a series; minutes count from START and may lie before it."""

    kind: str
    series: Series
    first: int
    minutes: int
    seed: int
    is_refreshed: bool


STEPS = st.lists(
    st.builds(
        Step,
        kind=st.sampled_from(["load", "load", "change", "delete", "compress"]),
        series=st.sampled_from([BTC, ETH, HOURLY]),
        # Around one moment, so that steps meet, and far before it, where nothing was yet.
        first=st.one_of(st.integers(-30, 200), st.integers(-90 * DAY, -40 * DAY)),
        minutes=st.one_of(st.integers(1, 40), st.integers(1000, 2500)),
        seed=st.integers(0, 2**32 - 1),
        is_refreshed=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@given(steps=STEPS)
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_aggregates_are_what_a_recount_of_the_minutes_gives(steps: list[Step], stores: Stores) -> None:
    """Loads, changes and deletions in any order, into compressed chunks too: once refreshed, each bucket is right."""
    warehouse = stores.warehouse
    with warehouse.begin() as connection:
        connection.execute(text("DELETE FROM candles"))
    refresh_aggregates(warehouse)
    for step in steps:
        _do(warehouse, step)
        if step.is_refreshed:
            refresh_aggregates(warehouse)
    refresh_aggregates(warehouse)
    with warehouse.begin() as connection:
        minutes = connection.execute(
            text("SELECT candles.* FROM candles JOIN series ON id = series_id WHERE timeframe = '1m' ORDER BY 1, 2")
        ).mappings()
        held = [dict(row) for row in minutes]
        for timeframe in AGGREGATES:
            _check(connection, timeframe, held)


def _do(warehouse: Warehouse, step: Step) -> None:
    random = np.random.default_rng(step.seed)
    own = candles.c
    with warehouse.begin() as connection:
        series_id = ensure_series(connection, step.series)
        first, end = (_at(minute) for minute in (step.first, step.first + step.minutes))
        inside = (own.series_id == series_id, own.open_time >= first, own.open_time < end)
        if step.kind == "load":
            _load(connection, series_id, step, random)
        elif step.kind == "change":
            values = {"low": own.low / 2, "close": own.low / 2, "quote_volume": None, "trades": 7, "flags": 8}
            connection.execute(update(candles).where(*inside).values(values))
        elif step.kind == "delete":
            connection.execute(delete(candles).where(*inside))
        elif read_features(connection).has_all:
            connection.execute(text("SELECT compress_chunk(chunk) FROM show_chunks('candles') chunk"))


def _load(connection: Connection, series_id: int, step: Step, random: np.random.Generator) -> None:
    """Load those of the step's minutes that are not there, with holes, and nulls in some."""
    width = step.series.timeframe.ms // MINUTE
    minutes = np.arange(-(-step.first // width) * width, step.first + step.minutes, width)
    minutes = minutes[random.random(len(minutes)) < 0.8]
    there = connection.execute(text("SELECT open_time FROM candles WHERE series_id = :id"), {"id": series_id}).scalars()
    minutes = minutes[~np.isin(minutes, [(to_ms(at) - to_ms(START)) // MINUTE for at in there])]
    n = len(minutes)
    low, high = 1 + random.random(n), 3 + random.random(n)
    maybe = {name: np.where(random.random(n) < 0.02, np.nan, random.random(n) * 1e6) for name in SUMS}
    columns: dict[str, NDArray[Any]] = {
        **{"open_time": to_ms(START) + minutes * MINUTE, "low": low, "high": high},
        **{"open": low + random.random(n), "close": low + random.random(n), "volume": random.random(n) * 1e3},
        **maybe,
        "trades": np.where(random.random(n) < 0.02, -1, random.integers(0, 2**40, n)),
        "flags": random.integers(0, 512, n).astype(np.int16),
        "source": np.ones(n, dtype=np.int16),
    }
    with cursor_of(connection) as cursor:
        copy_in(cursor, "candles", series_id, from_columns(columns))


def _at(minute: int) -> Any:
    return from_ms(to_ms(START) + minute * MINUTE)


def _check(connection: Connection, timeframe: Timeframe, minutes: list[dict[str, Any]]) -> None:
    """Hold a coarser timeframe against a recount, column by column."""
    buckets: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in minutes:
        at = to_ms(row["open_time"])
        buckets.setdefault((row["series_id"], at // timeframe.ms * timeframe.ms), []).append(row)
    everything = select(literal_column("*")).select_from(table(aggregate_name(timeframe)))
    found = connection.execute(everything.order_by(column("series_id"), column("open_time"))).mappings().all()
    assert [(row["series_id"], to_ms(row["open_time"])) for row in found] == list(buckets), timeframe
    for made, rows in zip(found, buckets.values(), strict=True):
        assert made["open"] == rows[0]["open"]
        assert made["close"] == rows[-1]["close"]
        assert made["high"] == max(row["high"] for row in rows)
        assert made["low"] == min(row["low"] for row in rows)
        assert made["candles"] == len(rows)
        assert made["flags"] == np.bitwise_or.reduce([row["flags"] for row in rows])
        for name in ("volume", *SUMS):
            given = [row[name] for row in rows]
            expected = None if None in given else pytest.approx(sum(given), rel=1e-12)
            assert made[name] == expected, (timeframe, name)


def test_two_may_refresh_while_a_third_loads(stores: Stores) -> None:
    """Processes that refresh at once wait for each other and for nobody else; the last of them leaves it right."""
    failed: list[BaseException] = []
    warehouse = stores.warehouse

    def load() -> None:
        for day in range(6):
            _do(warehouse, Step("load", BTC, -day * DAY, DAY, day, False))

    def refresh() -> None:
        for _ in range(4):
            refresh_aggregates(warehouse)

    def run(what: Any) -> None:
        try:
            what()
        except BaseException as error:  # noqa: BLE001  # told to the thread that waits
            failed.append(error)

    threads = [threading.Thread(target=run, args=(what,)) for what in (load, refresh, refresh)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    refresh_aggregates(warehouse)
    with warehouse.begin() as connection:
        held = connection.execute(text("SELECT * FROM candles ORDER BY 1, 2")).mappings().all()
        for timeframe in AGGREGATES:
            _check(connection, timeframe, [dict(row) for row in held])


@pytest.mark.parametrize("timeframe", AGGREGATES)
def test_one_series_and_a_range_are_found_by_the_key(timeframe: Timeframe, stores: Stores) -> None:
    """A question about one series and a range reads no other candles, whichever way the aggregates are made."""
    _do(stores.warehouse, Step("load", BTC, 0, 10 * DAY, 1, False))
    _do(stores.warehouse, Step("load", ETH, 0, 10 * DAY, 2, False))
    asked = table(aggregate_name(timeframe), column("series_id"), column("open_time"), column("close"))
    one = select(asked).where(asked.c.series_id == 1, asked.c.open_time >= _at(DAY), asked.c.open_time < _at(2 * DAY))
    with stores.warehouse.begin() as connection:
        connection.execute(text("ANALYZE candles"))
        question = one.compile(connection, compile_kwargs={"literal_binds": True})
        plan = list(connection.exec_driver_sql(f"EXPLAIN {question}").scalars())
    assert not any("Seq Scan on candles" in line or "Seq Scan on _hyper" in line for line in plan), "\n".join(plan)
