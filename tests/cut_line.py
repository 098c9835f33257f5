"""A line to PostgreSQL that can be cut just when a commit goes over it."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from tests.patience import PATIENCE_S

_PORT = 5432


class Cut(Enum):
    """Moments at which the line breaks, once."""

    BEFORE = "the commit does not reach the server"
    AFTER = "the server commits, and its answer does not come back"


class Line:
    """Forwards what goes to and from a server; what it carries is between the two.

    Args:
        server: The server's address, a folder of its socket or a host and a port.
    """

    def __init__(self, server: str | tuple[str, int]) -> None:
        self.cut: Cut | None = None
        self._server = server

    def serve(self, listener: socket.socket) -> None:
        """Carry connections until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        family = socket.AF_UNIX if isinstance(self._server, str) else socket.AF_INET
        with client, socket.socket(family, socket.SOCK_STREAM) as server, suppress(OSError):
            server.connect(self._server)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            while data := client.recv(65536):
                if self.cut is not None and b"COMMIT" in data:
                    when, self.cut = self.cut, None
                    client.shutdown(socket.SHUT_RDWR)
                    if when is Cut.AFTER:
                        server.sendall(data)
                        back.join(timeout=PATIENCE_S)  # it cannot answer us any more, but it can commit
                    server.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def line_to(url: str) -> Iterator[tuple[str, Line]]:
    """Yield an address of the server at `url` by way of a line, and the line."""
    facts = conninfo_to_dict(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    host, port = str(facts.get("host") or "127.0.0.1"), int(facts.get("port") or _PORT)
    line = Line(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port))
    with tempfile.TemporaryDirectory(prefix="line-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(Path(folder) / f".s.PGSQL.{_PORT}"))
        listener.listen()
        threading.Thread(target=line.serve, args=(listener,), daemon=True).start()
        query = {name: value for name, value in make_url(url).query.items() if name != "host"}
        through = make_url(url).set(host=None, port=None, query={**query, "host": folder, "port": str(_PORT)})
        yield through.render_as_string(hide_password=False), line
        listener.shutdown(socket.SHUT_RDWR)
