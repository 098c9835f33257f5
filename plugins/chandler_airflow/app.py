"""Our part of the UI's server: the market page and what links of tasks and messages lead to.

Airflow mounts what a plugin brings as it is, open to everybody: each router here asks who it is.
"""

from __future__ import annotations

import json

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response

from chandler_airflow import pages
from chandler_airflow.market import acting, reading, scraping, shell
from chandler_airflow.market.gate import Headers

app = FastAPI(title="Chandler", docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(Headers)


@app.exception_handler(RequestValidationError)
def refuse(_: Request, error: RequestValidationError) -> Response:
    """Say what is wrong with a question; in ASCII, since there may be in it what UTF-8 has no bytes for."""
    detail = json.dumps({"detail": jsonable_encoder(error.errors())})
    return Response(detail, status_code=422, media_type="application/json")


for router in (pages.router, shell.router, reading.router, acting.router, scraping.router):
    app.include_router(router)
