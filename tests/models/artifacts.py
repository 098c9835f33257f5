"""Artifacts for tests: what a scorer learned from noise, with norms and calibrations that mean nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

import numpy as np

from etl.series import Series, TimeRange
from models.artifact import Artifact
from models.calibration import KNOTS, Calibration
from models.features import FEATURES, Norm
from models.recent import NAMES
from models.scorers import SCORERS
from models.scorers.scorer import Lesson, Parts, Study
from models.targets import ALL

LIMIT = 5_000_000
TWO = (Series.parse("binance:BTC/USDT:1m"), Series.parse("binance:ETH/USDT:1m"))


def made_artifact(
    seed: int = 1,
    *,
    series: Sequence[Series] = TWO,
    scope: str = ALL,
    scorer: str = "seasonal_z",
    parts: Parts | None = None,
) -> Artifact:
    """Return an artifact; the same one for the same seed."""
    random = np.random.default_rng(seed)
    channels = len(SCORERS[scorer].channels)
    return Artifact(
        scorer,
        series[0].timeframe,
        scope,
        TimeRange(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
        TimeRange(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 22, tzinfo=UTC)),
        datetime(2024, 3, 22, 4, 30, 0, 123456, UTC),
        f"{seed:064x}",
        1.0,
        parts or _parts(scorer),
        {one: _norm(random, tick=0.01 * (seed % 2) * (one == series[0]), lately=seed % 2) for one in series},
        {one: _calibration(random, channels) for one in series},
    )


@cache
def _parts(scorer: str) -> Parts:
    values = np.random.default_rng(1).normal(size=(2000, len(FEATURES))).astype(np.float32)
    lesson = Lesson(values, np.ones(2000, dtype=np.bool_))
    return SCORERS[scorer].fit([lesson], Study())


def _norm(random: np.random.Generator, tick: float, lately: int) -> Norm:
    """Return a norm; blobs of even seeds know neither coarse ticks nor what is usual, as those of earlier versions."""
    width = len(FEATURES)
    centre, scale, floor = random.normal(size=width), random.random(width) + 0.1, random.random(3) + 0.1
    return Norm(centre, scale, floor, random.random((2, 168)), tick, lately * random.random(2 * len(NAMES)))


def _calibration(random: np.random.Generator, channels: int) -> Calibration:
    knots = np.sort(random.random((channels, KNOTS)), axis=1)
    tails = np.tile([2.0, 0.1, 0.5], (channels, 1))
    knots[-1], tails[-1] = np.nan, np.nan  # a channel that says nothing of this series
    return Calibration(knots, tails, float(random.random()) + 4)
