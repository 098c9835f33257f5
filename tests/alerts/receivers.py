"""Receivers of messages in tests: servers on 127.0.0.1 that keep what they are sent, and misbehave when asked to."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(slots=True)
class Request:
    """Request to a web server."""

    path: str
    headers: dict[str, str]
    body: bytes
    arrived_at: float = field(default_factory=time.time)

    @property
    def json(self) -> dict[str, Any]:
        """The body, read as JSON."""
        return dict(json.loads(self.body))


Answer = Callable[[Request, BaseHTTPRequestHandler], None]


def status(code: int, **headers: str) -> Answer:
    """Answer with a status, and nothing in the body but what a person would rather not see in a log."""

    def answer(request: Request, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")

    return answer


def nothing(seconds: float) -> Answer:
    """Take the request, and say nothing for so long."""

    def answer(request: Request, handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return answer


def drip(seconds: float) -> Answer:
    """Answer a byte at a time, for so long: each read ends in time, and the whole does not."""

    def answer(request: Request, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                handler.wfile.write(b".")
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.05)

    return answer


@dataclass
class WebReceiver:
    """A web server: what it was sent, and how it answers the next requests (200 when nothing is left to do)."""

    port: int
    requests: list[Request] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    always: Answer = field(default_factory=lambda: status(200))
    stop: Callable[[], None] = lambda: None

    @property
    def titles(self) -> list[str]:
        """The titles that a json:// channel was sent, in their order."""
        return [one.json["title"] for one in self.requests]

    def url(self, scheme: str = "json", path: str = "/hook") -> str:
        """Return an address that leads here."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"


@contextmanager
def web_receiver(port: int = 0) -> Iterator[WebReceiver]:
    """Run a web server for the block; `stop` ends it earlier, so that the channel is down."""
    receiver = WebReceiver(port)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            request = Request(self.path, dict(self.headers.items()), self.rfile.read(length))
            receiver.requests.append(request)
            answer = receiver.answers.pop(0) if receiver.answers else receiver.always
            answer(request, self)

        do_GET = do_POST

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    is_stopped = threading.Event()

    def stop() -> None:
        if not is_stopped.is_set():
            is_stopped.set()
            server.shutdown()
            server.server_close()
            thread.join()

    receiver.stop = stop
    try:
        yield receiver
    finally:
        stop()


@dataclass
class MailReceiver:
    """A mail server: the mails it was sent; `refuse` answers to the next ones instead (`554 no`)."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    refuse: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """An address that leads here."""
        return f"mailto://127.0.0.1:{self.port}?mode=insecure&from=chandler@example.com&to=people@example.com"


@contextmanager
def mail_receiver() -> Iterator[MailReceiver]:
    """Run a mail server for the block."""
    from aiosmtpd.controller import Controller

    receiver = MailReceiver(free_port())

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
            if receiver.refuse:
                return receiver.refuse.pop(0)
            receiver.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            return "250 OK"

    controller = Controller(Handler(), hostname="127.0.0.1", port=receiver.port)
    controller.start()
    try:
        yield receiver
    finally:
        controller.stop()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
