"""The replay exchange as a server: one market behind the protocols of `dialects`, all at once, on a local port.

Owns the network, the clock and the counts. What is asked and answered stands in the protocols' modules, what goes wrong
in `faults`.
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

from aiohttp import web

from etl.errors import ConfigError
from etl.replay.book import Book
from etl.replay.dialects import DIALECTS
from etl.replay.faults import FaultPlan
from etl.replay.limits import WeightLimits
from etl.replay.market import Market
from etl.replay.mishaps import MISHAPS, fitting
from etl.replay.page import Page
from etl.replay.wire import Answer, Asked, Dialect, Limits, RefusedError, Route, Window

_WINDOWS_KEPT = 100_000
_PATIENCE_S = 0.5  # for answers under way when the server stops
_DRIBBLES = 10


def system_clock_ms() -> int:
    """Return the machine's time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class ReplayServer:
    """An exchange of our own.

    Use it as a context manager, in which it runs in a thread; or `start` and `stop` it in a loop of yours; or let it
    `run_forever`. Pages are made one after the other, and cut from days that are encoded once.

    Args:
        market: What it trades.
        port: Where it listens; 0 for any free port.
        host: On which of the machine's addresses.
        limits: Whether an address that asks for too much is refused.
        faults: What shall go wrong.
        clock: The exchange's time, in milliseconds since the epoch.
        latency_ms: How long each answer is held back.

    Attributes:
        unlisted: Symbols (ccxt's form) that the exchange does not know any more; may be changed while it runs.
        requests: How often each path was asked for, refused or not.
        windows: The latest 100,000 requests for candles or trades, in order.
        answers: How often each HTTP status was answered.
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
        self.unlisted: set[str] = set()
        self.requests: Counter[str] = Counter()
        self.windows: deque[Window] = deque(maxlen=_WINDOWS_KEPT)
        self.answers: Counter[int] = Counter()
        self._book = Book(market, self.unlisted)
        self._limits = {dialect.name: dialect.limits(limits) for dialect in DIALECTS}
        self._address = (host, port)
        self._bound: tuple[str, int] | None = None
        self._clock = clock
        self._latency_s = latency_ms / 1_000
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def used_by_minute(self) -> Mapping[int, int]:
        """The weight that Binance's protocol accepted, by clock minute since the epoch."""
        binance = self._limits["binance"]
        return dict(binance.accepted) if isinstance(binance, WeightLimits) else {}

    @property
    def url(self) -> str:
        """The address, without a path: `http://127.0.0.1:8900`.

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
        for dialect in DIALECTS:
            for route in dialect.routes:
                app.router.add_get(route.path, self._guarded(dialect, route))
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_PATIENCE_S)
        await runner.setup()
        host, port = self._address
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"port {port} on {host} is taken; choose another with --port, or 0 for any free one"
                ) from error
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
            loop.run_until_complete(_end_tasks())
            loop.close()

    def _guarded(self, dialect: Dialect, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return what answers `route`, behind counts, latency, limits and faults."""
        limits = self._limits[dialect.name]

        async def answer(request: web.Request) -> web.StreamResponse:
            self.requests[request.path] += 1
            if self._latency_s:
                await asyncio.sleep(self._latency_s)
            address = request.remote or ""
            asked = Asked(request.query, request.match_info, self._clock())
            try:
                limits.spend(address, route.weight, asked.now_ms)
            except RefusedError as refusal:
                headers = {**limits.headers(address), **refusal.headers}
                return self._respond(refusal.body, refusal.status, headers, refusal.content_type)
            made = await self._make(route, asked)
            page = self._spoil(dialect, route, made, asked.now_ms)
            if page is None:
                headers = {**limits.headers(address), **made.headers}
                return self._respond(made.encode(), made.status, headers, made.content_type)
            return await self._send(request, page, limits)

        return answer

    async def _make(self, route: Route, asked: Asked) -> Answer:
        """Return what is to be answered, be it a refusal."""
        try:
            if route.is_long:
                return await asyncio.to_thread(route.answer, self._book, asked)
            return route.answer(self._book, asked)
        except RefusedError as refusal:
            return Answer(
                refusal.body, content_type=refusal.content_type, status=refusal.status, headers=refusal.headers
            )

    def _spoil(self, dialect: Dialect, route: Route, made: Answer, now_ms: int) -> Page | None:
        """Return what the faults leave of an answer; None where none befalls it."""
        if made.window is not None:
            self.windows.append(made.window)
        symbol = made.window.symbol if made.window is not None else None
        names = self.faults.take(symbol, route.name, is_rows=made.layout is not None, among=fitting(made))
        if not names:
            return None
        page = Page(
            made,
            made.rows(),
            now_ms,
            words=dialect.words,
            maintenance_status=dialect.maintenance_status,
            hold_s=self.faults.hold_s,
            slow_s=self.faults.slow_s,
            status=made.status,
            headers=made.headers,
            content_type=made.content_type,
        )
        for name in names:
            page = MISHAPS[name](page)
        return page

    async def _send(self, request: web.Request, page: Page, limits: Limits) -> web.StreamResponse:
        await asyncio.sleep(page.wait_s)
        if page.is_dropped and request.transport is not None:
            request.transport.abort()
            return web.Response()  # to nobody
        body, headers = page.encode(), {**limits.headers(request.remote or ""), **page.headers}
        if not page.is_cut and not page.dribble_s:
            return self._respond(body, page.status, headers, page.content_type)
        self.answers[page.status] += 1
        headers |= {"Content-Type": page.content_type, "Content-Length": str(len(body))}
        response = web.StreamResponse(status=page.status, headers=headers)
        await response.prepare(request)
        sent = len(body) // 2 if page.is_cut else len(body)
        step = max(1, sent // _DRIBBLES)
        for start in range(0, sent, step):
            await asyncio.sleep(page.dribble_s / _DRIBBLES)
            await response.write(body[start : min(start + step, sent)])
        if page.is_cut and request.transport is not None:
            request.transport.close()
        return response

    def _respond(self, body: bytes, status: int, headers: Mapping[str, str], content_type: str) -> web.Response:
        self.answers[status] += 1
        return web.Response(body=body, status=status, headers={"Content-Type": content_type, **headers})


async def _end_tasks() -> None:
    """Cancel what is still under way in this loop, and wait for its threads."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()
