"""Requests of the stack to Airflow when Airflow has other things to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stack.api import AirflowApi
from stack.errors import ApiError, StackError


class Busy(BaseHTTPRequestHandler):
    """Hangs up on the first questions, and refuses one kind."""

    hang_ups = 0
    asked: list[str]

    def do_POST(self) -> None:
        """Give a token."""
        self._answer(201, {"access_token": "t"})

    def do_GET(self) -> None:
        """Answer, sooner or later."""
        type(self).asked.append(self.path)
        if len(type(self).asked) <= type(self).hang_ups:
            self.close_connection = True
        else:
            self._answer(404 if self.path.endswith("/none") else 200, {"dags": 3})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the library calls it
        """Say nothing."""

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def api() -> Iterator[AirflowApi]:
    """Airflow's address, as one of its users."""
    Busy.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield AirflowApi(f"http://127.0.0.1:{server.server_port}", "admin", "admin")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("hang_ups", "asked"), [(0, 1), (2, 3)])
def test_who_does_not_answer_is_asked_again(api: AirflowApi, hang_ups: int, asked: int) -> None:
    """A demo on a busy machine does not end because one answer came too late."""
    Busy.hang_ups = hang_ups
    assert api.get("/dags") == {"dags": 3}
    assert len(Busy.asked) == asked


def test_silence_and_refusal_are_told(api: AirflowApi) -> None:
    """Silence for good is an error after three tries, a refusal at once."""
    Busy.hang_ups = 9
    with pytest.raises(ApiError, match="does not answer"):
        api.get("/dags")
    assert len(Busy.asked) == 3
    Busy.hang_ups = 0
    with pytest.raises(ApiError, match="404"):
        api.get("/none")
    assert len(Busy.asked) == 4


def test_a_server_that_is_not_ours_gets_no_password(api: AirflowApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent to it at all: what listens at the address is looked at before anything is said."""
    posted: list[str] = []
    monkeypatch.setattr(Busy, "do_POST", lambda handler: posted.append(handler.path))

    def not_ours() -> None:
        raise StackError("port 8080 is taken by another program")

    Busy.hang_ups = 0
    with pytest.raises(StackError, match="taken by another program"):
        AirflowApi(api.url, "admin", "secret", not_ours).get("/dags")
    assert (posted, Busy.asked) == ([], [])
