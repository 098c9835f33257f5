"""Rounds of scoring: what loads have brought is judged, and what they may have changed; once, and nothing is lost.

The loads are noted as scored at the end. Killed anywhere, the next round does again what was not noted, and finds what
is there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from etl.alerting import Alerting
from etl.series import Series, TimeRange, clip, subtract, united
from etl.settings import Settings
from etl.timeframe import Timeframe, from_ms
from etl.warehouse import (
    LoggedLoad,
    Warehouse,
    known_series,
    lock_scores,
    mark_scored,
    span_of_candles,
    span_of_retired,
    unscored_loads,
)
from models.blocks import BLOCK
from models.judging import RangeJudge, Round, Watch, waits_for
from models.recent import reach_of
from models.registry import Model


def due(warehouse: Warehouse, settings: Settings) -> tuple[list[Series], dict[Series, str]]:
    """Return the series of which something was loaded that no model has judged.

    Returns:
        Those that can be scored, and why the others cannot be yet.
    """
    with warehouse.begin() as connection:
        waiting: dict[Series, str] = {}
        series = sorted({load.series for load in unscored_loads(connection)})
        for one in series:
            if (why := waits_for(connection, one, settings.models)) is not None:
                waiting[one] = why
    return [one for one in series if one not in waiting], waiting


def score_loads(
    warehouse: Warehouse,
    settings: Settings,
    alerting: Alerting,
    series: Series,
    *,
    run: str,
    now: datetime,
    watch: Watch = lambda _: None,
) -> Round:
    """Judge what was loaded of a series since it was last judged, and what that may have changed.

    Args:
        run: What to call this in the warehouse.
        now: What closed longer than `alerting.news` before it is history.
        watch: Told what share is done.

    Raises:
        StoreError: The warehouse refuses or went away; a rerun ends what was begun.
    """
    with warehouse.begin() as connection:
        loads = unscored_loads(connection, series)
        held = _held(connection, series)
    if not loads or held is None:
        _note(warehouse, series, loads)
        return Round(series)
    ranges = united(
        inside for load in loads if (inside := clip(_touched(load.time_range, series.timeframe), held)) is not None
    )
    judge = RangeJudge(warehouse, settings, alerting, series, run, now, _news(loads, alerting, now), watch)
    outcome = judge.over(ranges)
    if outcome.waiting is None:
        _note(warehouse, series, loads)
    return outcome


def score_again(
    warehouse: Warehouse,
    settings: Settings,
    alerting: Alerting,
    series: Series,
    time_range: TimeRange,
    *,
    run: str,
    now: datetime,
    model: Model | None = None,
    watch: Watch = lambda _: None,
) -> Round:
    """Judge a range again, whether anything in it has changed or not. It is history: nobody is told.

    Args:
        model: Who judges, instead of the champions of the time.

    Raises:
        ModelError: The model cannot judge the series.
        StoreError: The warehouse refuses or went away.
    """
    with warehouse.begin() as connection:
        held = _held(connection, series)
    inside = None if held is None else clip(time_range, held)
    judge = RangeJudge(warehouse, settings, alerting, series, run, now, (), watch, model)
    return Round(series) if inside is None else judge.over([inside])


def _touched(time_range: TimeRange, timeframe: Timeframe) -> TimeRange:
    """Return the slots whose scores depend on candles of a range: to the end of the block after the last they reach."""
    last = ((time_range.end_ms - 1) // timeframe.ms + reach_of(timeframe)) // BLOCK
    return TimeRange(time_range.start, max(from_ms((last + 2) * BLOCK * timeframe.ms), time_range.end))


def _news(loads: Sequence[LoggedLoad], alerting: Alerting, now: datetime) -> list[TimeRange]:
    """Return what of live loads is recent enough to tell people of, and was not brought by a backfill or a repair."""
    recent = TimeRange(now - alerting.news, datetime.max.replace(tzinfo=now.tzinfo))
    history = united(load.time_range for load in loads if load.is_history)
    live = united(load.time_range for load in loads if not load.is_history)
    left = [part for span in live for part in subtract(span, history)]
    return [inside for part in left if (inside := clip(part, recent)) is not None]


def _held(connection: Connection, series: Series) -> TimeRange | None:
    """Return the range from the first candle to the last one, in whatever store; None if there is none."""
    series_id, timeframe = known_series(connection)[series], series.timeframe
    spans = (span_of_candles(connection, series_id), span_of_retired(connection, series_id, timeframe))
    held = [span for span in spans if span is not None]
    if not held:
        return None
    return TimeRange(min(span.start for span in held), timeframe.ceil(max(span.end for span in held)))


def _note(warehouse: Warehouse, series: Series, loads: Sequence[LoggedLoad]) -> None:
    """Note that these loads are scored. Others that came meanwhile are not among them."""
    if loads:
        with warehouse.begin() as connection:
            lock_scores(connection, series)
            mark_scored(connection, loads)
