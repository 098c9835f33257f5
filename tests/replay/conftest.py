"""Fixtures of the tests of the replay exchange: a plain HTTP client that hides nothing."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import orjson
import pytest

from etl.replay import ReplayServer
from tests.patience import PATIENCE_S


class Answer(NamedTuple):
    """Answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read strictly."""
        return orjson.loads(self.body)


Ask = Callable[..., Answer]


@pytest.fixture
def ask() -> Ask:
    """Return a function that asks a server: `ask(server, "klines", symbol="BTCUSDT")`, or with another path in full."""

    def get(server: ReplayServer, name: str, **params: object) -> Answer:
        connection = HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE_S)
        try:
            path = name if name.startswith("/") else f"/api/v3/{name}"
            connection.request("GET", f"{path}?{urlencode(params)}")
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    return get
