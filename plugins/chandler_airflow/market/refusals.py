"""Refusals of a request: in words, as JSON to scripts and modules, and as a page to a browser that opens one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from chandler_airflow.links import MARKET_PATH, PREFIX
from chandler_airflow.market.shell import base_path
from etl.problems import in_our_words
from models.page import link, page, paragraph

_TITLES = {401: "Your session has ended", 403: "You may not look at this", 404: "There is no such thing"}
_SHOWN = 80  # characters of what somebody has written
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'"
_WHERE = frozenset({"query", "path", "body", "header"})


def refuse_nonsense(request: Request, error: Exception) -> Response:
    """Answer 422: what of a question cannot be meant, each by the name of the parameter."""
    details = error.errors() if isinstance(error, RequestValidationError) else ()
    return _answer(request, 422, "; ".join(map(_sentence, details)), {})


def refuse(request: Request, error: Exception) -> Response:
    """Answer what a route has raised."""
    if not isinstance(error, HTTPException):  # Starlette's type of a handler promises no more
        raise error
    return _answer(request, error.status_code, str(error.detail), error.headers or {})


def _answer(request: Request, status: int, detail: str, headers: Mapping[str, str]) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        whole = page(_TITLES.get(status, "That did not work"), [paragraph(detail), f"<p>{_way(request, status)}</p>"])
        return HTMLResponse(_ascii(whole), status, {**headers, "Content-Security-Policy": _PAGE_POLICY})
    # In ASCII, since there may be in it what UTF-8 has no bytes for.
    return Response(
        json.dumps({"detail": detail}, separators=(",", ":")), status, dict(headers), media_type="application/json"
    )


def _way(request: Request, status: int) -> str:
    """Return the link onwards: to the login for who is not logged in, else to the market page."""
    if status != 401:
        return link(base_path() + PREFIX + MARKET_PATH, "To the market page")
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return link(f"{base_path()}/api/v2/auth/login?next={quote(asked, safe='')}", "Log in")


def _sentence(detail: Mapping[str, Any]) -> str:
    """Return what is wrong with one parameter: `offset: '-1' is below 0`."""
    name = ".".join(str(part) for part in detail.get("loc", ()) if part not in _WHERE)
    known, asked = detail.get("ctx") or {}, str(detail.get("input"))
    shown = repr(asked if len(asked) <= _SHOWN else f"{asked[:_SHOWN]}…")
    match detail.get("type"):
        case "missing":
            what = "is missing"
        case "int_parsing" | "int_parsing_size":
            what = f"{shown} is no whole number"
        case "greater_than_equal":
            what = f"{shown} is below {known.get('ge')}"
        case "less_than_equal" | "less_than":
            what = f"{shown} is above {known.get('le', known.get('lt'))}"
        case "bool_parsing":
            what = f"{shown} is neither true nor false"
        case "enum" | "literal_error":
            what = f"{shown} is none of {known.get('expected')}"
        case "date_parsing" | "date_from_datetime_parsing" | "date_from_datetime_inexact":
            what = f"{shown} is no day; write 2024-01-31"
        case "extra_forbidden":
            what = "is not known here"
        case _:
            what = in_our_words(detail)
    return f"{name}: {what}" if name else what


def _ascii(text: str) -> str:
    return text.encode("ascii", "xmlcharrefreplace").decode()
