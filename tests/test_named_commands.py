"""Commands and options that messages, helps and docstrings name are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from etl.cli import whole_app
from tests.conftest import REPOSITORY

SOURCES = sorted(path for top in ("etl", "models", "plugins", "dags") for path in (REPOSITORY / top).rglob("*.py"))
_COMMAND = re.compile(r"(?<![\w./-])chandler (?=[a-z])([^;()`'\"\n\[\]]+)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_BARE = re.compile(r"\b(?:see|by|try another|name a|with|and|or) (--[a-z][a-z-]*)")
_CSS = {"models/page.py", "models/plots.py", "plugins/chandler_airflow/pages.py"}
_PROSE = {"lists", "shows", "says"}  # what a group of commands does, in a sentence


def texts(path: Path) -> Iterator[str]:
    """Yield the strings of a module, a value in an f-string as `X`."""
    inside: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            inside.update(id(part) for part in ast.walk(node) if part is not node)
            if id(node) not in inside:
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


@pytest.fixture(scope="module")
def root() -> Any:
    """The command with all its sub-commands."""
    return get_command(whole_app())


def named_options(command: Any) -> set[str]:
    """Return the options of a command itself."""
    return {"--help", *(name for one in command.params for name in (*one.opts, *one.secondary_opts))}


def all_options(command: Any) -> set[str]:
    """Return the options of a command and of those below it."""
    return named_options(command).union(*(all_options(one) for one in getattr(command, "commands", {}).values()))


def what_is_wrong(root: Any, said: str) -> str | None:
    """Return what is wrong with what follows `chandler`; None if the command and its options are there."""
    command = root
    for word in re.split(r"[\s,]+", said.strip().rstrip(".:")):
        below = getattr(command, "commands", {})
        if word in below:
            command = below[word]
        elif word.startswith("--"):
            if word.partition("=")[0] not in named_options(command):
                return f"no option {word}"
        elif below and command is not root and re.fullmatch(r"[a-z]+", word) and word not in _PROSE:
            return f"no command {word}"
        else:
            break
    options = set(_OPTION.findall(said)) - named_options(command)
    return f"no option {sorted(options)[0]}" if options else None


def test_commands_that_messages_name_are_there(root: Any) -> None:
    """Whoever types what a message, a help or a docstring names gets no answer that it does not exist."""
    strange, found = [], 0
    for path in SOURCES:
        for text in texts(path):
            for said in _COMMAND.findall(text):
                if said.split()[0] in root.commands:
                    found += 1
                    if problem := what_is_wrong(root, said):
                        strange.append(f"{path.relative_to(REPOSITORY)}: chandler {said.strip()}: {problem}")
    assert strange == []
    assert found > 80


def test_options_that_messages_name_are_there(root: Any) -> None:
    """Each is of some command; one that a list of a group names says which, as the group alone lists too."""
    strange, known = [], all_options(root)
    for path in SOURCES:
        name = str(path.relative_to(REPOSITORY))
        is_group = "invoke_without_command=True" in path.read_text(encoding="utf-8")
        for text in [] if name in _CSS else texts(path):
            strange += [f"{name}: no option {one}" for one in _BARE.findall(text) if one not in known]
            if is_group and re.search(r"\bsee --", text):
                strange.append(f"{name}: say of which command: {text.strip()}")
    assert strange == []


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("incidents --history", "no option --history"),
        ("incidents list --history", None),
        ("incidents lost", "no command lost"),
        ("alerts channels says more", None),
        ("audit X --fixed", "no option --fixed"),
        ("ingest X --start X --end X --again", None),
    ],
)
def test_what_is_not_there_is_told(root: Any, said: str, wrong: str | None) -> None:
    """A group that lists without a command has none of the options of its `list`."""
    assert what_is_wrong(root, said) == wrong
