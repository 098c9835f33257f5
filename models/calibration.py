"""What a score means: how seldom it is exceeded, and where the cut lies that an alert budget asks for.

Whatever a scorer's numbers are, each channel of each series is measured by its own scores on held-out candles: by their
quantiles, and beyond these by the tail that peaks over threshold fit. So channels and scorers become comparable, and a
score can be told to a person: once in so many candles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KNOTS = 32


@dataclass(frozen=True, slots=True)
class Calibration:
    """What one series' scores mean, under one model.

    Attributes:
        knots: (channels, KNOTS) float64 ascending, quantiles of a channel's scores up to where its tail begins.
        tails: (channels, 2) float64: shape and scale of the generalised Pareto distribution beyond the last knot.
        cut: The joined score at and above which a candle is an anomaly.
    """

    knots: Floats
    tails: Floats
    cut: float
