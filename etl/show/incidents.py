"""Incidents in a table, and one of them with all that it is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etl.dossiers import Dossier
from etl.incidents import Incident, IncidentState, Severity
from etl.show.candlesticks import Mark, draw_candles
from etl.show.dossier import Section, in_words, said_of, sections, summary_lines
from etl.show.parts import new_table, to_iso, to_minute, to_text
from etl.spelling import once_in

_SEVERITIES = {Severity.LOW: "", Severity.HIGH: "yellow", Severity.CRITICAL: "red"}
_STATES = {
    IncidentState.OPEN: "bold",
    IncidentState.UPDATED: "bold",
    IncidentState.CLOSED: "",
    IncidentState.WITHDRAWN: "dim",
}


def incidents_table(incidents: Sequence[Incident]) -> Table:
    """Return a line an incident."""
    table = new_table("id", "series", "peak", "kind", "scope", "severity", "state", "once in", "acknowledged", "note")
    for one in incidents:
        found = one.found
        table.add_row(
            str(one.id),
            str(found.series),
            to_minute(found.peak),
            in_words(found.kind),
            found.scope,
            Text(found.severity, style=_SEVERITIES[found.severity]),
            f"{one.state}{', history' if one.is_history else ''}",
            once_in(found.once_in_days),
            said_of(one),
            to_text(one.note),
            style=_STATES[one.state],
        )
    return table


def incident_json(one: Incident) -> dict[str, Any]:
    """Return all that is known of an incident for a script, but for what became of it."""
    found = one.found
    return {
        "id": one.id,
        "series": str(found.series),
        "detector": found.detector.value,
        "model": one.model,
        **found.time_range.to_dict(),
        "peak": to_iso(found.peak),
        "kind": found.kind.value,
        "scope": found.scope.value,
        "severity": found.severity.value,
        "state": one.state.value,
        "reason": one.reason,
        "score": found.score,
        "once_in_days": found.once_in_days,
        "is_history": one.is_history,
        "opened_at": to_iso(one.opened_at),
        "updated_at": to_iso(one.updated_at),
        "acknowledged_at": to_iso(one.acknowledged_at),
        "is_false": one.is_false,
        "note": one.note,
        "evidence": found.evidence.to_json(),
        "opinion": None if one.opinion is None else dict(one.opinion),
    }


def dossier_json(dossier: Dossier) -> dict[str, Any]:
    """Return the same with the candles around it, who was told, and what became of it."""
    tellings = [
        {
            **asdict(telling),
            "created_at": to_iso(telling.created_at),
            "planned_at": to_iso(telling.planned_at),
            "deliveries": [
                {**asdict(one), "next_try": to_iso(one.next_try), "sent_at": to_iso(one.sent_at)}
                for one in telling.deliveries
            ],
        }
        for telling in dossier.tellings
    ]
    return {
        **incident_json(dossier.incident),
        "alerts": tellings,
        "changes": [{**asdict(change), "changed_at": to_iso(change.changed_at)} for change in dossier.changes],
        "candles": [{**each, "open_time": to_iso(each["open_time"])} for each in dossier.candles.to_pylist()],
    }


def dossier_parts(dossier: Dossier, width: int) -> Iterator[RenderableType]:
    """Yield what there is to judge an incident by, part by part.

    Args:
        width: How many characters a line of the chart may have.
    """
    one = dossier.incident
    found = one.found
    yield Text.assemble(
        (f"incident {one.id}  {found.series}  ", "bold"),
        f"{in_words(found.kind)}, {found.scope}, ",
        (found.severity, _SEVERITIES[found.severity]),
    )
    for line in summary_lines(one):
        yield to_text(line)
    mark = Mark(found.time_range, found.peak)
    yield Text()
    yield draw_candles(dossier.candles, found.series.timeframe, dossier.around, mark, width=width)
    for section in sections(dossier):
        yield Text(f"\n{section.title}")
        if section.rows:
            yield _table(section)
    if one.acknowledged_at is None:
        yield Text(f"\nSeen: chandler incidents acknowledge {one.id} --note ...")
    if one.is_false is None:
        yield Text(f"If it is a false alarm: chandler incidents false {one.id} --note ...")


def _table(section: Section) -> Table:
    table = new_table(*section.heads)
    for row in section.rows:
        table.add_row(*map(to_text, row))
    return table
