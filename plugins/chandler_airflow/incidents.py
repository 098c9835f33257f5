"""What the pages of incidents show: a list of them, and one with all that it is judged by. HTML out of values."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from chandler_airflow.links import INCIDENT_PATH
from etl.dossiers import Dossier
from etl.incidents import Incident
from etl.show.dossier import in_words, once_in, said_of, sections, summary_lines
from etl.show.parts import to_minute
from models.page import heading, page, paragraph, table

_HEADS = ("incident", "series", "peak", "kind", "scope", "severity", "state", "once in", "acknowledged", "note")


def list_page(incidents: Sequence[Incident], more: int) -> str:
    """Return the page of a list.

    Args:
        more: How many there are that it leaves out.
    """
    heads = "".join(f"<th>{escape(name)}</th>" for name in _HEADS)
    rows = "".join(_row(one) for one in incidents)
    nothing = paragraph("There is none. What waits for a model that can judge it, chandler score says.")
    parts = [f"<div><table><tr>{heads}</tr>{rows}</table></div>" if rows else nothing]
    if more > 0:
        parts.append(paragraph(f"{more:,} more: chandler incidents list", "quiet"))
    return page("Incidents", parts)


def incident_page(dossier: Dossier) -> str:
    """Return the page of one incident."""
    one = dossier.incident
    found = one.found
    parts = [paragraph(f"{in_words(found.kind)}, {found.scope}, {found.severity}", "verdict")]
    parts += [paragraph(line) for line in summary_lines(one)]
    parts.append(_chart(dossier))
    for section in sections(dossier):
        parts.append(heading(section.title))
        if section.rows:
            parts.append(table(section.heads, section.rows))
    if one.acknowledged_at is None:
        parts.append(paragraph(f"Seen: chandler incidents acknowledge {one.id}", "quiet"))
    if one.is_false is None:
        parts.append(paragraph(f"If it is a false alarm: chandler incidents false {one.id}", "quiet"))
    return page(f"Incident {one.id}: {found.series}", parts)


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
    whole = "".join(f'<td class="whole">{escape(cell)}</td>' for cell in cells)
    return f"<tr>{link}{whole}<td>{escape(one.note)}</td></tr>"


def _chart(dossier: Dossier) -> str:
    """Return the picture that goes with a message, in the page itself."""
    if not dossier.candles.num_rows:
        return paragraph("The warehouse holds none of its candles any more.", "quiet")
    from etl.alerts.chart import chart_png

    picture = base64.b64encode(chart_png(dossier.candles, dossier.incident)).decode()
    return f'<p><img alt="the candles around it, the incident shaded" src="data:image/png;base64,{picture}"></p>'
