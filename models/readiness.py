"""Reasons why no model judges yet, from counts alone: whether anything stored is enough to train with."""

from __future__ import annotations

from sqlalchemy import Connection

from etl.learning import Learning
from etl.spelling import counted
from etl.timeframe import Timeframe
from etl.warehouse import read_totals

_TRAIN = "chandler train makes one or says what it lacks, and so does the DAG train_models each night"


def why_no_model(connection: Connection, learning: Learning) -> str:
    """Return why there is no model, and what to do: load candles, load more of them, or train."""
    most: dict[Timeframe, int] = {}
    for series, totals in read_totals(connection).items():
        most[series.timeframe] = max(most.get(series.timeframe, 0), totals.stored)
    held = {timeframe: count for timeframe, count in most.items() if count}
    if not held:
        return "No candle is loaded yet: a model is trained on what is."
    lacks = []
    for timeframe, count in sorted(held.items(), key=lambda one: one[0].ms):
        least = learning.spans_at(timeframe).least_history
        if count >= least // timeframe.delta:
            return f"No model judges yet: {_TRAIN}."
        days = counted(round(least.total_seconds() / 86_400), "day")
        of = counted(least // timeframe.delta, "candle")
        lacks.append(f"{timeframe} takes {days} ({of}), and no series has more than {count:,}")
    return f"No model can be trained yet: {'; '.join(lacks)}. Load more of the past, or wait."
