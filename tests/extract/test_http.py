"""Sessions: what is sent without end, packed small, or from elsewhere is not read, whoever asks."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import ClientConnectionError, ClientSession, web

from etl.extract.http import MOST_BYTES, PAGE_BYTES, RefusedAnswerError, make_session

GIGABYTE = gzip.compress(b" " * (1 << 20)) * 1_000
INNER = "what the inner server says"


class Server:
    """A hostile server, which counts what it sends."""

    def __init__(self) -> None:
        self.url = ""
        self.sent_bytes = 0
        self.inner_calls = 0

    async def packed(self, request: web.Request) -> web.Response:
        """Send a megabyte that unpacks to a gigabyte."""
        return web.Response(body=GIGABYTE, headers={"Content-Encoding": "gzip"})

    async def endless(self, request: web.Request) -> web.StreamResponse:
        """Send until nobody reads any more."""
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ClientConnectionError, ConnectionError):
            while True:
                await response.write(b"[" * (1 << 16))
                self.sent_bytes += 1 << 16
        return response

    async def elsewhere(self, request: web.Request) -> web.Response:
        """Lead to another server's answer."""
        raise web.HTTPFound(f"{self.url}/inner")

    async def inner(self, request: web.Request) -> web.Response:
        """Answer as a server that only this machine may ask."""
        self.inner_calls += 1
        return web.Response(text=INNER)

    async def sound(self, request: web.Request) -> web.Response:
        """Answer with as many bytes as an answer may have, packed."""
        return web.Response(body=gzip.compress(b" " * PAGE_BYTES), headers={"Content-Encoding": "gzip"})


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[ClientSession]:
    """Yield a session while the server answers."""
    app = web.Application()
    for name in ("packed", "endless", "elsewhere", "inner", "sound"):
        app.router.add_get(f"/{name}", getattr(server, name))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with make_session() as session:
            yield session
    finally:
        await runner.cleanup()


def run(use: Callable[[ClientSession, Server], Awaitable[None]]) -> Server:
    """Run a client against the server."""
    server = Server()

    async def with_server() -> None:
        async with serving(server) as session:
            await use(session, server)

    asyncio.run(with_server())
    return server


@pytest.mark.parametrize("path", ["packed", "endless"])
def test_an_answer_without_end_is_refused_before_it_fills_the_memory(path: str) -> None:
    """However it is packed: no more is held than the bound and what is on its way."""

    async def ask(session: ClientSession, server: Server) -> None:
        with pytest.raises(RefusedAnswerError, match="over 8 MB"):
            async with session.get(f"{server.url}/{path}") as response:
                await response.text()

    tracemalloc.start()
    try:
        server = run(ask)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * PAGE_BYTES
    assert server.sent_bytes < 4 * PAGE_BYTES


def test_a_redirect_is_followed_nowhere_and_nothing_of_it_is_told() -> None:
    """Else an exchange could read by us what only this machine may ask, and find it in the error."""

    async def ask(session: ClientSession, server: Server) -> None:
        with pytest.raises(RefusedAnswerError) as caught:
            async with session.get(f"{server.url}/elsewhere"):
                pass
        assert "127.0.0.1" in str(caught.value)
        assert INNER not in str(caught.value)

    assert run(ask).inner_calls == 0


def test_the_bound_is_that_of_the_request_under_way() -> None:
    """Up to it an answer is read whole, and may be read twice."""

    async def ask(session: ClientSession, server: Server) -> None:
        async with session.get(f"{server.url}/sound") as response:
            assert len(await response.read()) == len(await response.read()) == PAGE_BYTES
        bound = MOST_BYTES.set(PAGE_BYTES - 1)
        with pytest.raises(RefusedAnswerError):
            async with session.get(f"{server.url}/sound") as response:
                await response.read()
        MOST_BYTES.reset(bound)

    run(ask)
