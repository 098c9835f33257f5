"""Our part of the UI's server: the market page and what links of tasks and messages lead to.

Airflow mounts what a plugin brings as it is, open to everybody: each router here asks who it is.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from chandler_airflow import pages
from chandler_airflow.market import acting, reading, refusals, scraping, shell
from chandler_airflow.market.bodies import BoundedBodies
from chandler_airflow.market.gate import Headers

app = FastAPI(title="Chandler", docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(BoundedBodies)
app.add_middleware(Headers)
app.add_exception_handler(RequestValidationError, refusals.refuse_nonsense)
app.add_exception_handler(HTTPException, refusals.refuse)


for router in (pages.router, shell.router, reading.router, acting.router, scraping.router):
    app.include_router(router)
