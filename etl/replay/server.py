"""The replay exchange as a server: one market behind Binance's protocol on a local port.

Owns the network, the clock and the counts. What is asked and answered stands in `binance`, what goes wrong in `faults`.
"""

from __future__ import annotations

import asyncio
import errno
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

import orjson
from aiohttp import web

from etl.errors import ConfigError
from etl.replay.binance import (
    PREFIX,
    WEIGHTS,
    RefusedError,
    Window,
    exchange_info,
    parse_window,
    select_rows,
    symbol_ids,
    to_wire,
)
from etl.replay.faults import FAULTS, JSON, FaultPlan, Page
from etl.replay.limits import WeightLimits
from etl.replay.market import Market

_WINDOWS_KEPT = 100_000
_PATIENCE_S = 0.5  # for answers under way when the server stops

_Handler = Callable[[web.Request, int], Awaitable[web.StreamResponse]]


def system_clock_ms() -> int:
    """Return the machine's time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class ReplayServer:
    """An exchange of our own.

    Use it as a context manager, in which it runs in a thread; or `start` and `stop` it in a loop of yours; or let it
    `run_forever`. Pages are made one after the other: new ones of minutes take 5 ms, of days up to a second.

    Args:
        market: What it trades.
        port: Where it listens; 0 for any free port.
        host: On which of the machine's addresses.
        limits: Whether an address that asks for too much is refused.
        faults: What shall go wrong.
        clock: The exchange's time, in milliseconds since the epoch.
        latency_ms: How long each answer is held back.

    Attributes:
        requests: How often each path was asked for, refused or not.
        windows: The latest 100,000 requests for klines, in order.
    """

    def __init__(
        self,
        market: Market,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        limits: bool = True,
        faults: FaultPlan | None = None,
        clock: Callable[[], int] = system_clock_ms,
        latency_ms: float = 0.0,
    ) -> None:
        self.market = market
        self.faults = faults if faults is not None else FaultPlan()
        self.requests: Counter[str] = Counter()
        self.windows: deque[Window] = deque(maxlen=_WINDOWS_KEPT)
        self._ids = symbol_ids(market)
        self._address = (host, port)
        self._bound: tuple[str, int] | None = None
        self._limits = WeightLimits(is_on=limits)
        self._clock = clock
        self._latency_s = latency_ms / 1_000
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it answers, without a path: `http://127.0.0.1:8900`.

        Raises:
            ConfigError: It is not running.
        """
        if self._bound is None:
            raise ConfigError("the replay exchange is not running; start it first")
        return f"http://{self._bound[0]}:{self._bound[1]}"

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ConfigError: The port is taken, or the host is none of this machine's.
        """
        app = web.Application()
        handlers: dict[str, _Handler] = {
            "ping": self._ping,
            "time": self._time,
            "exchangeInfo": self._exchange_info,
            "klines": self._klines,
        }
        for name, handler in handlers.items():
            app.router.add_get(f"{PREFIX}/{name}", self._guarded(handler, WEIGHTS[name]))
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_PATIENCE_S)
        await runner.setup()
        host, port = self._address
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(f"port {port} on {host} is taken; choose another, or 0 for any free one") from error
            raise ConfigError(f"the replay exchange cannot listen on {host}, port {port}: {error}") from error
        self._runner, self._bound = runner, (host, runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and close what is open. Doing it twice does no harm."""
        runner, self._runner, self._bound = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    def run_forever(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Serve until SIGINT or SIGTERM, from the main thread.

        Args:
            on_ready: Told the address once it answers.

        Raises:
            ConfigError: The port is taken, or the host is none of this machine's.
        """
        asyncio.run(self._run_until_signal(on_ready))

    async def _run_until_signal(self, on_ready: Callable[[str], None] | None) -> None:
        signalled = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, signalled.set)
        await self.start()
        try:
            if on_ready is not None:
                on_ready(self.url)
            await signalled.wait()
        finally:
            await self.stop()

    def __enter__(self) -> Self:
        """Serve from a thread."""
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="replay-exchange", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.start(), loop).result()
        except ConfigError:
            self._end_thread()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and wait for the thread to end."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result()
            self._end_thread()

    def _end_thread(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _guarded(self, handler: _Handler, weight: int) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return `handler` behind counts, latency and limits."""

        async def answer(request: web.Request) -> web.StreamResponse:
            self.requests[request.path] += 1
            await asyncio.sleep(self._latency_s)
            now_ms, address = self._clock(), request.remote or ""
            try:
                self._limits.spend(address, weight, now_ms)
                return await handler(request, now_ms)
            except RefusedError as refusal:
                return self._respond(request, refusal.body, status=refusal.status, headers=refusal.headers)

        return answer

    async def _ping(self, request: web.Request, now_ms: int) -> web.StreamResponse:
        return self._respond(request, b"{}")

    async def _time(self, request: web.Request, now_ms: int) -> web.StreamResponse:
        return self._respond(request, orjson.dumps({"serverTime": now_ms}))

    async def _exchange_info(self, request: web.Request, now_ms: int) -> web.StreamResponse:
        return self._respond(request, orjson.dumps(exchange_info(request.query, self._ids, self.market, now_ms)))

    async def _klines(self, request: web.Request, now_ms: int) -> web.StreamResponse:
        window = parse_window(request.query, self._ids, self.market)
        self.windows.append(window)
        rows = to_wire(select_rows(self.market, window, now_ms), window.timeframe)
        names = self.faults.take(window.symbol)
        if not names:
            return self._respond(request, orjson.dumps(rows))
        newest = self.market.last_rows(window.symbol, window.timeframe, now_ms + 1, 1, now_ms)
        forming = [row for row in to_wire(newest, window.timeframe) if row[6] >= now_ms]
        page = Page(tuple(rows), forming[0] if forming else None, now_ms, self.faults.hold_s)
        for name in names:
            page = FAULTS[name](page)
        return await self._send(request, page)

    async def _send(self, request: web.Request, page: Page) -> web.StreamResponse:
        await asyncio.sleep(page.wait_s)
        body = page.encode()
        if not page.is_cut:
            return self._respond(request, body, page.status, page.headers, page.content_type)
        response = web.StreamResponse(headers={"Content-Type": page.content_type, "Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    def _respond(
        self,
        request: web.Request,
        body: bytes,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> web.Response:
        used = str(self._limits.used(request.remote or ""))
        weights = {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}
        return web.Response(
            body=body, status=status, headers={"Content-Type": content_type, **weights, **(headers or {})}
        )
