"""ccxt's client of one exchange, as we use it: spot alone, without keys, and each answer remembered as it arrived."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import ccxt
import ccxt.async_support
import orjson

from etl.errors import ConfigError, MalformedPayloadError
from etl.extract.http import make_session
from etl.spelling import nearest

_TIMEOUT_MS = 15_000
_NOTHING = frozenset({"", "{}", "null"})


@dataclass(slots=True)
class Answer:
    """The part of an answer that has arrived.

    Attributes:
        unread: The body that was no JSON, or said nothing; where several requests are made for one, of any of them.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    unread: str | None = None


# The answer of the request under way in this task, or in one that ccxt has begun for it: ccxt itself keeps only the
# exchange's last one, which may belong to another task.
ANSWER: ContextVar[Answer] = ContextVar("answer")


def make_client(ccxt_id: str) -> Any:
    """Return a client that keeps each answer in ANSWER, which is to be set before it is asked.

    Raises:
        ConfigError: ccxt knows no such exchange.
    """
    kind = getattr(ccxt.async_support, ccxt_id, None)
    if ccxt_id not in ccxt.exchanges or kind is None:
        raise ConfigError(f"ccxt knows no exchange {ccxt_id!r}{nearest(ccxt_id, ccxt.exchanges)}")

    def remember(self: Any, code: int, reason: str, url: str, method: str, headers: Any, body: str, *sent: Any) -> str:
        """Remember each answer for the task that asked."""
        answer = ANSWER.get()
        answer.status, answer.body = code, body
        answer.headers = {key.lower(): value for key, value in headers.items()}
        return body

    def read_json(self: Any, body: str) -> Any:
        """Read an answer, and remember one that cannot be read."""
        value = kind.parse_json(self, body)
        if not value and not isinstance(value, list):
            ANSWER.get().unread = body
        return value

    def open_bounded(self: Any, lazy: bool = False) -> None:
        """Open the client with a session of ours, unless it is closed already."""
        if self.session is None and not (lazy and self.closed_by_user):
            self.session = make_session()
        kind.open(self, lazy)

    methods = {
        "open": open_bounded,
        "on_rest_response": remember,
        "parse_json": read_json,
        "on_json_response": staticmethod(_loads),
    }
    own = type(ccxt_id, (kind,), methods)
    # aiohttp waits by itself for its connections to close; ccxt would sleep a quarter of a second on top.
    client = own({"enableRateLimit": False, "timeout": _TIMEOUT_MS, "timeout_on_exit": 0})
    # Spot alone, and no call that needs a key.
    client.options["fetchMarkets"] = {"types": ["spot"]}
    client.has["fetchCurrencies"] = False
    client.enableLastHttpResponse = client.enableLastJsonResponse = client.enableLastResponseHeaders = False
    return client


def check_read(place: Mapping[str, Any]) -> None:
    """Refuse an answer of which ccxt makes an empty list, of candles or symbols, as if the exchange had said so.

    Raises:
        MalformedPayloadError: It is no JSON, or says nothing.
    """
    body = ANSWER.get().unread
    if body is None:
        return
    what = "says nothing" if body.strip() in _NOTHING else "is no JSON"
    advice = "run it again, and look at the exchange's status page if it stays so"
    raise MalformedPayloadError(f"the answer {what}: {body[:80]!r}; {advice}", **place)


def moved(urls: Any, base_url: str) -> Any:
    """Return ccxt's addresses with `base_url` for their scheme and host."""
    if isinstance(urls, dict):
        return {key: moved(value, base_url) for key, value in urls.items()}
    return base_url + urlsplit(urls).path if isinstance(urls, str) else urls


def _loads(body: str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)  # a bare NaN is no JSON, but one such row must not cost us the page
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
