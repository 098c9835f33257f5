"""What `make demo` and `make run` say on the terminal, as far as it can be told without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.home import Home
from stack.session import terminal_line


def test_a_terminal_is_told_which_stores_and_feeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feeds are named where they are others than those of the folder; a shell reads both as they are."""
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "a home")
    monkeypatch.setenv("CHANDLER_FEEDS", str(tmp_path / "feeds.toml"))
    assert terminal_line(home) == f"export CHANDLER_HOME='{tmp_path}/a home'"
    monkeypatch.setenv("CHANDLER_FEEDS", str(tmp_path / "feeds.demo.toml"))
    assert terminal_line(home).endswith(f" CHANDLER_FEEDS={tmp_path}/feeds.demo.toml")
