"""Forecasts of the LSTM, and their input: its heads, and the columns that it sees, is given and aims at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.scorers.local import LEVELS, MOMENT, MOVES
from models.scorers.scorer import Floats


@dataclass(frozen=True, slots=True)
class Head:
    """One feature whose distribution is foretold.

    Attributes:
        channel: What its strangeness is called.
        of: The feature, one of MOVES.
        given: What is known of the same candle besides the past, columns of GIVEN.
    """

    channel: str
    of: str
    given: tuple[str, ...] = ()


HEADS = (
    Head("range", "range"),
    Head("volume", "volume"),
    Head("return", "return"),
    Head("effort", "volume", ("range", "body", "body_size")),
    Head("leap", "return", ("range", "body", "body_size", "volume")),
    Head("trades", "trades", ("range", "volume")),
    Head("taker_share", "taker_share", ("return", "return_size", "volume")),
)
"""range, volume, return: from the past alone. effort: volume for what the price has moved. leap: return for what moved
within the candle: what is left moved between two candles. trades: for volume and range. taker_share: for the return."""
_LEAP = [head.channel for head in HEADS].index("leap")
_CONTEXT = (*LEVELS, *MOMENT)
SEEN = (*MOVES, "return_size", *_CONTEXT, "is_return_known", "is_range_known")
GIVEN = ("return", "return_size", "range", "body", "body_size", "volume", *_CONTEXT)

_WIDEST = 6.0
"""What is seen of a wilder value: one bad print shall not drown all that came before it."""


def see(local: Mapping[str, Floats]) -> Floats:
    """Return what the LSTM sees, (rows, steps, len(SEEN)), of what `localise` gives; nothing NaN."""
    return _columns(local, SEEN)


def give(local: Mapping[str, Floats]) -> Floats:
    """Return what heads may be given, (rows, steps, len(GIVEN)); nothing NaN."""
    return _columns(local, GIVEN)


def aim(local: Mapping[str, Floats]) -> Floats:
    """Return what heads foretell, (rows, steps, len(HEADS)); NaN where it is not known.

    Nor is there a leap where no candle is held just before: a price that goes on while there are no candles has moved
    between two of them, however calmly.
    """
    aims = np.stack([local[head.of] for head in HEADS], axis=-1)
    is_held = ~np.isnan(local["place"])
    is_next = np.zeros_like(is_held)
    is_next[:, 1:] = is_held[:, :-1]
    aims[~is_next, _LEAP] = np.nan
    return aims


def places_given(head: Head) -> list[int]:
    """Return which columns of GIVEN a head is given: its own, and those that all are."""
    return [GIVEN.index(name) for name in (*head.given, *_CONTEXT)]


def _columns(local: Mapping[str, Floats], names: tuple[str, ...]) -> Floats:
    clipped = {name: np.clip(values, -_WIDEST, _WIDEST) for name, values in local.items()}
    made = {
        "return_size": np.abs(clipped["return"]),
        "body_size": np.abs(clipped["body"]),
        "is_return_known": ~np.isnan(clipped["return"]),
        "is_range_known": ~np.isnan(clipped["range"]),
    }
    columns = np.stack([(clipped | made)[name] for name in names], axis=-1, dtype=np.float32, casting="unsafe")
    return np.nan_to_num(columns, copy=False, nan=0.0)
