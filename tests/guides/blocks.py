"""Blocks of code in a Markdown page, and the statements of a block of shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*'?(\w+)'?")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SET_FOR_IT = re.compile(r"^(?:[A-Za-z_]\w*=[^\s'\"$(]* )+")
_KEPT = re.compile(r"(?:export )?[A-Za-z_]\w*=\$\((.*)\)", flags=re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        line: Where it begins, from 1 on.
        shows: What the page says that it prints: the block `text` right after it; None without one.
    """

    page: Path
    line: int
    language: str
    body: str
    shows: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def read_blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    found = list(_FENCE.finditer(text))
    blocks = []
    for this, following in zip(found, [*found[1:], None], strict=True):
        is_shown = (
            following is not None
            and following["language"] == "text"
            and not text[this.end() : following.start()].strip()
        )
        line = text.count("\n", 0, this.start()) + 1
        shows = following["body"] if following is not None and is_shown else None
        blocks.append(Block(page, line, this["language"], this["body"], shows))
    return blocks


def statements(body: str) -> Iterator[str]:
    """Yield the statements of a block of shell: lines, joined where a quote, a backslash or a heredoc goes on."""
    lines = iter(body.splitlines())
    for line in lines:
        whole = line
        if ends := _HEREDOC.findall(line):
            for end in ends:
                for part in lines:
                    whole += f"\n{part}"
                    if part.strip() == end:
                        break
        else:
            while whole.endswith("\\") or not _is_closed(whole):
                whole += f"\n{next(lines)}"
        if whole.strip() and not whole.lstrip().startswith("#"):
            yield whole


def words(statement: str) -> Sequence[str]:
    """Return the words of a statement, without its comment."""
    return shlex.split(statement.replace("\\\n", " "), comments=True)


def command_of(statement: str) -> str:
    """Return the command of a statement: without what is set for it alone, or by its output."""
    kept = _KEPT.fullmatch(statement.strip())
    return _SET_FOR_IT.sub("", kept[1] if kept else statement.strip())


def is_assignment(statement: str) -> bool:
    """Return whether a statement does nothing but set variables."""
    return all(_ASSIGNMENT.match(word) for word in words(statement) if word != "export")


def _is_closed(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True
