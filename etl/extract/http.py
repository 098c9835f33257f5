"""Sessions of exchanges and their archives: no answer is longer than it may be, and no redirect is followed."""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from functools import cache

import aiohttp
import certifi

PAGE_BYTES = 8 << 20
"""Bounds an answer that is no list of symbols. A thousand candles take 0.2 MB; as objects the worst takes 0.2 GB."""

LISTING_BYTES = 48 << 20
"""Bounds a list of all symbols; what ccxt asks first takes Binance some 20 MB."""

MOST_BYTES: ContextVar[int] = ContextVar("most_bytes", default=PAGE_BYTES)
"""Bytes that the answer to the request under way in this task may have, unpacked."""


class RefusedAnswerError(aiohttp.ClientError):
    """An answer that is not read: it is too long, or leads elsewhere. Says nothing of its content."""


class _Bounded(aiohttp.ClientResponse):
    """A response that is read up to a bound. aiohttp unpacks no more at a time than is read."""

    async def read(self) -> bytes:
        """Return the body.

        Raises:
            RefusedAnswerError: It has more bytes than MOST_BYTES.
        """
        if self._body is None:
            most, body = MOST_BYTES.get(), bytearray()
            async for piece in self.content.iter_any():
                body += piece
                if len(body) > most:
                    self.close()
                    raise RefusedAnswerError(f"the answer has over {most >> 20} MB, far more than was asked for")
            self._body = bytes(body)
        return await super().read()


def make_session() -> aiohttp.ClientSession:
    """Return a session in the running loop, for whoever closes it."""
    # Both families side by side, so that a broken IPv6 delays nothing.
    connector = aiohttp.TCPConnector(ssl=_certificates(), happy_eyeballs_delay=0)
    return aiohttp.ClientSession(connector=connector, response_class=_Bounded, middlewares=(_refuse_redirects,))


async def _refuse_redirects(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    response = await handler(request)
    if 300 <= response.status < 400 and "Location" in response.headers:
        response.close()
        raise RefusedAnswerError(f"{request.url.host} redirects us, which no exchange does")
    return response


@cache
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certifi.where())
