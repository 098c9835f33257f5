"""The folder that a stack lives in: who uses it, its secrets, its logs, its free ports."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackBusyError, StackError

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Home:
    """Everything that a stack writes lies below one folder.

    Attributes:
        root: The folder; CHANDLER_HOME for all parts of the stack.
    """

    root: Path

    @property
    def logs(self) -> Path:
        """The folder of the logs of each part of the stack."""
        return self.root / "logs"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.root / "airflow"

    @property
    def passwords_file(self) -> Path:
        """The names and passwords of Airflow's users, as its SimpleAuthManager reads them."""
        return self.root / "passwords.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other stacks out. The kernel lets go when we die, however we die.

        Raises:
            StackBusyError: Another stack is in it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "stack.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise StackBusyError(
                    f"a stack is running in {self.root} already (process {lock.read().strip() or 'unknown'}); "
                    "stop it with Ctrl-C where it runs, or set CHANDLER_HOME to another folder"
                ) from error
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def secret(self, name: str) -> str:
        """Return a secret of 32 random bytes, made at first and the same from then on; URL-safe base64."""
        return self.kept(f"{name}.secret", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())

    def passwords(self, users: Iterable[str]) -> dict[str, str]:
        """Return a password for each of `users`, made at first and the same from then on."""
        made = json.dumps({user: secrets.token_urlsafe(12) for user in users})
        passwords: dict[str, str] = json.loads(self.kept(self.passwords_file.name, made))
        return passwords

    def kept(self, name: str, made: str) -> str:
        """Return the file's content; write `made` first if it is not there, for the owner's eyes only."""
        path = self.root / name
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text(encoding="utf-8")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(made)
        return made


def choose_port(preferred: int) -> int:
    """Return `preferred`, or a free port of the kernel's choice if that is taken.

    Raises:
        StackError: There is none at all.
    """
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StackError(f"no port is free on {HOST}")
