"""Quality by day or month, and revisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from etl.quality import COLUMNS, SeriesQuality, quality_rows
from etl.schema import AbsenceKind
from etl.show.parts import new_table, to_iso, to_minute
from etl.warehouse import Quality, Revision

# Kinds of absence that somebody or something is still to deal with.
_UNSETTLED = frozenset({AbsenceKind.PENDING, AbsenceKind.UNFETCHED, AbsenceKind.REFUSED})


def quality_table(reports: Sequence[SeriesQuality]) -> Table:
    """Return a line for each period of each series, with sums; in colour where something is wrong."""
    table = new_table(*COLUMNS)
    for cells, quality in quality_rows(reports):
        series, when, expected, stored, absent, refused, flagged, unjudged, revisions = cells
        is_short = quality.expected != quality.stored + sum(quality.absent.values())
        table.add_row(
            series,
            when,
            Text(expected, style="red" if is_short else ""),
            Text(stored, style="red" if is_short else ""),
            Text(absent, style=_colour_of(quality)),
            Text(refused, style="red" if quality.refused else ""),
            Text(flagged, style="yellow" if quality.flagged else ""),
            unjudged,
            revisions,
            style="bold" if when == "sum" else "",
        )
    return table


def quality_json(reports: Sequence[SeriesQuality]) -> list[dict[str, Any]]:
    """Return the same for a script."""
    return [
        {
            "series": str(report.series),
            "periods": {when: asdict(quality) for when, quality in report.periods.items()},
            "sum": asdict(report.whole),
            "undated": dict(report.undated),
        }
        for report in reports
    ]


def revisions_table(revisions: Sequence[Revision]) -> Table:
    """Return a line for each value that was replaced."""
    table = new_table("replaced at", "series", "open time", "revision", "changed", "by run")
    for one in revisions:
        changed = ", ".join(f"{name} {_number(old)} -> {_number(new)}" for name, (old, new) in one.changed.items())
        table.add_row(
            f"{one.replaced_at:%Y-%m-%d %H:%M:%S}",
            str(one.series),
            to_minute(one.open_time),
            str(one.number),
            changed or "the value after is in the archive alone",
            Text(one.run),
        )
    return table


def revisions_json(revisions: Sequence[Revision]) -> list[dict[str, Any]]:
    """Return the same for a script."""
    return [
        {
            "series": str(one.series),
            "open_time": to_iso(one.open_time),
            "revision": one.number,
            "changed": {name: {"before": old, "after": new} for name, (old, new) in one.changed.items()},
            "stored_at": to_iso(one.stored_at),
            "replaced_at": to_iso(one.replaced_at),
            "run": one.run,
        }
        for one in revisions
    ]


def _colour_of(quality: Quality) -> str:
    if not quality.absent:
        return ""
    return "red" if _UNSETTLED.intersection(quality.absent) else "yellow"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.12g}"
