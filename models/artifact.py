"""A model as one blob."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.calibration import Calibration
from models.features import Norm
from models.scorers.scorer import Parts

ALL = "all"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model: what a scorer has learned, and what makes scores of it for each series that it knows.

    Attributes:
        scorer: A name in `models.scorers.SCORERS`.
        timeframe: Of the candles that it judges.
        scope: ALL, or the one series that it is for.
        learned: The range that it learned from.
        held_out: The range that its calibrations are from.
        as_of: The moment as of which the candles were read, by the warehouse's clock.
        data_hash: SHA-256 over the candles that were read, 64 hexadecimal digits.
        budget: Incidents per series and week that the cuts are made for.
        parts: What the scorer has learned.
        norms: What normalises each series.
        calibrations: What scores mean, for each series.
    """

    scorer: str
    timeframe: Timeframe
    scope: str
    learned: TimeRange
    held_out: TimeRange
    as_of: datetime
    data_hash: str
    budget: float
    parts: Parts
    norms: Mapping[Series, Norm]
    calibrations: Mapping[Series, Calibration]
