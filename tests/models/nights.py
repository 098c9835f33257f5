"""A small market in a real warehouse, to train models on: its candles as loads leave them, but for their accounts."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa

from etl.learning import Learning
from etl.schema import from_columns, to_columns
from etl.series import Series
from etl.settings import Settings
from etl.timeframe import Timeframe, from_ms
from etl.warehouse import Warehouse, ensure_series
from etl.warehouse.copying import copy_in
from etl.warehouse.reading import cursor_of
from models.targets import Target
from tests.models.made_up import START_MS, walk

TARGET = Target(Timeframe.M5)
BTC, ETH = (Series.parse(f"binance:{symbol}/USDT:5m") for symbol in ("BTC", "ETH"))
DAYS, DAY_SLOTS = 24, 288
LEARNING = Learning(
    history=timedelta(days=DAYS), least_history=timedelta(days=18), held_out=timedelta(days=15), epochs=1
)
END = from_ms(START_MS) + timedelta(days=DAYS)


def with_learning(settings: Settings, **changes: object) -> Settings:
    """Return settings for so short a history."""
    return settings.model_copy(update={"models": LEARNING.model_copy(update=changes)})


def market(seed: int, days: int = DAYS, later: timedelta = timedelta(0)) -> pa.Table:
    """Return some days of candles, up to END if there are DAYS of them; or all that so much later."""
    candles = walk(days * DAY_SLOTS, seed, missing=0.01, timeframe=Timeframe.M5)
    columns = to_columns(candles)
    return from_columns({**columns, "open_time": columns["open_time"] + later // timedelta(milliseconds=1)})


def wild(candles: pa.Table, each: int) -> pa.Table:
    """Return the candles with one of so many a third higher, which rules flag."""
    columns = to_columns(candles)
    prices = {name: columns[name].copy() for name in ("open", "high", "low", "close")}
    for values in prices.values():
        values[each - 1 :: each] *= 4 / 3
    return from_columns({**columns, **prices})


def store(warehouse: Warehouse, series: Series, candles: pa.Table) -> None:
    """Put candles into the warehouse."""
    with warehouse.begin() as connection, cursor_of(connection) as cursor:
        copy_in(cursor, "candles", ensure_series(connection, series), candles)
