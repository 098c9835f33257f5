"""What the tests of the replay exchange share: a plain HTTP client that hides nothing."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import orjson
import pytest

from etl.replay import ReplayServer


class Answer(NamedTuple):
    """What came over the wire."""

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
    """Return a function that asks a server for `name`: `ask(server, "klines", symbol="BTCUSDT")`."""

    def get(server: ReplayServer, name: str, **params: object) -> Answer:
        connection = HTTPConnection(urlsplit(server.url).netloc, timeout=5)
        try:
            connection.request("GET", f"/api/v3/{name}?{urlencode(params)}")
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    return get
