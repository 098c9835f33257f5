"""Robust numbers of a series: what is usual, how far values are from it, what a log needs to be added."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_HOURS = 7 * 24
_TO_SIGMA = 1.4826
_ENOUGH = 8  # candles, to know what is usual in an hour


def median_of(values: Floats) -> float:
    """Return the median of what is known; 0 if nothing is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else 0.0


def floor_of(values: Floats) -> float:
    """Return half of what is small among the values above zero; 1 if there are none."""
    positive = values[values > 0]
    return float(np.quantile(positive, 0.05)) / 2 if len(positive) else 1.0


def usual_by_hour(values: Floats, hours: NDArray[np.int64], is_clean: NDArray[np.bool_]) -> Floats:
    """Return the median by hour of the week; of the day, or of all, where there are too few."""
    known = is_clean & ~np.isnan(values)
    values, hours = values[known], hours[known]
    if not len(values):
        return np.zeros(_HOURS)
    whole = np.full(_HOURS, np.median(values))
    for cycle in (24, _HOURS):
        order = np.argsort(hours % cycle, kind="stable")
        bounds = np.searchsorted((hours % cycle)[order], np.arange(cycle + 1))
        for hour in range(cycle):
            here = values[order[bounds[hour] : bounds[hour + 1]]]
            if len(here) >= _ENOUGH:
                whole[hour::cycle] = np.median(here)
    return whole


def deviation_of(values: Floats) -> float:
    """Return a robust standard deviation; where more than half of the values are alike, a plain one."""
    return float(_TO_SIGMA * np.median(np.abs(values))) or float(values.std())
