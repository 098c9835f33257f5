"""The rules that refuse a row: each a small pure function over columns, with its reason. A new one is a line in RULES.

The first rule that a row breaks names it in quarantine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etl.timeframe import Timeframe

Mask = NDArray[np.bool_]
PRICES = ("open", "high", "low", "close")
AMOUNTS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
REQUIRED = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Columns:
    """Received rows as columns, all of length n and in the order of their arrival.

    Attributes:
        open_time_ms: int64, milliseconds since the epoch.
        values: float64 by column name, NaN where there is no finite number; `trades` is int64, -1 likewise.
        is_bad: By column name, where something was given that is no number.
        fetched_at_ms: int64, the exchange's clock when the row was asked for.
        is_conflicting: Where a later row has the same open_time and other values.
    """

    timeframe: Timeframe
    open_time_ms: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64] | NDArray[np.int64]]
    is_bad: Mapping[str, Mask]
    fetched_at_ms: NDArray[np.int64]
    is_conflicting: Mask


def is_not_a_number(columns: Columns) -> Mask:
    """A required value is missing, or any value is no finite number: null candles, `NaN` and `Infinity` do occur."""
    required = [np.isnan(columns.values[name]) for name in REQUIRED]
    return _any([*required, *columns.is_bad.values()])


def is_off_grid(columns: Columns) -> Mask:
    """The open time is no multiple of the timeframe, so the row covers no candle that anyone expects."""
    is_between: Mask = columns.open_time_ms % columns.timeframe.ms != 0
    return is_between


def is_forming(columns: Columns) -> Mask:
    """The candle had not closed by the exchange's clock when it was asked for; its values were still to change."""
    is_open: Mask = columns.open_time_ms + columns.timeframe.ms > columns.fetched_at_ms
    return is_open


def is_not_positive(columns: Columns) -> Mask:
    """A price is zero or below. Spot prices are not."""
    return _any([columns.values[name] <= 0 for name in PRICES])


def breaks_ohlc(columns: Columns) -> Mask:
    """Low is above, or high below, one of the other prices."""
    opened, high, low, closed = (columns.values[name] for name in PRICES)
    return (low > np.minimum(opened, closed)) | (high < np.maximum(opened, closed)) | (low > high)


def is_negative_amount(columns: Columns) -> Mask:
    """A volume is below zero."""
    return _any([columns.values[name] < 0 for name in AMOUNTS])


def is_superseded(columns: Columns) -> Mask:
    """Another row for the same candle arrived later with other values; the later one counts."""
    return columns.is_conflicting


def _any(masks: Sequence[Mask]) -> Mask:
    either: Mask = np.logical_or.reduce(masks)
    return either


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule by its name in quarantine, with what to show as evidence.

    Attributes:
        breaks: Returns (n,) bool: the rows to refuse.
        evidence: The columns that the rule looked at.
    """

    name: str
    breaks: Callable[[Columns], Mask]
    evidence: tuple[str, ...]


RULES: tuple[Rule, ...] = (
    Rule("off_grid", is_off_grid, ("open_time",)),
    Rule("forming", is_forming, ("open_time", "fetched_at")),
    Rule("not_a_number", is_not_a_number, (*REQUIRED, "quote_volume", "trades", *AMOUNTS[2:])),
    Rule("not_positive", is_not_positive, PRICES),
    Rule("ohlc", breaks_ohlc, PRICES),
    Rule("negative_amount", is_negative_amount, AMOUNTS),
    Rule("superseded", is_superseded, ("open_time", *REQUIRED)),
)
