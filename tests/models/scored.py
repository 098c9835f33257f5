"""A small market that is scored: two exchanges with the same asset, a champion that knows them, and loads to judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import delete, select

from etl.alerting import Alerting
from etl.schema import from_columns, to_columns
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.timeframe import Timeframe, from_ms
from etl.warehouse import LoadReport, Warehouse, Wish, ensure_series, list_incidents, open_warehouse
from etl.warehouse.copying import copy_in
from etl.warehouse.incident_tables import alerts, anomalies, replaced_anomalies, scorings
from etl.warehouse.loads import write_load
from etl.warehouse.reading import cursor_of
from etl.warehouse.tables import candles as candles_table
from etl.warehouse.tables import loads
from etl.warehouse.tables import series as series_table
from models.artifact import Artifact
from models.features import to_track
from models.fitting import fit
from models.registry import Draft, Model, State, champion, decide
from models.rounds import Round, score_loads
from models.scorers.scorer import Study
from models.targets import ALL, Target
from tests.models.made_up import START_MS, walk

HERE, THERE = (Series.parse(f"{exchange}:BTC/USDT:5m") for exchange in ("binance", "kraken"))
FIVE = Timeframe.M5
START = from_ms(START_MS)
DAY = timedelta(days=1)
SLOTS = 288
LEARNED = TimeRange(START, START + 9 * DAY)
HELD_OUT = TimeRange(START + 9 * DAY, START + 20 * DAY)
TODAY = TimeRange(START + 20 * DAY, START + 21 * DAY)
PAST = TimeRange(START, TODAY.start)
NOW = TODAY.end + timedelta(minutes=5)
Change = Callable[[dict[str, Any]], None]


def market(noise: int = 0) -> pa.Table:
    """Return the candles of 21 days, the same for every exchange but for a little noise in its volumes."""
    columns = to_columns(walk(21 * SLOTS, seed=5, timeframe=FIVE))
    volume = columns["volume"] * np.random.default_rng(noise).uniform(0.8, 1.2, len(columns["volume"]))
    return from_columns({**columns, "volume": volume})


def slot(hours: float, day: int = 20) -> int:
    """Return which candle opens so many hours into a day: the last one is TODAY."""
    return day * SLOTS + int(hours * 12)


def crashed(candles: pa.Table, first: int, share: float = 0.08) -> pa.Table:
    """Return the candles with a fall by that share in the candle `first`, which lasts for two more and goes back."""
    columns = {name: values.copy() for name, values in to_columns(candles).items()}
    for at, left in ((first, 1 - share), (first + 1, 1 - share), (first + 2, 1 - share / 2)):
        for name in ("open", "high", "low", "close"):
            if not (at == first and name in {"open", "high"}):
                columns[name][at] *= left
        columns["volume"][at] *= 30
    return from_columns(columns)


def wicked(candles: pa.Table, at: int, share: float = 0.08) -> pa.Table:
    """Return the candles with a bad print: one low that is a share too low, and nothing else."""
    columns = {name: values.copy() for name, values in to_columns(candles).items()}
    columns["low"][at] *= 1 - share
    return from_columns(columns)


def between(candles: pa.Table, span: TimeRange) -> pa.Table:
    """Return the candles that open in a range."""
    columns = to_columns(candles)
    inside = (columns["open_time"] >= span.start_ms) & (columns["open_time"] < span.end_ms)
    return from_columns({name: values[inside] for name, values in columns.items()})


def load(
    warehouse: Warehouse, series: Series, candles: pa.Table, span: TimeRange = TODAY, *, is_history: bool = False
) -> None:
    """Make the warehouse hold the candles of a range, and write the load into the journal."""
    here = between(candles, span)
    with warehouse.begin() as connection:
        number = ensure_series(connection, series)
        own = candles_table.c
        within = (own.series_id == number) & (own.open_time >= span.start) & (own.open_time < span.end)
        connection.execute(delete(candles_table).where(within))
        with cursor_of(connection) as cursor:
            copy_in(cursor, "candles", number, here)
        report = LoadReport(rows=here.num_rows, new=here.num_rows, revised=0, absent=0, quarantined=0)
        write_load(connection, number, span, "load", report, is_announced=True, is_history=is_history)


def crown(
    warehouse: Warehouse, candles: Mapping[Series, pa.Table], held_out: TimeRange = HELD_OUT, scorer: str = "seasonal_z"
) -> Model:
    """Train a model on the candles before `held_out`, and make it champion."""
    learned = TimeRange(START, held_out.start)
    whole = TimeRange(START, held_out.end)
    tracks = {series: to_track(table, FIVE, whole) for series, table in candles.items()}
    artifact = fit(
        scorer, FIVE, tracks, learned, held_out, Study(), scope=ALL, as_of=NOW, data_hash="0" * 64, budget=1.0
    )
    return crown_artifact(warehouse, artifact)


def crown_artifact(warehouse: Warehouse, artifact: Artifact) -> Model:
    """Make a model champion."""
    with warehouse.begin() as connection:
        against = champion(connection, Target(FIVE))
    draft = Draft(artifact, State.CHAMPION, "it is good", {}, "<p>night</p>")
    (model,) = decide(warehouse, [draft], against=against, run="night", max_bytes=10_000_000, environment={})
    return model


def with_cut(artifact: Artifact, cut: float) -> Artifact:
    """Return the model with another cut."""
    changed = {series: replace(one, cut=cut) for series, one in artifact.calibrations.items()}
    return replace(artifact, calibrations=changed)


def score_all(
    warehouse: Warehouse, settings: Settings, *series: Series, now: datetime = NOW, alerting: Alerting | None = None
) -> list[Round]:
    """Score what is loaded."""
    alerting = alerting or Alerting()
    return [score_loads(warehouse, settings, alerting, one, run="round", now=now) for one in (series or (HERE, THERE))]


def told_of(warehouse: Warehouse) -> list[tuple[str, str]]:
    """Return the alerts in the outbox: kind and severity."""
    with warehouse.begin() as connection:
        return [(row.kind, row.severity) for row in connection.execute(select(alerts).order_by(alerts.c.id))]


def contents(warehouse: Warehouse) -> dict[str, list[Any]]:
    """Return all that scoring leaves, without numbers of rows and moments of writing."""
    own = anomalies.c
    with warehouse.begin() as connection:
        found = list_incidents(connection, Wish())
        keys = {one.id: (str(one.found.series), one.found.time_range) for one in found}
        scored = select(anomalies, series_table.c.exchange).join(series_table)
        ranges = select(scorings.c.series_id, scorings.c.span, scorings.c.model_id, scorings.c.anomalies)
        return {
            "anomalies": [
                (row.exchange, row.open_time, row.model_id, row.score, row.threshold, row.shares)
                for row in connection.execute(scored.order_by(own.series_id, own.open_time))
            ],
            "incidents": [(one.found, one.state, one.is_history) for one in found],
            "alerts": sorted(
                (keys[row.incident_id], row.severity, row.kind) for row in connection.execute(select(alerts))
            ),
            "replaced": [row.open_time for row in connection.execute(select(replaced_anomalies))],
            "scorings": sorted(tuple(map(str, row)) for row in connection.execute(ranges)),
            "unscored": connection.execute(select(loads.c.id).where(~loads.c.is_scored)).all(),
        }


def incidents_of(warehouse: Warehouse, series: Sequence[Series] = ()) -> list[Any]:
    """Return the incidents, the latest first."""
    with warehouse.begin() as connection:
        return list_incidents(connection, Wish(series=series or None))


@contextmanager
def scored_warehouse(settings: Settings, calm: pa.Table) -> Iterator[Warehouse]:
    """Yield two exchanges with twenty days that were scored, and a champion that knows both."""
    with open_warehouse(settings) as warehouse:
        for series in (HERE, THERE):
            load(warehouse, series, calm, PAST, is_history=True)
        crown(warehouse, {HERE: calm, THERE: market(1)})
        score_all(warehouse, settings)
        yield warehouse
