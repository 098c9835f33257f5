"""The LSTM: it foretells each candle's features as distributions, and a candle is as strange as it is improbable.

From the candles before, it tells a mean and a scale of range and volume; from these too, and from range and body of the
candle itself, what its volume and its return should have been. So a wild hour widens what counts as normal, a burst of
volume that goes with a wide candle is less strange than one that moves nothing, and a price that leaps between two
candles shows though each of them looks calm. The distributions have heavy tails (Student's), since those of markets do.

One pass over a row gives the distributions of all its candles: learning and judging cost as much as candles, not as
much as windows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etl.errors import ArtifactError, InsufficientHistoryError
from models.blocks import BLOCK, STEPS
from models.features import FEATURES
from models.scorers.scorer import Floats, Judge, Lesson, Mask, Parts, Progress, Scorer, Study

if TYPE_CHECKING:
    import tensorflow as tf

UNITS = 64
_SEEN = ("return", "range", "body", "place", "volume", "trades", "taker_share")
_WIDEST = 6.0
"""What is seen of a wilder value: one bad print shall not drown all that came before it."""
