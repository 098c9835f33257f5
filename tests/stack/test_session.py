"""Output of `make demo` and `make run` on the terminal, as far as it can be told without them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stack.__main__ import app
from stack.home import Home
from stack.session import terminal_line
from tests.conftest import REPOSITORY


def test_a_terminal_is_told_which_stores_and_feeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feeds are named where they are others than those of the folder; a shell reads both as they are."""
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "a home")
    monkeypatch.setenv("CHANDLER_FEEDS", str(tmp_path / "feeds.toml"))
    assert terminal_line(home) == f"export CHANDLER_HOME='{tmp_path}/a home'"
    monkeypatch.setenv("CHANDLER_FEEDS", str(tmp_path / "feeds.demo.toml"))
    assert terminal_line(home).endswith(f" CHANDLER_FEEDS={tmp_path}/feeds.demo.toml")


@pytest.mark.parametrize(("command", "other"), [("demo", "run"), ("run", "demo")])
def test_made_up_and_real_candles_share_no_home(command: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that a terminal was told for the one command does not lead the other into its stores."""
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("CHANDLER_HOME", f".chandler/{other}")
    done = CliRunner().invoke(app, [command])
    assert done.exit_code == 2
    assert f"that is what `make {other}` keeps; unset it" in re.sub(r"[\s│]+", " ", done.output)
