from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from stack.errors import StackBusyError
from stack.home import HOST, Home, choose_port


def test_a_second_stack_is_refused(tmp_path: Path) -> None:
    """Two stacks on one home would corrupt each other; the second is told where the first is."""
    home = Home(tmp_path / "home")
    told = r"running in .*home already \(process \d+\).*CHANDLER_HOME"
    with home.locked(), pytest.raises(StackBusyError, match=told), Home(tmp_path / "home").locked():
        pass
    with home.locked():
        pass


def test_secrets_are_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    """Tokens and passwords survive a restart, and nobody else on the machine can read them."""
    home = Home(tmp_path)
    secret, passwords = home.secret("jwt"), home.passwords(["admin", "viewer"])
    assert (home.secret("jwt"), home.passwords(["admin", "viewer"])) == (secret, passwords)
    assert len({secret, home.secret("fernet"), *passwords.values()}) == 4
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_taken_port_is_evaded() -> None:
    """If something listens where we would, we listen elsewhere."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert choose_port(port) not in {0, port}
    assert choose_port(port) == port
