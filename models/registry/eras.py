"""Choice of the model for a range: the champion of its time judges each candle, and none knows what came later.

A model's time begins where what it learned and was calibrated on ends. Of candles from before the first champion none
knew nothing of the future: those the present champion judges, and it is said that it did so with hindsight.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from etl.errors import ModelError
from etl.learning import Learning
from etl.series import Series, TimeRange
from models.registry.champions import Judging, read_good
from models.registry.records import Model, champion, retired_models
from models.targets import Target


@dataclass(frozen=True, slots=True)
class Era:
    """A range that one model judges.

    Attributes:
        is_hindsight: Whether the model knows what came after its beginning.
    """

    time_range: TimeRange
    judging: Judging
    is_hindsight: bool


def eras_of(connection: Connection, series: Series, time_range: TimeRange, learning: Learning) -> list[Era]:
    """Return who judges which part of a range, in order; together they are the range.

    A series' own models judge it if it has a champion of its own that can be used, else those for all of its timeframe.
    Models whose blobs retention has dropped, or do not check out, judge nothing.

    Returns:
        Nothing if no model that can be used knows the series.
    """
    for target in (Target(series.timeframe, series), Target(series.timeframe)):
        if found := _eras(_candidates(connection, target, series, learning, time_range.start), series, time_range):
            return found
    return []


def can_judge(connection: Connection, series: Series, learning: Learning) -> bool:
    """Return whether a model that can be used knows the series."""
    targets = (Target(series.timeframe, series), Target(series.timeframe))
    return any(_candidates(connection, target, series, learning, None) for target in targets)


def era_of(connection: Connection, series: Series, time_range: TimeRange, model: Model, learning: Learning) -> Era:
    """Return the range as what that very model judges.

    Raises:
        ModelError: It cannot be used, or does not know the series.
    """
    artifact = read_good(connection, model, learning.max_artifact_bytes) if model.has_blob else None
    if artifact is None:
        raise ModelError(
            f"{model.name} cannot judge: its blob is gone, or does not check out; chandler models", series=series
        )
    if series not in artifact.norms:
        raise ModelError(
            f"{model.name} has never seen this series; it knows {len(artifact.norms)} others", series=series
        )
    return Era(time_range, Judging(model, artifact), model.held_out.end > time_range.start)


def _candidates(
    connection: Connection, target: Target, series: Series, learning: Learning, start: datetime | None
) -> list[Judging]:
    """Return the present champion, if it can be used, and then those before it, until one is older than `start`.

    Without a start, the first that can be used is enough.
    """
    current = champion(connection, target)
    found: list[Judging] = []
    for model in [] if current is None else [current, *retired_models(connection, target)]:
        if found and (start is None or min(one.model.held_out.end for one in found) <= start):
            break
        artifact = read_good(connection, model, learning.max_artifact_bytes)
        if artifact is not None and series in artifact.norms:
            found.append(Judging(model, artifact))
    return found


def _eras(found: list[Judging], series: Series, time_range: TimeRange) -> list[Era]:
    """Return the eras of models, given the last champion first: each ends where one that came after it begins."""
    if not found:
        return []
    eras: list[Era] = []
    end = time_range.end
    for one in found:
        start = max(series.timeframe.ceil(one.model.held_out.end), time_range.start)
        if start < end:
            eras.append(Era(TimeRange(start, end), one, is_hindsight=False))
            end = start
    if time_range.start < end:
        # The present champion, and not the oldest: of all that came too late it is the best.
        eras.append(Era(TimeRange(time_range.start, end), found[0], is_hindsight=True))
    return eras[::-1]
