"""The pages behind links of tasks and messages, for those who are logged in: quality, trainings, incidents."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse

from chandler_airflow.incidents import incident_page, list_page
from chandler_airflow.links import INCIDENT_PATH, INCIDENTS_PATH, QUALITY_PATH, REPORT_PATH
from chandler_airflow.market.answers import AskedMoment, to_range, to_series
from chandler_airflow.market.gate import Viewer, may_look, may_see_models
from chandler_airflow.market.reading import seen_incident, seen_of
from chandler_airflow.market.shell import facts_of, own_address
from chandler_airflow.market.warehouse import opened_warehouse, reading
from etl.dossiers import open_dossier
from etl.quality import COLUMNS, NUMBERS, SeriesQuality, quality_rows, report_quality, undated_lines
from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.warehouse import Quality, Wish, count_incidents, days_of, list_incidents
from models.page import page, paragraph

_MOST_LISTED = 100
_MOST_LINES = 20_000

_STYLE = """<style>
body { max-width: none } td:first-child, td:nth-child(2) { white-space: nowrap } tr.sum td { font-weight: 600 }
</style>"""
# No script runs on most of them, and nothing is fetched from anywhere else.
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}
# Reports and incidents have their pictures in themselves.
_PICTURE_HEADERS = {**_HEADERS, "Content-Security-Policy": f"{_HEADERS['Content-Security-Policy']}; img-src data:"}
# An incident has buttons besides, which our own module lets act.
_ACTING_HEADERS = {
    **_HEADERS,
    "Content-Security-Policy": f"{_PICTURE_HEADERS['Content-Security-Policy']}; script-src 'self'; connect-src 'self'",
}
_SCRIPT = '<meta name="chandler" content="{facts}"><script type="module" src="{own}/static/incident.js"></script>'

router = APIRouter(dependencies=[Depends(may_look)])


@router.get(QUALITY_PATH)
def show_quality(
    series: Annotated[list[str], Query()], start: AskedMoment, end: AskedMoment, access: Viewer
) -> HTMLResponse:
    """Show the quality of each day that `[start, end)` touches, for each of `series`; without a zone, UTC."""
    wanted, time_range = {to_series(one) for one in series}, to_range(start, end)
    if len(wanted) * days_of(time_range).count(Timeframe.D1) > _MOST_LINES:
        raise HTTPException(422, f"ask for fewer days or series: {_MOST_LINES:,} lines are the most that is shown")
    for one in wanted:
        access.check_sees(one)
    with opened_warehouse() as (warehouse, _):
        reports = report_quality(warehouse, wanted, time_range)
    return HTMLResponse(_page(time_range, reports), headers=_HEADERS)


@router.get(REPORT_PATH, dependencies=[Depends(may_see_models)])
def show_report(model: Annotated[int, Query(ge=1, lt=2**63)]) -> HTMLResponse:
    """Show what was found in the night that a model was trained in."""
    from models.registry import read_report

    with reading() as (connection, _):
        report = read_report(connection, model)
    if report is None:
        raise HTTPException(404, f"there is no report of a model {model}; chandler models lists those that there are")
    return HTMLResponse(report, headers=_PICTURE_HEADERS)


@router.get(INCIDENTS_PATH)
def show_incidents(access: Viewer, series: Annotated[list[str] | None, Query()] = None) -> HTMLResponse:
    """List the latest incidents, of some series or of all that the user may see; those of history too."""
    asked = [to_series(one) for one in series] if series else None
    with reading() as (connection, _):
        wish = Wish(seen_of(connection, asked, access))
        found = list_incidents(connection, wish, _MOST_LISTED)
        more = count_incidents(connection, wish) - len(found)
    return HTMLResponse(list_page(found, more), headers=_HEADERS)


@router.get(INCIDENT_PATH)
def show_incident(incident: Annotated[int, Query(alias="id", ge=1, lt=2**63)], access: Viewer) -> HTMLResponse:
    """Show an incident, and all that it is judged by."""
    with opened_warehouse() as (warehouse, _):
        with warehouse.begin() as connection:
            found = seen_incident(connection, incident, access)
        dossier = open_dossier(warehouse, incident)
    if not access.acts_on(found.found.series):
        return HTMLResponse(incident_page(dossier), headers=_PICTURE_HEADERS)
    script = _SCRIPT.format(facts=facts_of(access), own=own_address())
    return HTMLResponse(incident_page(dossier, script), headers=_ACTING_HEADERS)


def _page(time_range: TimeRange, reports: Sequence[SeriesQuality]) -> str:
    heads = "".join(f"<th{_number(name)}>{name}</th>" for name in COLUMNS)
    rows = "".join(_row(cells, quality) for cells, quality in quality_rows(reports))
    table = f"<div><table><tr>{heads}</tr>{rows}</table></div>" if rows else paragraph("Nothing of it is loaded.")
    told = paragraph(f"The UTC days of {time_range}: expected = stored + absent", "quiet")
    undated = (paragraph(line, "quiet") for line in undated_lines(reports))
    return page("Quality", [told, table, *undated], _STYLE)


def _row(cells: Sequence[str], quality: Quality) -> str:
    colours = {"absent": "strange" if quality.absent else "", "refused": "wrong" if quality.refused else ""}
    named = zip(COLUMNS, cells, strict=True)
    columns = (f"<td{_number(name) or _class(colours.get(name, ''))}>{escape(cell)}</td>" for name, cell in named)
    return f"<tr{_class('sum' if 'sum' in cells else '')}>{''.join(columns)}</tr>"


def _number(name: str) -> str:
    return _class("number" if name in NUMBERS else "")


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
