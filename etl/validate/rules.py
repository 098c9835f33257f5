"""The rules that refuse a row: each a small pure function over columns, with its reason. A new one is a line below.

The first rule that a row breaks names it in quarantine. A row of another shape, which no rule can look at, is there
under `shape`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from etl.rules import Rules
from etl.timeframe import Timeframe

Mask = NDArray[np.bool_]
Facts = TypeVar("Facts")
PRICES = ("open", "high", "low", "close")
REQUIRED = ("open", "high", "low", "close", "volume")
OFF_GRID = "off_grid"
SHAPE = "shape"
"""Refuses what no rule can look at: a row that is torn, too long, or states no open time as the exchange writes it."""
FORMING = "forming"
"""The rule by which a row is only too early: nothing is wrong with it."""
SUPERSEDED = "superseded"


class Level(StrEnum):
    """Effect of a rule on what it finds."""

    REFUSE = "refuse"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Rule(Generic[Facts]):
    """A rule, by its name in quarantine or among the flags.

    Attributes:
        finds: Returns (n,) bool: where the rule is broken. Its docstring is the rule's reason.
        evidence: The columns that it looks at.
        never: Why no person can make a candle of what it refuses; empty if one can.
    """

    name: str
    level: Level
    finds: Callable[[Facts, Rules], Mask]
    evidence: tuple[str, ...] = ()
    never: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Received rows as columns, all of length n and in the order of their arrival.

    Attributes:
        open_time_ms: int64, milliseconds since the epoch.
        values: float64 by column name, NaN where there is no finite number; `trades` is int64, -1 likewise.
        is_bad: By column name, where something was given that is no number; what is not named is nowhere bad.
        fetched_at_ms: int64, the exchange's clock when the row was asked for.
        is_conflicting: Where a later row has the same open_time and other values; None if that was not looked at.
    """

    timeframe: Timeframe
    open_time_ms: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64] | NDArray[np.int64]]
    is_bad: Mapping[str, Mask]
    fetched_at_ms: NDArray[np.int64]
    is_conflicting: Mask | None


def is_off_grid(columns: Columns, rules: Rules) -> Mask:
    """The open time is no multiple of the timeframe, so the row covers parts of two candles.

    It is of the slot in which it opens. If nothing else came for that slot, a person can release it as its candle.

    Source: https://github.com/ccxt/ccxt/issues/26736
    """
    is_between: Mask = columns.open_time_ms % columns.timeframe.ms != 0
    return is_between


def is_forming(columns: Columns, rules: Rules) -> Mask:
    """The candle had not closed by the exchange's clock when it was asked for; its values were still to change.

    Source: https://github.com/freqtrade/freqtrade/issues/8678
    """
    is_open: Mask = columns.open_time_ms + columns.timeframe.ms > columns.fetched_at_ms
    return is_open


def is_not_a_number(columns: Columns, rules: Rules) -> Mask:
    """A required value is missing, or is no finite number: null candles, `NaN` and `Infinity` do occur.

    Source: https://github.com/ccxt/ccxt/issues/4847
    """
    return _any([~np.isfinite(columns.values[name]) for name in REQUIRED])


def is_not_positive(columns: Columns, rules: Rules) -> Mask:
    """A price is zero or below. Spot prices are not."""
    return _any([columns.values[name] <= 0 for name in PRICES])


def breaks_ohlc(columns: Columns, rules: Rules) -> Mask:
    """High is below low, or by more than a tolerance below, or low above, one of the other prices.

    Exchanges do send candles whose high or low misses open or close by a hair, as when trades are booked late; they are
    real, and flagged. What misses by more is no price of that minute.

    Source: https://github.com/ccxt/ccxt/issues/2049
    """
    opened, high, low, closed = (columns.values[name] for name in PRICES)
    # Divided, since prices are finite and a product of them need not be.
    tolerated = 1 + rules.ohlc_tolerance_pct / 100
    is_low_above = low / tolerated > np.minimum(opened, closed)
    is_high_below = high < np.maximum(opened, closed) / tolerated
    return is_low_above | is_high_below | (low > high)


def is_negative_amount(columns: Columns, rules: Rules) -> Mask:
    """The volume is below zero."""
    is_below: Mask = columns.values["volume"] < 0
    return is_below


def is_superseded(columns: Columns, rules: Rules) -> Mask:
    """Another row for the same candle arrived later with other values; the later one counts.

    Source: https://github.com/ccxt/ccxt/issues/6742
    """
    if columns.is_conflicting is None:
        return np.zeros(len(columns.open_time_ms), dtype=np.bool_)
    return columns.is_conflicting


def _any(masks: Sequence[Mask]) -> Mask:
    either = masks[0]
    for mask in masks[1:]:
        either = either | mask
    return either


def _refuses(
    name: str, finds: Callable[[Columns, Rules], Mask], evidence: tuple[str, ...], never: str = ""
) -> Rule[Columns]:
    return Rule(name, Level.REFUSE, finds, evidence, never)


REFUSING: tuple[Rule[Columns], ...] = (
    _refuses(OFF_GRID, is_off_grid, ("open_time",)),
    _refuses(FORMING, is_forming, ("open_time", "fetched_at"), "it had not closed; the next load fetches it closed"),
    _refuses(
        "not_a_number",
        is_not_a_number,
        REQUIRED,
        "a value that it needs is no number",
    ),
    _refuses("not_positive", is_not_positive, PRICES, "no store holds a price of zero or below"),
    _refuses("ohlc", breaks_ohlc, PRICES),
    _refuses("negative_amount", is_negative_amount, ("volume",), "no store holds an amount below zero"),
    _refuses(SUPERSEDED, is_superseded, ("open_time", *REQUIRED)),
)
