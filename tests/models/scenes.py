"""Made-up incidents on a made-up market, here and on another exchange, for tests of what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etl.incidents import Detector
from etl.schema import from_columns, to_columns
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.describing import Scene
from models.features import Track, to_track
from tests.models.made_up import START_MS, walk

HERE, THERE, THIRD = (Series.parse(f"{name}:1m") for name in ("binance:BTC/USDT", "coinbase:BTC/USD", "kraken:BTC/USD"))
COUNT, AT = 400, 300
"""Slots of a market, and where something happens to it."""
MINUTE = Timeframe.M1

Columns = dict[str, Any]


def market(seed: int = 1, venue: int = 0, count: int = COUNT) -> Columns:
    """Return candles of one asset: of one seed all venues have the same prices, but for a hair, and own volumes."""
    columns = {name: values.copy() for name, values in to_columns(walk(count, seed)).items()}
    random = np.random.default_rng([seed, venue])
    hair = np.exp(2e-5 * random.standard_normal(count))
    for name in ("open", "high", "low", "close"):
        columns[name] *= hair
    columns["volume"] *= random.lognormal(sigma=0.2, size=count)
    return columns


def to(columns: Columns) -> Track:
    """Put candles on their grid."""
    count = (int(columns["open_time"][-1]) - START_MS) // MINUTE.ms + 1
    return to_track(from_columns(columns), MINUTE, TimeRange.from_ms(START_MS, START_MS + count * MINUTE.ms))


def scene(
    here: Columns, there: Mapping[Series, Columns] | None = None, first: int = AT, last: int = AT, **facts: Any
) -> Scene:
    """Return an incident that a model found just at its cut."""
    known = {"peak": first, "detector": Detector.MODEL, "score": 4.0, "threshold": 4.0, **facts}
    others = {series: on_slots_of(here, columns) for series, columns in (there or {}).items()}
    return Scene(HERE, to(here), others, first=first, last=last, **known)


def on_slots_of(here: Columns, columns: Columns) -> Track:
    """Put another venue's candles on the slots of this one's."""
    own = to(here)
    return to_track(from_columns(columns), MINUTE, TimeRange.from_ms(own.start_ms, own.start_ms + len(own) * MINUTE.ms))


def without(columns: Columns, *slots: int) -> Columns:
    """Return candles without those of some slots."""
    keep = np.ones(len(columns["close"]), dtype=np.bool_)
    keep[list(slots)] = False
    return {name: values[keep] for name, values in columns.items()}


def wick(columns: Columns, size: float, slot: int = AT) -> Columns:
    """Let one candle reach up or down by a share of its price, and close where it did."""
    name, body = ("high", np.maximum) if size > 0 else ("low", np.minimum)
    columns[name][slot] = body(columns["open"][slot], columns["close"][slot]) * (1 + size)
    return columns


def shift(columns: Columns, size: float, slot: int = AT, until: int | None = None) -> Columns:
    """Move the price by a share within one candle; from `until` on it is back."""
    for name in ("open", "high", "low", "close"):
        columns[name][slot:until] *= 1 + size
    before = columns["close"][slot - 1]
    columns["open"][slot] = before
    columns["high"][slot] = max(columns["high"][slot], before)
    columns["low"][slot] = min(columns["low"][slot], before)
    return columns


def freeze(columns: Columns, count: int, slot: int = AT) -> Columns:
    """Repeat the last close for a while."""
    for name in ("open", "high", "low", "close"):
        columns[name][slot : slot + count] = columns["close"][slot - 1]
    return columns


def burst(columns: Columns, times: float, slot: int = AT, count: int = 1) -> Columns:
    """Let some candles have so many times the usual volume."""
    columns["volume"][slot : slot + count] = times * np.median(columns["volume"][:slot])
    return columns


def wash(columns: Columns, count: int = 12, slot: int = AT) -> Columns:
    """Trade much for a while with hardly any range."""
    line = columns["close"][slot - 1]
    for name in ("open", "high", "low", "close"):
        here = columns[name][slot : slot + count]
        columns[name][slot : slot + count] = line * (here / line) ** 0.05
    return burst(columns, 8.0, slot, count)
