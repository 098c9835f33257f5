"""Yield of a cut: incidents on the candles that came after those that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np

from etl.series import Series, TimeRange
from models.artifact import Artifact
from models.features import Track
from models.incidents import find_incidents, merge_at
from models.results import Given
from models.scoring import Scores, score_track

LONGEST = timedelta(days=28)
"""How far back is counted: what a cut gave months ago says little of it now, and takes time to find out."""

_WEEK_MS = 7 * 86_400_000


def given_since(name: str, artifact: Artifact, tracks: Mapping[Series, Track], end: datetime) -> list[Given]:
    """Count the incidents of a model's cut in each series that it knows, since the range that the cut is from.

    Args:
        name: What the model is called in what is returned.
        end: Up to when to count.
    """
    start = max(artifact.held_out.end, end - LONGEST)
    if start >= end:
        return []
    since = TimeRange(start, end)
    return [_count(name, artifact, series, tracks[series], since) for series in sorted(tracks.keys() & artifact.norms)]


def _count(name: str, artifact: Artifact, series: Series, track: Track, since: TimeRange) -> Given:
    return given_by(name, score_track(track, artifact, series, since))


def given_by(name: str, scores: Scores) -> Given:
    """Count what scores give."""
    timeframe, is_anomaly = scores.series.timeframe, scores.is_anomaly
    candles = int((~np.isnan(scores.joined)).sum())
    incidents = len(find_incidents(is_anomaly, merge_at(timeframe)))
    return Given(name, scores.series, candles * timeframe.ms / _WEEK_MS, incidents, int(is_anomaly.sum()), candles)
