"""The table [models] of feeds.toml: what models learn from, how often they may alert, how long they stay."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from etl.spelling import Duration


class Learning(BaseModel):
    """How models are trained, compared and kept.

    Attributes:
        incidents_per_series_per_week: The alert budget: how many incidents a threshold is to give in common weeks.
        history: How far back a training reads.
        least_history: A series with fewer candles than that many days hold is left out of a training.
        held_out: The latest part of the history: nothing is learned from it; thresholds and comparisons are.
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
