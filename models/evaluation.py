"""Judge models by anomalies that are planted into candles they never saw, each at its own cut for the same budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa

from etl.series import Series, TimeRange
from models.artifact import Artifact
from models.report import Example
from models.results import Evaluation

Watch = Callable[[float], None]
"""Told which share of an evaluation is done."""


def seeds_for(n_series: int) -> tuple[int, ...]:
    """Return with how many seeds so many series make enough units to compare models by."""
    return tuple(range(1, max(2, -(-12 // n_series)) + 1))


def evaluate(
    artifacts: Mapping[str, Artifact],
    candles: Mapping[Series, pa.Table],
    test: TimeRange,
    *,
    seeds: Iterable[int],
    watch: Watch = lambda _: None,
) -> Evaluation:
    """Score each series as it is and with anomalies planted, by each model that knows it.

    Args:
        artifacts: By the names that results have.
        candles: CANDLE_SCHEMA, those of `models.blocks.context_of(timeframe, test)` or more; of a day more is better.
        test: Later than all that the artifacts learned and were calibrated by.
        seeds: One unit for each of them and each series; `seeds_for` says how many are enough.
    """
    raise NotImplementedError


def take_example(
    name: str, artifact: Artifact, series: Series, candles: pa.Table, test: TimeRange, seed: int
) -> Example:
    """Score one series with anomalies planted, to be drawn in a report."""
    raise NotImplementedError
