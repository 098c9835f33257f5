"""The `chandler` command for shells of tests, from one process that has imported all of it: a fork for each call.

Importing takes a second and a half each time, and guides call it dozens of times. What is run is `etl.cli.main`, with
the caller's arguments, folder, environment and streams, in a process of its own. `replay`, which is to be killed by its
caller, is the real command.
"""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.patience import PATIENCE_S

# Passes its arguments, folder, environment and streams on, and ends as the command does. Without `site`, to be quick.
_CLIENT = """
import array, json, os, socket, sys
there = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
there.connect(sys.argv[1])
streams = socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2])
there.sendmsg([b"?"], [streams])
there.sendall(json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode())
there.shutdown(socket.SHUT_WR)
sys.exit(int(there.recv(16) or b"70"))
"""


@contextmanager
def command_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to put first on PATH, in which `chandler` is; it works as long as the block lasts."""
    real, address = Path(sys.executable).with_name("chandler"), folder / "socket"
    (folder / "client.py").write_text(_CLIENT, encoding="utf-8")
    command = folder / "chandler"
    command.write_text(
        f'#!/bin/sh\n[ "$1" = replay ] && exec {real} "$@"\n'
        f'exec {sys.executable} -I -S {folder}/client.py {address} "$@"\n',
        encoding="utf-8",
    )
    command.chmod(0o755)
    server = subprocess.Popen([sys.executable, "-m", "tests.guides.commands_server", str(address)])
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not address.exists() and server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        yield folder
    finally:
        server.terminate()
        server.wait()


def serve(address: str) -> None:
    """Answer calls until this process is ended."""
    # What commands import when they are run.
    import ccxt.async_support  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    import etl.cli
    import etl.pipeline
    import etl.show
    import etl.venues  # noqa: F401

    etl.cli.whole_app()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        # Under another name until somebody listens.
        listening.bind(f"{address}.new")
        listening.listen()
        Path(f"{address}.new").rename(address)
        while True:
            caller, _ = listening.accept()
            with caller:
                # Twice, so that nobody has to wait for the one that does the work.
                if os.fork() == 0:
                    if os.fork() == 0:
                        _answer(caller)
                    os._exit(0)
                os.wait()


def _answer(caller: socket.socket) -> None:
    """Run the command for who has called, say how it ended, and end this process."""
    streams = array.array("i")
    _, passed, _, _ = caller.recvmsg(1, socket.CMSG_SPACE(3 * streams.itemsize))
    streams.frombytes(passed[0][2])
    with caller.makefile("rb") as asked:
        arguments, folder, environment = json.loads(asked.read())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["chandler", *arguments]
    status = 1
    try:
        from etl.cli import main

        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # what a process that ends by it would print
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with suppress(OSError):
        caller.sendall(str(status).encode())
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
