"""Metrics for Prometheus: for who is logged in, or who has the token that was set for it."""

from __future__ import annotations

import hmac
import os
from datetime import UTC, datetime
from typing import Annotated

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials

from chandler_airflow.market.gate import may_look
from chandler_airflow.market.warehouse import opened_warehouse
from etl.metrics import metrics_text

TOKEN = "CHANDLER_METRICS_TOKEN"  # noqa: S105  # the name of the variable

router = APIRouter()

Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_scheme)]


async def may_scrape(request: Request, bearer: Bearer) -> None:
    """Let in who has the token, and whoever may look at all DAGs of ours: the metrics are of all series.

    Raises:
        HTTPException: 401 or 403, neither.
    """
    expected = os.environ.get(TOKEN, "")
    if expected and bearer is not None and hmac.compare_digest(bearer.credentials.encode(), expected.encode()):
        return
    user = await get_user(request, None, bearer)
    if not (await run_in_threadpool(may_look, user)).sees_all:
        raise HTTPException(403, "you may not look at all of Chandler's DAGs; an admin of this Airflow can let you")


@router.get("/metrics", dependencies=[Depends(may_scrape)])
def show_metrics() -> Response:
    """Give what is counted, as Prometheus reads it."""
    with opened_warehouse() as (warehouse, settings):
        text = metrics_text(warehouse, settings, datetime.now(UTC))
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
