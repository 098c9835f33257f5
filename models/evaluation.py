"""Judge models by anomalies that are planted into candles they never saw, each at its own cut for the same budget.

What is planted is all that counts as found. Recordings hold anomalies of their own: whoever tells of one has a false
incident to his name. That is so for all models alike, and makes precision look worse than it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.errors import InsufficientHistoryError
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.artifact import Artifact
from models.blocks import rows_of
from models.features import Track, to_track
from models.given import given_by
from models.incidents import find_incidents, merge_at
from models.metrics import BUFFER, TOLERANCE, average_precision, match, vus_pr
from models.planting import SPACING, Kind, Planted, plant
from models.results import Evaluation, Example, Given, Outcome
from models.scoring import Scores, score_track

SHARES = np.geomspace(1e-4, 0.1, 25)
"""Shares of candles that lie above the cuts of an outcome's curve."""

_UNITS, _PLANTED = 12, 108  # to compare two models by
_MOST_SEEDS = 48

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Watch = Callable[[float], None]
"""Told which share of an evaluation is done."""


def seeds_for(n_series: int, timeframe: Timeframe, test: TimeRange) -> tuple[int, ...]:
    """Return with which seeds so many series make enough units, and have enough planted, to compare models by."""
    planted = max(test.count(timeframe) // SPACING, 1) * n_series
    wanted = max(-(-_UNITS // n_series), -(-_PLANTED // planted), 2)
    return tuple(range(1, min(wanted, _MOST_SEEDS) + 1))


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
        candles: CANDLE_SCHEMA, those of `models.blocks.context_of(timeframe, test)` or more; a day before is better.
        test: Later than all that the artifacts learned and were calibrated by.
        seeds: One unit for each of them and each series; `seeds_for` says how many are enough.

    Raises:
        InsufficientHistoryError: The range is too short, or too few candles are held, to plant anything.
    """
    seeds, models = tuple(seeds), list(artifacts.items())
    outcomes: list[Outcome] = []
    given: list[Given] = []
    for number, (series, table) in enumerate(candles.items()):
        known = [(name, artifact) for name, artifact in models if series in artifact.norms]
        given += (given_by(name, scores) for name, scores in _score_all(known, series, table, test))
        for turn, seed in enumerate(seeds, 1):
            changed, planted = plant(table, series, test, seed)
            if planted:
                outcomes += (_judge(*each, planted, seed) for each in _score_all(known, series, changed, test))
            watch((number + turn / len(seeds)) / len(candles))
    if not outcomes:
        raise InsufficientHistoryError(
            f"nothing can be planted to compare models by: it takes {SPACING} slots, most of which hold candles, as do "
            "those before; raise held_out in [models], and least_history above it",
            time_range=test,
        )
    budget = next(iter(artifacts.values())).budget
    return Evaluation(test, seeds, budget, tuple(outcomes), tuple(given))


def take_example(
    name: str, artifact: Artifact, series: Series, candles: pa.Table, test: TimeRange, seed: int = 1
) -> Example:
    """Score one series with anomalies planted, to be drawn; arguments as those of `evaluate`."""
    changed, planted = plant(candles, series, test, seed)
    [(_, scores)] = _score_all([(name, artifact)], series, changed, test)
    return Example(
        name,
        series,
        scores.open_time_ms,
        scores.joined,
        scores.threshold,
        find_incidents(scores.is_anomaly, merge_at(series.timeframe)),
        tuple((str(one.kind), str(one.size), one.first_slot, one.last_slot) for one in planted),
    )


def _score_all(
    models: Sequence[tuple[str, Artifact]], series: Series, candles: pa.Table, test: TimeRange
) -> Iterator[tuple[str, Scores]]:
    """Yield what each model says; -inf where it can say nothing of a candle that is held."""
    track: Track = to_track(candles, series.timeframe, rows_of(series.timeframe, test))
    is_held = track.cut(test).is_held
    for name, artifact in models:
        scores = score_track(track, artifact, series, test)
        scores.joined[is_held & np.isnan(scores.joined)] = -np.inf
        yield name, scores


def _judge(name: str, scores: Scores, planted: Sequence[Planted], seed: int) -> Outcome:
    ranges = np.array([(one.first_slot, one.last_slot) for one in planted], dtype=np.int64)
    merge = merge_at(scores.series.timeframe)
    incidents = find_incidents(scores.is_anomaly, merge)
    events = match(incidents, ranges)
    cells = [f"{one.kind}/{one.size}" for one in planted]
    return Outcome(
        name,
        scores.series,
        seed,
        vus_pr=round(vus_pr(scores.joined, ranges), 6),
        average_precision=round(average_precision(scores.joined, ranges), 6),
        by_kind=dict(_by_kind(scores.joined, ranges, [one.kind for one in planted])),
        planted=dict(Counter(cells)),
        found=dict(Counter(cell for cell, is_found in zip(cells, events.is_found, strict=True) if is_found)),
        incidents=len(incidents),
        hits=int(events.is_hit.sum()),
        curve=tuple(_curve(scores.joined, ranges, merge)),
    )


def _by_kind(scores: Floats, ranges: NDArray[np.int64], kinds: Sequence[Kind]) -> Iterator[tuple[str, float]]:
    """Yield the VUS-PR of each kind that was planted: the others, and what stands close to them, count for nothing."""
    for kind in dict.fromkeys(kinds):
        is_own = np.array([one is kind for one in kinds])
        leave_out = np.zeros(len(scores), dtype=np.bool_)
        for first, last in ranges[~is_own]:
            leave_out[max(first - BUFFER, 0) : last + TOLERANCE + 1] = True
        yield str(kind), round(vus_pr(scores, ranges[is_own], leave_out=leave_out), 6)


def _curve(scores: Floats, ranges: NDArray[np.int64], merge: int) -> Iterator[tuple[int, int, int]]:
    known = np.sort(scores[~np.isnan(scores)])[::-1]
    for share in SHARES:
        incidents = find_incidents(scores >= known[int(share * (len(known) - 1))], merge)
        events = match(incidents, ranges)
        yield len(incidents), int(events.is_hit.sum()), int(events.is_found.sum())
