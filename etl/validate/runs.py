"""Stretches of slots, and the buckets that they are judged by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Runs = tuple[NDArray[np.intp], NDArray[np.intp]]
"""First slots of stretches, and the slots after their last ones; ascending."""

BUCKET = 1440
"""Slots for which one rate of silence holds, counted from the epoch: a day of `1m`, sixty days of `1h`."""


def find_runs(mask: Mask) -> Runs:
    """Return where the stretches of `mask` begin and end."""
    edges = np.diff(mask.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
