"""Airflow's REST API, as far as the stack needs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from stack.errors import ApiError

_TIMEOUT_S = 30.0
_TRIES = 3
_PAGE = 100

Json = dict[str, Any]


def _is_silence(error: BaseException) -> bool:
    return isinstance(error, ApiError) and error.status == 0


_insistently = Retrying(
    retry=retry_if_exception(_is_silence), stop=stop_after_attempt(_TRIES), wait=wait_fixed(1), reraise=True
)


class AirflowApi:
    """One Airflow, as one of its users.

    Args:
        url: Its address, without a path.
        check_ours: Raises a StackError where another program listens there; asked before the password is sent.
    """

    def __init__(self, url: str, user: str, password: str, check_ours: Callable[[], object] | None = None) -> None:
        self.url = url
        self._check_ours = check_ours
        self._credentials = {"username": user, "password": password}
        self._token: str | None = None
        # Whatever proxy the machine has, this address is on it.
        self._opener = build_opener(ProxyHandler({}))

    def health(self) -> dict[str, str]:
        """Return how each part is: `healthy`, `unhealthy` or `unknown`; nothing if none answers."""
        try:
            report = self._send("GET", "/api/v2/monitor/health", None, {})
        except ApiError:
            return {}
        return {part: (facts or {}).get("status") or "unknown" for part, facts in report.items()}

    def get(self, path: str, **query: object) -> Json:
        """Ask below `/api/v2`; once more if nobody answers, since a busy machine may take its time.

        Raises:
            ApiError: It was refused, or nobody answered.
        """
        asked = f"{path}?{urlencode(query, doseq=True)}" if query else path
        return _insistently(self._call, "GET", asked)

    def post(self, path: str, body: Mapping[str, object]) -> Json:
        """Post JSON below `/api/v2`; see `get`."""
        return self._call("POST", path, body)

    def patch(self, path: str, body: Mapping[str, object]) -> Json:
        """Patch with JSON below `/api/v2`; see `get`."""
        return self._call("PATCH", path, body)

    def collect(self, path: str, key: str, **query: object) -> list[Json]:
        """Return what all pages of a listing hold under `key`; see `get`."""
        found: list[Json] = []
        while True:
            page = self.get(path, limit=_PAGE, offset=len(found), **query)
            found += page[key]
            if not page[key] or len(found) >= page["total_entries"]:
                return found

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Json:
        had_token = self._token is not None
        try:
            return self._send(method, f"/api/v2{path}", body, self._authorisation())
        except ApiError as error:
            if error.status != 401 or not had_token:
                raise
        # The token has run out: a stack may be up for weeks.
        self._token = None
        return self._send(method, f"/api/v2{path}", body, self._authorisation())

    def _authorisation(self) -> dict[str, str]:
        if self._token is None:
            if self._check_ours is not None:
                self._check_ours()
            self._token = self._send("POST", "/auth/token", self._credentials, {})["access_token"]
        return {"Authorization": f"Bearer {self._token}"}

    def _send(self, method: str, path: str, body: Mapping[str, object] | None, headers: Mapping[str, str]) -> Json:
        data = None if body is None else json.dumps(body).encode()
        # The address is our own, so it is no file: URL.
        request = Request(  # noqa: S310
            self.url + path,
            data,
            {"Content-Type": "application/json", "Accept": "application/json", **headers},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                answer: Json = json.loads(response.read() or b"{}")
                return answer
        except HTTPError as error:
            detail = error.read().decode(errors="replace")[:300]
            raise ApiError(f"Airflow answers {error.code} to {method} {path}: {detail}", error.code) from error
        except (OSError, HTTPException, ValueError) as error:
            raise ApiError(f"Airflow does not answer {method} {path}: {error}") from error
