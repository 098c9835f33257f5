"""The `chandler` command, run in this process, and what it left."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from etl.cli import main


@dataclass(frozen=True, slots=True)
class Ended:
    """Result of a command: its exit status and what it printed; `out` and `err` each in one line.

    Attributes:
        raw: What it printed to stdout, as it was.
    """

    status: int
    out: str
    err: str
    raw: str


Run = Callable[..., Ended]


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *first: str) -> Run:
    """Return a function that runs `chandler`, with `first` and then its own arguments."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["chandler", *first, *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        status = ended.value.code
        out, err = (" ".join(text.split()) for text in printed)
        return Ended(status if isinstance(status, int) else 0, out, err, printed.out)

    return run
