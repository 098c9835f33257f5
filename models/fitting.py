"""From candles to a model: what normalises each series, what a scorer learns of all, what its scores mean for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from etl.errors import InsufficientHistoryError
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.artifact import Artifact
from models.calibration import LEAST, Calibration, Judged, calibrate
from models.features import Norm, Track, find_norm, normalise
from models.recent import slots_before
from models.scorers import SCORERS
from models.scorers.scorer import Judge, Lesson, Study
from models.scoring import judge_of, raw_scores


def fit(
    scorer: str,
    timeframe: Timeframe,
    tracks: Mapping[Series, Track],
    learned: TimeRange,
    held_out: TimeRange,
    study: Study,
    *,
    scope: str,
    as_of: datetime,
    data_hash: str,
    budget: float,
) -> Artifact:
    """Train a model.

    Args:
        scorer: A name in SCORERS.
        tracks: Each spans both ranges, or as much of them as there are candles.
        learned: What to learn from.
        held_out: What thresholds are taken from; lies after it.
        budget: Incidents per series and week.

    Raises:
        InsufficientHistoryError: There is too little to learn from.
    """
    pieces = {series: track.cut(learned) for series, track in tracks.items()}
    for series, piece in pieces.items():
        if piece.is_clean.sum() < LEAST:
            clean = f"{piece.is_clean.sum():,} clean candles, and {LEAST} are needed"
            raise InsufficientHistoryError(f"too little to learn from: {clean}", series=series, time_range=learned)
    norms = {series: find_norm(piece) for series, piece in pieces.items()}
    parts = SCORERS[scorer].fit([_lesson(piece, norms[series]) for series, piece in pieces.items()], study)
    judge = SCORERS[scorer].load(parts)
    calibrations = _calibrations(judge, norms, tracks, (learned, held_out), budget)
    return Artifact(scorer, timeframe, scope, learned, held_out, as_of, data_hash, budget, parts, norms, calibrations)


def recalibrate(artifact: Artifact, tracks: Mapping[Series, Track], held_out: TimeRange) -> Artifact:
    """Return the same model with thresholds from other candles; a series that is not among `tracks` keeps its own."""
    known = {series: track for series, track in tracks.items() if series in artifact.norms}
    found = _calibrations(judge_of(artifact), artifact.norms, known, (artifact.learned, held_out), artifact.budget)
    return replace(artifact, held_out=held_out, calibrations={**artifact.calibrations, **found})


def _lesson(track: Track, norm: Norm) -> Lesson:
    return Lesson(normalise(track, norm), track.is_clean)


def _calibrations(
    judge: Judge,
    norms: Mapping[Series, Norm],
    tracks: Mapping[Series, Track],
    ranges: tuple[TimeRange, TimeRange],
    budget: float,
) -> dict[Series, Calibration]:
    """Return what scores mean: by the held-out range, and where a history is years by the learned one before it too."""
    learned, held_out = ranges

    def judged(series: Series, track: Track, time_range: TimeRange) -> Judged:
        return Judged(raw_scores(track, judge, norms[series], time_range), track.cut(time_range).is_held)

    return {
        series: calibrate(
            judged(series, track, held_out),
            budget,
            track.timeframe,
            judged(series, track, learned) if slots_before(track.timeframe) else None,
        )
        for series, track in tracks.items()
    }
