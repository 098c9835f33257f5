"""Scores of candles: of a whole range in one pass, or of the newest alone, with the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etl.errors import ModelError
from etl.series import Series, TimeRange
from etl.timeframe import to_ms
from models.artifact import Artifact
from models.blocks import CONTEXT, judge_rows, rows_of
from models.calibration import join
from models.features import Norm, Track, normalise, to_track
from models.scorers import SCORERS
from models.scorers.scorer import Judge

Floats = NDArray[np.float64]

_JUDGES: WeakKeyDictionary[Artifact, Judge] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of the candles of a range, slot by slot, oldest first; NaN where none is held.

    Attributes:
        open_time_ms: (n,) int64.
        joined: (n,) float64, log10 of "once in so many candles", by the strangest channel.
        by_channel: (n, len(channels)) float64, the same of each channel.
        threshold: The joined score at and above which a candle is an anomaly.
    """

    series: Series
    open_time_ms: NDArray[np.int64]
    joined: Floats
    by_channel: Floats
    channels: tuple[str, ...]
    threshold: float

    @property
    def is_anomaly(self) -> NDArray[np.bool_]:
        """(n,) whether a candle is stranger than the alert budget allows for."""
        return self.joined >= self.threshold


def score(candles: pa.Table, artifact: Artifact, series: Series, time_range: TimeRange) -> Scores:
    """Score the candles of a range.

    Args:
        candles: CANDLE_SCHEMA, ascending by open_time: all that are held in `blocks.context_of(timeframe, time_range)`.
        artifact: A model that knows the series.

    Returns:
        A score for each slot of the range; the same whatever range it is asked with.

    Raises:
        ModelError: The model is not for this series.
        ArtifactError: Its parts cannot be used.
    """
    track = to_track(candles, series.timeframe, rows_of(series.timeframe, time_range))
    return score_track(track, artifact, series, time_range)


def score_track(track: Track, artifact: Artifact, series: Series, time_range: TimeRange) -> Scores:
    """Score the slots of a range; as `score`, of candles that are on their grid already.

    Args:
        track: Spans `blocks.context_of(timeframe, time_range)`, or as much of it as there are candles.
    """
    if series not in artifact.norms:
        known = f"it knows {len(artifact.norms)} series at {artifact.timeframe}"
        raise ModelError(
            f"the model has never seen this series ({known}); train again, with its history", series=series
        )
    raw = raw_scores(track, judge_of(artifact), artifact.norms[series], time_range)
    by_channel, joined = join(raw, artifact.calibrations[series])
    here = track.cut(time_range)
    by_channel[~here.is_held] = joined[~here.is_held] = np.nan
    threshold = artifact.calibrations[series].cut
    return Scores(series, here.open_time_ms, joined, by_channel, SCORERS[artifact.scorer].channels, threshold)


def raw_scores(track: Track, judge: Judge, norm: Norm, time_range: TimeRange) -> NDArray[np.float32]:
    """Return what a judge says of the slots of a range: (n, channels)."""
    rows = track.cut(rows_of(track.timeframe, time_range))
    judged = judge_rows(judge, normalise(rows, norm))
    first = (to_ms(track.timeframe.ceil(time_range.start)) - rows.start_ms) // track.timeframe.ms - CONTEXT
    return judged[first : first + time_range.count(track.timeframe)]


def judge_of(artifact: Artifact) -> Judge:
    """Return what judges for a model; made once in a process.

    Raises:
        ArtifactError: Its parts cannot be used.
    """
    if artifact not in _JUDGES:
        _JUDGES[artifact] = SCORERS[artifact.scorer].load(artifact.parts)
    return _JUDGES[artifact]
