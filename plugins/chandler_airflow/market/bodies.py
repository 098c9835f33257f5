"""Bodies sent to our pages: so much and no more is read of them, before anybody asks who sends them."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 64 << 10
"""The longest body; a note has 1,000 characters."""


class BoundedBodies:
    """Refuses a longer body with 413, by what it says of its length, or else once so much of it has come."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is asked; the body is read by whoever wants it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "")
        is_long = told.isdecimal() and int(told[:20]) > MOST_BYTES
        read_bytes = 0

        async def receive_some() -> Message:
            nonlocal read_bytes
            if not is_long:
                message = await receive()
                read_bytes += len(message.get("body", b""))
                if read_bytes <= MOST_BYTES:
                    return message
            raise HTTPException(413, f"what is sent here has {MOST_BYTES >> 10} kB at most", {"Connection": "close"})

        await self._app(scope, receive_some, send)
