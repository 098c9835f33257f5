"""Contributions to a score: how much each channel says of what is strange in a candle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_USUAL = 1.0  # once in ten candles is nothing that needs an explanation
_LEAST = 0.01


def shares_of(channels: Sequence[str], by_channel: NDArray[np.float64]) -> list[dict[str, float]]:
    """Return the shares of candles: what is beyond once in ten candles, by channel, of all that is; together 1.

    A score is the strangest channel's, so the largest share is that of the one that made it. Shares below a hundredth
    are left out.

    Args:
        channels: Their names.
        by_channel: (n, channels) log10 of once in so many candles; NaN where a channel says nothing.
    """
    beyond = np.fmax(np.nan_to_num(by_channel, nan=0.0) - _USUAL, 0.0)
    total = beyond.sum(axis=1, keepdims=True)
    parts = np.divide(beyond, total, out=np.zeros_like(beyond), where=total > 0)
    parts[parts < _LEAST] = 0.0
    parts = np.divide(parts, parts.sum(axis=1, keepdims=True), out=parts, where=total > 0)
    order = np.argsort(-parts, axis=1, kind="stable")
    return [
        {channels[number]: round(float(row[number]), 3) for number in best if row[number] > 0}
        for row, best in zip(parts, order, strict=True)
    ]
