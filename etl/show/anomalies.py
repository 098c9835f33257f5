"""Anomalies, and which model judged what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from etl.show.parts import new_table, to_iso, to_minute
from etl.warehouse import KnownAnomaly, Scoring

_NAMED = 3  # features that a line names


def anomalies_table(anomalies: Sequence[KnownAnomaly]) -> Table:
    """Return a line an anomaly: by whom, how strange, and by what."""
    is_replaced = any(one.replaced_by is not None for one in anomalies)
    table = new_table("series", "open time", "model", "score", "threshold", "by", *(["replaced by"] * is_replaced))
    for one in anomalies:
        found = one.anomaly
        by = sorted(found.shares.items(), key=lambda share: -share[1])[:_NAMED]
        cells = [
            str(one.series),
            to_minute(found.open_time),
            one.model,
            f"{found.score:.2f}",
            f"{found.threshold:.2f}",
            ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in by),
        ]
        table.add_row(*cells, *([f"scoring {one.replaced_by}"] * is_replaced))
    return table


def anomalies_json(anomalies: Sequence[KnownAnomaly]) -> list[dict[str, Any]]:
    """Return the same for a script."""
    return [
        {
            "series": str(one.series),
            "open_time": to_iso(one.anomaly.open_time),
            "model": one.model,
            "score": one.anomaly.score,
            "threshold": one.anomaly.threshold,
            "shares": dict(one.anomaly.shares),
            "scoring": one.scoring_id,
            "replaced_by": one.replaced_by,
        }
        for one in anomalies
    ]


def scorings_table(scorings: Sequence[Scoring]) -> Table:
    """Return a line for each range that a model has judged."""
    table = new_table("id", "series", "range", "model", "anomalies", "other than before", "scored at", "by run")
    for one in scorings:
        table.add_row(
            str(one.id),
            str(one.series),
            str(one.time_range),
            f"{one.model}{', in hindsight' if one.is_hindsight else ''}",
            f"{one.anomalies:,}",
            f"{one.changed:,}",
            to_minute(one.scored_at),
            Text(one.run),
        )
    return table


def scorings_json(scorings: Sequence[Scoring]) -> list[dict[str, Any]]:
    """Return the same for a script."""
    return [
        {
            "id": one.id,
            "series": str(one.series),
            **one.time_range.to_dict(),
            "model": one.model,
            "is_hindsight": one.is_hindsight,
            "anomalies": one.anomalies,
            "changed": one.changed,
            "run": one.run,
            "scored_at": to_iso(one.scored_at),
        }
        for one in scorings
    ]
