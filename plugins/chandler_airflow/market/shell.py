"""The page itself and its modules, which lie in `static/`; all of it comes from here, and nothing from elsewhere."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from airflow.configuration import conf
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.staticfiles import StaticFiles

from chandler_airflow.links import PREFIX
from chandler_airflow.market.access import Access
from chandler_airflow.market.gate import Viewer, may_look
from chandler_airflow.market.warehouse import known_settings

router = APIRouter(dependencies=[Depends(may_look)])

_HERE = Path(__file__).parent
_OWN = StaticFiles(directory=_HERE / "static")
_LIBRARY = "lightweight-charts.mjs"
_LIBRARY_FILE = "lightweight-charts.standalone.production.mjs"
# Made by npm, and so perhaps not there yet.
_PACKAGE = _HERE / "node_modules" / "lightweight-charts" / "dist"
_ADVICE = "the chart library is not installed: run make in Chandler's folder, or npm ci where package.json lies"

_SHELL = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="chandler" content="{facts}">
<title>Market</title>
<link rel="stylesheet" href="{own}/static/market.css">
<link rel="modulepreload" href="{own}/static/market.js">
<script type="module" src="{own}/static/market.js"></script>
{faults}<div id="app"></div>
<noscript>The market page is drawn by a script that comes from here; let it run. Without: chandler status.</noscript>
</html>
"""


@router.get("/market")
def show_market(access: Viewer) -> HTMLResponse:
    """Give the page; what it shows it asks for by itself."""
    return HTMLResponse(_SHELL.format(facts=facts_of(access), own=own_address(), faults=_faults(access)))


def facts_of(access: Access) -> str:
    """Return what a page's modules are told of who looks, as the content of an attribute."""
    return escape(json.dumps({"name": access.name, "base": base_path()}))


def base_path() -> str:
    """Return the path below which Airflow is served; empty if that is the root."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def own_address() -> str:
    """Return the path below which our pages are, as the content of an attribute."""
    return escape(base_path() + PREFIX)


@router.get("/static/{name}")
async def show_module(name: str, request: Request) -> Response:
    """Give a module of the page, its style, or the chart library; not again to who has it already."""
    folder, file = (_OWN, name) if name != _LIBRARY else (_library(), _LIBRARY_FILE)
    try:
        answer = await folder.get_response(file, request.scope)
    except StarletteHTTPException as error:
        raise HTTPException(error.status_code, f"there is no {name!r}") from error
    answer.headers["Cache-Control"] = "private, no-cache"
    return answer


def _faults(access: Access) -> str:
    """Return what is wrong in feeds.toml as HTML; the page shows all else as ever."""
    try:
        faults = [str(fault) for fault in known_settings().faults if access.sees_fault(fault)]
    except HTTPException as error:
        faults = [error.detail]
    lines = "".join(f"<li>{escape(fault)}</li>" for fault in faults)
    return (
        f'<aside id="faults"><strong>Left out, until it is corrected</strong><ul>{lines}</ul></aside>\n'
        if lines
        else ""
    )


def _library() -> StaticFiles:
    if not _PACKAGE.is_dir():
        raise HTTPException(503, _ADVICE)
    return StaticFiles(directory=_PACKAGE)
