"""Consecutive anomalies are one incident: what a person is told of, and what an alert budget counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etl.timeframe import Timeframe

MERGE = 5
"""Anomalies no more than so many slots apart are one incident.

A crash that takes a breath for a few candles is one crash to whoever is woken by it; what comes half an hour later at
`1m` is news again. Five lies between, and is as much as `models.metrics` tolerates.
"""
LULL_MS = 30 * 60_000
_DAY_MS = 86_400_000


def merge_at(timeframe: Timeframe) -> int:
    """Return the most slots from one anomaly of an incident to its next: MERGE, or the fewer that a day has.

    Five daily candles are most of a week, in which one event follows another; two days in a row are one.
    """
    return min(MERGE, _DAY_MS // timeframe.ms)


def lull(timeframe: Timeframe) -> int:
    """Return the most slots from one anomaly to the next, of what people are told of as one incident.

    As `merge_at`, or as many as half an hour has if that is more: a crash pauses for a quarter of an hour, and is no
    other one when it goes on. An alert budget counts by `merge_at`, and so allows for what is told and a little more.
    """
    return max(merge_at(timeframe), LULL_MS // timeframe.ms)


def find_incidents(is_anomaly: NDArray[np.bool_], merge: int = MERGE) -> NDArray[np.int64]:
    """Join anomalies to incidents.

    Args:
        is_anomaly: (n,) by slot of the grid.
        merge: The most slots from one anomaly of an incident to its next.

    Returns:
        (k, 2) first and last slot of each incident, both of them anomalies, ascending.
    """
    slots = np.flatnonzero(is_anomaly)
    if not len(slots):
        return np.empty((0, 2), dtype=np.int64)
    breaks = np.flatnonzero(np.diff(slots) > merge)
    first, last = slots[np.append(0, breaks + 1)], slots[np.append(breaks, len(slots) - 1)]
    return np.stack([first, last], axis=1).astype(np.int64)
