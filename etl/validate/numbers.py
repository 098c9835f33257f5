"""Received values into numbers, a column at a time; what is no number is told apart from what is not given.

Exchanges send decimal strings, numbers and nulls. numpy reads a clean column of them at once; it also reads `1_000`,
other alphabets' digits and `NaN`, so a column that holds anything unusual is looked at value by value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_USUAL = frozenset("0123456789.-+eE")


def to_floats(values: Sequence[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read one column.

    Args:
        values: (n,) as received: decimal strings, numbers, None or anything else.

    Returns:
        numbers: (n,) float64; NaN where there is no finite number.
        is_bad: (n,) where a value is given that is no finite number. None is not bad, only absent.
    """
    if set(map(type, values)) <= {str} and _USUAL.issuperset("".join(values)):
        try:
            numbers = np.array(values, dtype=np.float64)
        except ValueError:
            pass
        else:
            return numbers, ~np.isfinite(numbers)
    numbers = np.array([_to_float(value) for value in values], dtype=np.float64)
    is_given = np.array([value is not None for value in values], dtype=np.bool_)
    return numbers, is_given & np.isnan(numbers)


def to_integers(values: Sequence[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read one column of whole numbers; as `to_floats`, with -1 where there is none that int64 holds."""
    if set(map(type, values)) <= {int} and (not values or (min(values) >= 0 and max(values) < 2**63)):
        return np.array(values, dtype=np.int64), np.zeros(len(values), dtype=np.bool_)
    numbers = np.array([_to_int(value) for value in values], dtype=np.int64)
    is_given = np.array([value is not None for value in values], dtype=np.bool_)
    return numbers, is_given & (numbers < 0)


def _to_float(value: Any) -> float:
    if type(value) is int or type(value) is float:
        # An integer of four hundred digits is no price either.
        number = float(value) if abs(value) < 1e300 else math.nan
    elif isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = float(value)
    else:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _to_int(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"0*\d{1,18}", value, re.ASCII):
        return int(value[-18:])
    return value if type(value) is int and 0 <= value < 2**63 else -1
