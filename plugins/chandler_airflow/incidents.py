"""Content of the pages of incidents: a list of them, and one with all that it is judged by. HTML out of values.

Who may act finds buttons there, which ask the market page's API; the way back leads to the market page.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape

from chandler_airflow.links import INCIDENT_PATH, MARKET_PATH
from etl.dossiers import Dossier
from etl.incidents import Incident
from etl.show.dossier import in_words, said_of, sections, summary_lines
from etl.show.parts import to_minute
from etl.spelling import once_in
from models.page import cards, heading, link, page, paragraph

_HEADS = ("incident", "series", "peak", "kind", "scope", "severity", "state", "once in", "acknowledged", "note")


def list_page(incidents: Sequence[Incident], more: int) -> str:
    """Return the page of a list.

    Args:
        more: How many there are that it leaves out.
    """
    heads = "".join(f"<th>{escape(name)}</th>" for name in _HEADS)
    rows = "".join(_row(one) for one in incidents)
    nothing = paragraph("There is none. What waits for a model that can judge it, chandler score says.")
    parts = [f'<div><table class="cards"><tr>{heads}</tr>{rows}</table></div>' if rows else nothing]
    if more > 0:
        parts.append(paragraph(f"{more:,} more: chandler incidents list", "quiet"))
    return page("Incidents", [_ways(("#incidents", "Incidents on the market page")), *parts])


def incident_page(dossier: Dossier, script: str = "") -> str:
    """Return the page of one incident.

    Args:
        script: What lets its buttons act, as HTML; empty for who may only look, and finds no button.
    """
    one = dossier.incident
    found = one.found
    day = f"#day/{found.series}/{found.peak:%Y-%m-%d}"
    parts = [_ways(("#incidents", "All incidents"), (f"#series/{found.series}", "Its series"), (day, "Its day"))]
    parts.append(paragraph(f"{in_words(found.kind)}, {found.scope}, {found.severity}", "verdict"))
    parts += [paragraph(line) for line in summary_lines(one)]
    parts.append(_chart(dossier))
    for section in sections(dossier):
        parts.append(heading(section.title))
        if section.rows:
            parts.append(cards(section.heads, section.rows))
    if script:
        parts.insert(2, _acts(one))
    return page(f"Incident {one.id}: {found.series}", parts, script)


def _ways(*places: tuple[str, str]) -> str:
    """Return the links back, to places on the market page."""
    links = " · ".join(link(f".{MARKET_PATH}{place}", text) for place, text in places)
    return f"<nav><p>{links}</p></nav>"


def _acts(one: Incident) -> str:
    """Return buttons for what is not said yet, with what the dialog that they open shows."""
    said = {
        "id": one.id,
        "series": str(one.found.series),
        "kind": one.found.kind.value,
        "start": one.found.time_range.start.isoformat(),
        "note": one.note,
    }
    verdicts = [] if one.acknowledged_at else [("acknowledge", "Acknowledge")]
    verdicts.append(("true", "No false alarm") if one.is_false else ("false", "False alarm"))
    buttons = " ".join(f'<button type="button" data-verdict="{verdict}">{name}</button>' for verdict, name in verdicts)
    return f'<p id="acts" data-incident="{escape(json.dumps(said))}">{buttons}</p>'


def _row(one: Incident) -> str:
    found = one.found
    cells = (
        str(found.series),
        to_minute(found.peak),
        in_words(found.kind),
        found.scope,
        found.severity,
        f"{one.state}{', history' if one.is_history else ''}",
        once_in(found.once_in_days),
        said_of(one),
    )
    link = f'<td class="number"><a href=".{INCIDENT_PATH}?id={one.id}">{one.id}</a></td>'
    named = zip(_HEADS[1:], cells, strict=False)
    whole = "".join(f'<td class="whole" data-name="{name}">{escape(cell)}</td>' for name, cell in named)
    return f'<tr>{link}{whole}<td data-name="{_HEADS[-1]}">{escape(one.note)}</td></tr>'


def _chart(dossier: Dossier) -> str:
    """Return the picture of its candles, in the page itself: in the colours of the page's theme."""
    if not dossier.candles.num_rows:
        return paragraph("The warehouse holds none of its candles any more.", "quiet")
    from etl.alerts.chart import DARK, LIGHT, chart_png

    dark, light = (
        f"data:image/png;base64,{base64.b64encode(chart_png(dossier.candles, dossier.incident, theme=one)).decode()}"
        for one in (DARK, LIGHT)
    )
    return (
        f'<p><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="the candles around it, the incident shaded" src="{light}"></picture></p>'
    )
