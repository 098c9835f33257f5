"""Anomalies as people look at them: those that stand, those that were replaced, and which model judged which range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, null, select

from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from etl.warehouse import tables
from etl.warehouse.incident_lists import is_one_of, model_name
from etl.warehouse.incident_tables import anomalies, replaced_anomalies, scorings
from etl.warehouse.scorings import Anomaly
from etl.warehouse.tables import to_sql_range


@dataclass(frozen=True, slots=True)
class KnownAnomaly:
    """An anomaly of a series, and where it comes from.

    Attributes:
        model: The name of the model that found it.
        scoring_id: The scoring that found it.
        replaced_by: The scoring that found otherwise; None if it stands.
    """

    series: Series
    anomaly: Anomaly
    model: str
    scoring_id: int
    replaced_by: int | None


@dataclass(frozen=True, slots=True)
class Scoring:
    """A model has judged a range of a series.

    Attributes:
        time_range: The open times that were judged.
        is_hindsight: Whether the model knew what came after.
        anomalies: Candles at or above the threshold.
        changed: Anomalies that are new, other, or gone by it.
    """

    id: int
    series: Series
    time_range: TimeRange
    model: str
    is_hindsight: bool
    anomalies: int
    changed: int
    run: str
    scored_at: datetime


def read_anomalies(
    connection: Connection,
    series: Sequence[Series] = (),
    time_range: TimeRange | None = None,
    limit: int | None = None,
    *,
    is_replaced: bool = False,
) -> list[KnownAnomaly]:
    """Return anomalies, the latest first.

    Args:
        series: Whose; of all without.
        time_range: When their candles open.
        is_replaced: Return those that a later scoring has replaced instead.
    """
    table = replaced_anomalies if is_replaced else anomalies
    query = _of_series(table, table.c.replaced_by if is_replaced else null().label("replaced_by"))
    query = (
        query.where(*_conditions(table, series, time_range))
        .order_by(table.c.open_time.desc(), table.c.series_id)
        .limit(limit)
    )
    return [
        KnownAnomaly(
            _to_series(row),
            Anomaly(row.open_time, row.model_id, row.score, row.threshold, row.shares),
            row.model,
            row.scoring_id,
            row.replaced_by,
        )
        for row in connection.execute(query)
    ]


def count_anomalies(
    connection: Connection,
    series: Sequence[Series] = (),
    time_range: TimeRange | None = None,
    *,
    is_replaced: bool = False,
) -> int:
    """Return how many anomalies there are; see `read_anomalies`."""
    table = replaced_anomalies if is_replaced else anomalies
    query = select(func.count()).select_from(table).join(tables.series)
    return connection.execute(query.where(*_conditions(table, series, time_range))).scalar_one()


def read_scorings(
    connection: Connection,
    series: Sequence[Series] = (),
    time_range: TimeRange | None = None,
    limit: int | None = None,
) -> list[Scoring]:
    """Return who judged what, the latest first.

    Args:
        time_range: They overlap it.
    """
    own = scorings.c
    conditions = [is_one_of(series)] if series else []
    if time_range is not None:
        conditions.append(own.span.op("&&")(to_sql_range(time_range)))
    query = _of_series(scorings).where(*conditions).order_by(own.id.desc()).limit(limit)
    return [
        Scoring(
            row.id,
            _to_series(row),
            TimeRange(row.span.lower, row.span.upper),
            row.model,
            row.is_hindsight,
            row.anomalies,
            row.changed,
            row.run,
            row.scored_at,
        )
        for row in connection.execute(query)
    ]


def _of_series(table: Table, *more: ColumnElement[Any]) -> Any:
    series = tables.series.c
    columns = (*table.c, *(one for one in more if one.name not in table.c))
    return (
        select(*columns, series.exchange, series.symbol, series.timeframe, model_name().label("model"))
        .select_from(table)
        .join(tables.series)
        .join(tables.models, tables.models.c.id == table.c.model_id)
    )


def _conditions(table: Table, series: Sequence[Series], time_range: TimeRange | None) -> list[ColumnElement[bool]]:
    own = table.c
    conditions = [is_one_of(series)] if series else []
    if time_range is not None:
        conditions += [own.open_time >= time_range.start, own.open_time < time_range.end]
    return conditions


def _to_series(row: Any) -> Series:
    return Series(row.exchange, row.symbol, Timeframe(row.timeframe))
