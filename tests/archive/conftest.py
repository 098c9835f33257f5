"""Archives on every kind of root: a folder, and a bucket of an S3 that the tests run themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pyarrow import fs
from werkzeug.serving import make_server

from etl.archive import Archive


@dataclass
class Bucket:
    """An S3 with one bucket, which refuses to be written to when it is told to.

    Attributes:
        address: Host and port.
    """

    address: str = ""
    is_full: bool = False
    folders: int = 0
    app: Callable[..., Any] = field(default=lambda *_: [])

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Answer a request as WSGI has it."""
        if self.is_full and environ["REQUEST_METHOD"] in {"PUT", "POST"}:
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>QuotaExceeded</Code><Message>the bucket is full</Message></Error>"]
        return self.app(environ, start_response)

    def url(self) -> str:
        """Return the address of a fresh folder in it."""
        self.folders += 1
        return f"s3://candles/folder{self.folders}?scheme=http&endpoint_override={self.address}&region=us-east-1"


@pytest.fixture(scope="session")
def _s3() -> Iterator[Bucket]:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    bucket = Bucket(app=DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, bucket, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    bucket.address = f"127.0.0.1:{server.server_port}"
    yield bucket
    server.shutdown()
    thread.join()


@pytest.fixture
def bucket(_s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """The S3 of the tests, with rights to it in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = fs.S3FileSystem(
        endpoint_override=_s3.address, scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    client.create_dir("candles")
    yield _s3
    _s3.is_full = False


@pytest.fixture(params=["folder", "s3"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """An empty archive, in a folder and in a bucket; its second root is `tmp_path`/second."""
    url = request.getfixturevalue("bucket").url() if request.param == "s3" else str(tmp_path / "first")
    return Archive(url, tmp_path / "second")
