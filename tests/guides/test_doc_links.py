"""Links and pictures of all pages lead somewhere, and commands that pages name exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from etl.cli import whole_app
from tests.conftest import REPOSITORY
from tests.guides.blocks import words

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
_LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|`|\()(?:\w+=\S+ )*(chandler (?!\w+\.)[^`\n]*)", flags=re.MULTILINE)


def links() -> Iterator[tuple[Path, str]]:
    """Yield the relative links of all pages, each with its page."""
    for page in PAGES:
        for target in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
            if not re.match(r"https?:|mailto:", target):
                yield page, target


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _CODE.sub("", page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    bare = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in bare}


def test_links_and_pictures_lead_somewhere() -> None:
    """Each relative link names a file that is there, and a heading that it has."""
    dead = []
    for page, target in links():
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists():
            dead.append(f"{page.relative_to(REPOSITORY)}: {target} is not there")
        elif anchor and path.suffix == ".md" and anchor not in anchors(path):
            dead.append(f"{page.relative_to(REPOSITORY)}: {target} has no such heading")
    assert dead == []


@pytest.fixture(scope="module")
def root() -> Any:
    """The command with all its sub-commands."""
    return typer.main.get_command(whole_app())


def test_commands_that_pages_name_are_there(root: Any) -> None:
    """Every `chandler ...` of a page is a command, with options that it has."""
    strange = []
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue  # what it tells of may be gone
        for line in _COMMAND.findall(page.read_text(encoding="utf-8")):
            if problem := what_is_wrong(root, line):
                strange.append(f"{page.relative_to(REPOSITORY)}: {line.strip()}: {problem}")
    assert strange == []


def what_is_wrong(root: Any, line: str) -> str | None:
    """Return what is wrong with a command; None if it, and its options, are there."""
    try:
        given = iter([word for word in words(line)[1:] if word not in {"...", "[...]"}])
    except ValueError:
        return None  # prose that begins like a command
    command = root
    for word in given:
        options = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts)}
        commands = getattr(command, "commands", {})
        if word in {"|", ">", "&&", "&", ";"}:
            break
        if word.startswith("-"):
            name = word.partition("=")[0].strip("[],")
            if name not in options and name != "--help":
                return f"no option {name}"
            if name in options and not getattr(options[name], "is_flag", False) and "=" not in word:
                next(given, None)
        elif word in commands:
            command = commands[word]
        elif commands and re.fullmatch(r"[a-z]+", word):
            return f"no command {word}"
    return None
