"""Access: who may come in, who may act, and what a browser may do with what it is given."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, Header, HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


def may_look(user: LoggedIn) -> BaseUser:
    """Let in who may look at DAGs: whoever reads the logs of a load may see what it brought.

    Raises:
        HTTPException: 401 for who is not logged in, 403 for who may look at nothing.
    """
    if not get_auth_manager().is_authorized_dag(method="GET", user=user):
        raise HTTPException(403, "you may not look at DAGs; an admin of this Airflow can let you")
    return user


def is_acting(user: BaseUser) -> bool:
    """Return whether somebody may act: who may start a run of a DAG."""
    return get_auth_manager().is_authorized_dag(method="POST", access_entity=DagAccessEntity.RUN, user=user)


def may_act(
    user: Annotated[BaseUser, Depends(may_look)],
    request: Request,
    x_chandler: Annotated[str | None, Header()] = None,
    sec_fetch_site: Annotated[str | None, Header()] = None,
) -> BaseUser:
    """Let in who may act, and only from our own page: a browser sends the login along wherever a form comes from.

    No other site can set the header without asking first, which nobody answers.

    Raises:
        HTTPException: 401, or 403 for who may only look and for what another site has sent.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if x_chandler != "1" or kind != "application/json" or sec_fetch_site not in {None, "same-origin"}:
        raise HTTPException(403, "send JSON with the header X-Chandler: 1, from the market page or a script")
    if not is_acting(user):
        raise HTTPException(403, "you may look, and not act; an admin of this Airflow can let you")
    return user


Viewer = Annotated[BaseUser, Depends(may_look)]
Actor = Annotated[BaseUser, Depends(may_act)]


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
