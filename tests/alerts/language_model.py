"""A server on this machine that speaks the OpenAI chat protocol, as well or as badly as a test wants."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SAID = {"kind": "crash", "confidence": 0.9, "explanation": "Every venue fell together.", "action": "keep"}


def completion(content: object = None, finish_reason: str = "stop", **message: object) -> dict[str, Any]:
    """Return the body of an answer whose message is `content`: SAID without it, JSON of what is no text."""
    content = SAID if content is None else content
    text = content if isinstance(content, str) else json.dumps(content)
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
    return {"object": "chat.completion", "choices": [choice], "usage": {"total_tokens": 1234}}


@dataclass
class Reply:
    """Reply of the server.

    Attributes:
        body: JSON is made of what is not bytes.
        pause_s: Before each piece of `piece` bytes, the first included.
    """

    body: Any = field(default_factory=completion)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pause_s: float = 0.0
    piece: int = 1 << 20


@dataclass
class LanguageModel:
    """A running server.

    Attributes:
        reply: What it answers from now on.
        asked: The bodies of requests, as they came.
        keys: Their headers Authorization.
        paths: Where they went.
    """

    url: str
    reply: Reply = field(default_factory=Reply)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@contextmanager
def language_model() -> Iterator[LanguageModel]:
    """Run one on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            running.asked.append(json.loads(body))
            running.keys.append(self.headers["Authorization"])
            running.paths.append(self.path)
            self._answer(running.reply)

        def _answer(self, reply: Reply) -> None:
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for start in range(0, len(body), reply.piece):
                    time.sleep(reply.pause_s)
                    self.wfile.write(body[start : start + reply.piece])
            except OSError:
                self.close_connection = True  # whoever asked has gone

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = LanguageModel(f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
