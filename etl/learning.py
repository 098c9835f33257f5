"""The table [models] of feeds.toml: what models learn from, how often they may alert, how long they stay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from etl.spelling import Duration, counted
from etl.timeframe import Timeframe

HISTORY_CANDLES = 8_640
"""A training reads at least so many candles back: 90 days at 15m, 360 days at 1h, 24 years at 1d."""
LEAST_CANDLES = 720
"""The fewest candles to train with: 30 days at 1h, 120 days at 4h, two years at 1d."""
HELD_OUT_CANDLES = 504
"""The fewest candles held out: two thirds are enough to fit thresholds, one third to plant an anomaly in."""
SELDOM_CANDLES = 30
"""A candle is no anomaly if one in so many is as strange, whatever the alert budget allows."""

_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class TrainingSpans:
    """Lengths of the parts of a training's history, whole candles; see the attributes of `Learning`."""

    history: timedelta
    least_history: timedelta
    held_out: timedelta


class Learning(BaseModel):
    """Settings by which models are trained, compared and kept.

    Days are few candles at a coarse timeframe, so `spans_at` and `budget_at` bound these settings by candles.

    Attributes:
        incidents_per_series_per_week: The alert budget: how many incidents a threshold is to give in common weeks.
        history: How far back a training reads; HISTORY_CANDLES where that is longer.
        least_history: A series with fewer candles than that many days hold is left out of a training; fewer than
            LEAST_CANDLES where that is more.
        held_out: The latest part of the history: nothing is learned from it; thresholds and comparisons are.
            HELD_OUT_CANDLES where that is longer.
        per_series: One model for each series, instead of one for all series of a timeframe.
        epochs: How often a training goes through its candles at most; it stops before when nothing more is gained.
        keep: How long the blob of a model that is retired or rejected is kept; what is said of it stays.
        max_artifact_mb: A larger artifact is neither written nor read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    incidents_per_series_per_week: float = Field(default=1.0, gt=0, le=1000)
    history: Duration = timedelta(days=90)
    least_history: Duration = timedelta(days=28)
    held_out: Duration = timedelta(days=21)
    per_series: bool = False
    epochs: int = Field(default=12, ge=1, le=1000)
    keep: Duration = timedelta(days=90)
    max_artifact_mb: float = Field(default=32.0, gt=0, le=1000)

    @property
    def max_artifact_bytes(self) -> int:
        """`max_artifact_mb` in bytes."""
        return int(self.max_artifact_mb * 1e6)

    def spans_at(self, timeframe: Timeframe) -> TrainingSpans:
        """Return the lengths of a training's parts at a timeframe: those of the settings, or of the fewest candles."""

        def longer(span: timedelta, candles: int) -> timedelta:
            return max(span - span % timeframe.delta, candles * timeframe.delta)

        return TrainingSpans(
            longer(self.history, HISTORY_CANDLES),
            longer(self.least_history, LEAST_CANDLES),
            longer(self.held_out, HELD_OUT_CANDLES),
        )

    def problems_at(self, timeframe: Timeframe) -> dict[str, str]:
        """Return the settings that contradict others at a timeframe, each with its problem and the remedy.

        None of them trains a model: nothing would be left to learn from, or no series could hold enough.
        """
        spans = self.spans_at(timeframe)
        limits = {"history": spans.history, "least_history": spans.least_history}
        if wrong := {name: span for name, span in limits.items() if spans.held_out >= span}:
            told = " and ".join(f"{name}, {in_days(span)}" for name, span in wrong.items())
            return {
                "held_out": f"{in_days(spans.held_out)} at {timeframe} must be shorter than {told}: the rest is "
                f"learned; lower held_out, or raise {' and '.join(wrong)}"
            }
        if spans.least_history > spans.history:
            return {
                "least_history": f"{in_days(spans.least_history)} at {timeframe} must not be longer than history, "
                f"{in_days(spans.history)}: a training reads no more; lower least_history, or raise history"
            }
        return {}

    def budget_at(self, timeframe: Timeframe) -> float:
        """Return the incidents a week that a threshold is made for: the alert budget, or fewer from `6h` up.

        A week has 7 candles of `1d`; one incident a week would call every seventh of them an anomaly.
        """
        return min(self.incidents_per_series_per_week, _WEEK / timeframe.delta / SELDOM_CANDLES)


def in_days(span: timedelta) -> str:
    """Return a length in days, rounded up: `1 day`, `1,000 days`."""
    return counted(math.ceil(span / _DAY), "day")
