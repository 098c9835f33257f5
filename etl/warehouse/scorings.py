"""Scores in the warehouse: the candles that a model found strange, and which scoring found what, by which model.

Whoever scores a series holds it by `lock_scores`. What is found otherwise replaces what was found before, which stays
on record with the scoring that had found it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from etl.series import TimeRange
from etl.warehouse.incident_tables import anomalies, replaced_anomalies, scorings
from etl.warehouse.reading import driver_of
from etl.warehouse.tables import to_sql_range


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A candle that a model flags.

    Attributes:
        score: log10 of once in so many candles.
        threshold: The score from which on it is an anomaly.
        shares: What each feature contributed; together 1.
    """

    open_time: datetime
    model_id: int
    score: float
    threshold: float
    shares: Mapping[str, float]


def replace_anomalies(
    connection: Connection,
    series_id: int,
    time_range: TimeRange,
    found: Sequence[Anomaly],
    *,
    model_id: int,
    is_hindsight: bool,
    run: str,
) -> set[datetime]:
    """Make what is stored of a range what was found in it now.

    Args:
        found: All anomalies of the range, ascending.
        model_id: The model that judged the range.
        is_hindsight: Whether it knew what came after.

    Returns:
        When the candles open of which something else was known before: new ones, other ones, and those that are gone.
    """
    stored = {one.open_time: one for one in read_anomalies_within(connection, series_id, time_range)}
    now = {one.open_time: one for one in found}
    changed = {at for at in stored.keys() | now.keys() if stored.get(at) != now.get(at)}
    if not changed and _is_known(connection, series_id, model_id, time_range):
        return changed
    facts = {"model_id": model_id, "is_hindsight": is_hindsight, "anomalies": len(found), "changed": len(changed)}
    written = insert(scorings).values(series_id=series_id, span=to_sql_range(time_range), run=run, **facts)
    scoring_id = int(connection.execute(written.returning(scorings.c.id)).scalar_one())
    _put_aside(connection, series_id, sorted(changed & stored.keys()), scoring_id)
    _write(connection, series_id, [now[at] for at in sorted(changed & now.keys())], scoring_id)
    return changed


def read_anomalies_within(connection: Connection, series_id: int, time_range: TimeRange) -> list[Anomaly]:
    """Return the anomalies of a series that open in a range, ascending."""
    own = anomalies.c
    within = (own.series_id == series_id) & (own.open_time >= time_range.start) & (own.open_time < time_range.end)
    rows = connection.execute(select(anomalies).where(within).order_by(own.open_time))
    return [Anomaly(row.open_time, row.model_id, row.score, row.threshold, row.shares) for row in rows]


def _is_known(connection: Connection, series_id: int, model_id: int, time_range: TimeRange) -> bool:
    own = scorings.c
    covers = own.span.op("@>")(to_sql_range(time_range))
    query = select(own.id).where(own.series_id == series_id, own.model_id == model_id, covers).limit(1)
    return connection.execute(query).scalar() is not None


def _put_aside(connection: Connection, series_id: int, times: Sequence[datetime], scoring_id: int) -> None:
    """Keep what was found before on record."""
    if not times:
        return
    own = anomalies.c
    gone = delete(anomalies).where(own.series_id == series_id, own.open_time.in_(times)).returning(anomalies)
    kept = [{**row._mapping, "replaced_by": scoring_id} for row in connection.execute(gone)]
    connection.execute(insert(replaced_anomalies), kept)


def _write(connection: Connection, series_id: int, found: Sequence[Anomaly], scoring_id: int) -> None:
    """Write anomalies, by COPY: a wild load brings thousands."""
    columns = "series_id, open_time, scoring_id, model_id, score, threshold, shares"
    with (
        driver_of(connection).cursor() as cursor,
        cursor.copy(f"COPY anomalies ({columns}) FROM STDIN".encode()) as copy,
    ):
        for one in found:
            row: tuple[Any, ...] = (series_id, one.open_time, scoring_id, one.model_id, one.score, one.threshold)
            copy.write_row((*row, json.dumps(dict(one.shares))))
