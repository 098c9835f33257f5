"""The home folder: which one a command works on, and what the local stack that lives in it has noted there.

A stack (`make demo`, `make run`) keeps its stores in a home of its own and serves addresses that change from start to
start. It notes them in its home, so that a command that is told the home talks to the stack and to nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import psutil

from etl.errors import ConfigError, NoStoreError
from etl.files import write_whole
from etl.processes import process_key

HOME = Path(".chandler")
"""The home that is used where nothing names one; the homes of stacks lie in it."""
_STACK_HOMES = ("run", "demo")
_NOTE = "stack.json"


class Creates(Enum):
    """Permission to make a warehouse where there is none.

    Attributes:
        NEVER: Nowhere: for what reads or mends.
        UNLESS_LOST: Beside an archive without candles: for what loads.
        ALWAYS: Anywhere: for what builds it again from the archive.
    """

    NEVER = auto()
    UNLESS_LOST = auto()
    ALWAYS = auto()


@dataclass(frozen=True, slots=True)
class StackNote:
    """Facts about a local stack, kept in its home.

    Attributes:
        command: What starts it, such as `make demo`.
        feeds: The path of its feeds file.
        exchanges: By the name of an exchange that the stack serves: `base_url` and `bulk_url`.
        pid: Its process.
        process: Its name (`process_key`): another one may get the same pid later.
    """

    command: str
    feeds: str
    exchanges: Mapping[str, Mapping[str, str]]
    pid: int
    process: str

    @property
    def is_running(self) -> bool:
        """True while the stack that has written this runs."""
        try:
            return process_key(self.pid) == self.process
        except psutil.Error:
            return False


def write_note(home: Path, command: str, feeds: Path, exchanges: Mapping[str, Mapping[str, str]]) -> None:
    """Note in `home` what the stack of this process serves."""
    note = StackNote(command, str(feeds), exchanges, os.getpid(), process_key(os.getpid()))
    write_whole(home / _NOTE, json.dumps(asdict(note), indent=1).encode())


def read_note(home: Path) -> StackNote | None:
    """Return what a stack has noted in `home`; None if none ever ran there.

    Raises:
        ConfigError: The note cannot be read.
    """
    path = home / _NOTE
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return StackNote(**facts)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"the note of a stack cannot be read: {path} ({error}); start the stack again") from error


def has_store(home: Path) -> bool:
    """Return whether an embedded warehouse lies in `home`."""
    return (home / "postgres").is_dir()


def homes_with_stores(home: Path) -> list[Path]:
    """Return the homes with an embedded warehouse: `home` itself, and those of stacks in it."""
    return [folder for folder in (home, *(home / name for name in _STACK_HOMES)) if has_store(folder)]


def likely_home() -> Path:
    """Return the home that `CHANDLER_HOME` names, else the only one with a store below the working directory."""
    if "CHANDLER_HOME" in os.environ:
        return Path(os.environ["CHANDLER_HOME"]).expanduser().absolute()
    found = homes_with_stores(HOME.absolute())
    return found[0] if len(found) == 1 else HOME.absolute()


def feeds_path() -> Path:
    """Return where the feeds are configured.

    `CHANDLER_FEEDS` names the file; else it is the one that the stack of the home runs, or feeds.toml in the working
    directory.
    """
    if "CHANDLER_FEEDS" not in os.environ:
        note = read_note(likely_home())
        if note is not None and Path(note.feeds).is_file():
            return Path(note.feeds)
    return Path(os.environ.get("CHANDLER_FEEDS", "feeds.toml")).absolute()


def check_stack(home: Path, exchange: str, base_url: str | None) -> None:
    """Check that the stack of `home` runs, if it is what serves an exchange.

    Args:
        base_url: Where the exchange is asked; None for its own address.

    Raises:
        ConfigError: It does not run.
    """
    note = read_note(home)
    if note is None or base_url is None or note.is_running:
        return
    if note.exchanges.get(exchange, {}).get("base_url", "").rstrip("/") == base_url.rstrip("/"):
        raise ConfigError(f"the stack that serves {exchange} does not run: {home}; start it with `{note.command}`")


def check_store(home: Path, *, is_chosen: bool, creates: bool) -> None:
    """Check that the embedded warehouse in `home` is the one that is meant.

    Args:
        is_chosen: Whether a setting names `home`; else it is the default.
        creates: Whether a warehouse may be made there.

    Raises:
        ConfigError: Several could be meant.
        NoStoreError: There is none, and none may be made.
    """
    if not is_chosen and len(found := homes_with_stores(home)) > 1:
        names = ", ".join(os.path.relpath(folder) for folder in found)
        raise ConfigError(
            f"several stores could be meant: {names}; say which, such as "
            f"export CHANDLER_HOME={os.path.relpath(found[-1])}"
        )
    if not creates and not has_store(home):
        missing = f"there is no store in {home}"
        raise NoStoreError(
            f"nothing is loaded yet: {missing}; load something (chandler ingest --help, chandler import --help), "
            "or name the home of another store by CHANDLER_HOME",
            missing=missing,
        )
