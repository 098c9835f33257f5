"""Access: who may come in, who may act, and what a browser may do with what it is given."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, Header, HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chandler_airflow.market.access import TRAINING, Access
from chandler_airflow.market.answers import AskedSeries
from chandler_airflow.market.warehouse import known_settings
from etl.series import Series
from etl.settings import Settings

# Everything comes from here, and no other site may frame it or be sent anything.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": _POLICY.encode(),
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"SAMEORIGIN",
}

LoggedIn = Annotated[BaseUser, Depends(get_user)]


def may_look(user: LoggedIn) -> Access:
    """Let in who may look at a DAG of ours: whoever reads the logs of a load may see what it brought, and no more.

    Raises:
        HTTPException: 401 for who is not logged in, 403 for who may look at nothing of ours.
    """
    access = Access(user, _settings())
    if not access.is_let_in:
        raise HTTPException(403, "you may not look at Chandler's DAGs; an admin of this Airflow can let you")
    return access


def _settings() -> Settings | None:
    try:
        return known_settings()
    except HTTPException:  # what needs them says so; the page itself tells why they cannot be read
        return None


def may_see(series: AskedSeries, access: Annotated[Access, Depends(may_look)]) -> Series:
    """Let through a series that the user may see.

    Raises:
        HTTPException: 403.
    """
    access.check_sees(series)
    return series


def may_see_models(access: Annotated[Access, Depends(may_look)]) -> None:
    """Let in who may look at the training: a model is of all series.

    Raises:
        HTTPException: 403.
    """
    access.check_reads(TRAINING)


def may_act(
    access: Annotated[Access, Depends(may_look)],
    request: Request,
    x_chandler: Annotated[str | None, Header()] = None,
    sec_fetch_site: Annotated[str | None, Header()] = None,
) -> Access:
    """Let in what comes from our own page: a browser sends the login along wherever a form comes from.

    No other site can set the header without asking first, which nobody answers. On what they may act the route asks.

    Raises:
        HTTPException: 401, or 403 for what another site has sent.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if x_chandler != "1" or kind != "application/json" or sec_fetch_site not in {None, "same-origin"}:
        raise HTTPException(403, "send JSON with the header X-Chandler: 1, from the market page or a script")
    return access


Viewer = Annotated[Access, Depends(may_look)]
Actor = Annotated[Access, Depends(may_act)]
SeenSeries = Annotated[Series, Depends(may_see)]


class Headers:
    """Gives each answer the headers that it does not have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is asked, and the answer with headers."""

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                _complete(message)
            await send(message)

        await self._app(scope, receive, send_on)


def _complete(message: MutableMapping[str, Any]) -> None:
    known = list(message.get("headers", ()))
    names = {name.lower() for name, _ in known}
    message["headers"] = known + [(name, value) for name, value in _HEADERS.items() if name not in names]
