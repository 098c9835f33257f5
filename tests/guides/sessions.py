"""Runs the blocks of a guide as its reader would: one shell, in one folder, from the first to the last.

What a block prints (to stdout) is held against what the guide shows, with every number as `#`, white space and the line
breaks of a narrower terminal as one space, and a line of `...` as whatever stands there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.guides.blocks import Block
from tests.patience import PATIENCE_S

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")

# What a reader would be warned of is an error.
_STRICT = "-W error::DeprecationWarning:__main__ -W error::FutureWarning:__main__"

# Runs blocks of Python as one notebook: what one leaves, the next one has.
_NOTEBOOK = """
import contextlib, io, json, pathlib, sys
names = {"__name__": "__main__"}
for block in json.loads(pathlib.Path(sys.argv[1]).read_text()):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            exec(compile(block["body"], block["name"], "exec"), names)
        finally:
            pathlib.Path(block["out"]).write_text(printed.getvalue())
"""


def run_guide(blocks: Sequence[Block], folder: Path, commands: Path, swaps: Mapping[str, str]) -> None:
    """Run blocks of `sh` and `python` in order; those of `python` together, where the last of them stands.

    Args:
        folder: Where the reader stands.
        commands: Where `chandler` is; the other commands are those of our own environment.
        swaps: Texts that are another here, such as the address of the exchange.

    Raises:
        AssertionError: A block ended with an error, or printed something else than is shown.
    """
    notes = folder / "notes"
    notes.mkdir()
    script = ["set -eE -o pipefail"]
    python = [block for block in blocks if block.language == "python"]
    for number, block in enumerate(blocks):
        out = notes / f"{number}.out"
        if block.language == "sh":
            body = _swapped(block.body, swaps)
            script.append(f"echo {block} > {notes}/last\n{{\n{body}\n}} > {out} 2> {notes}/err")
        elif block is python[-1]:
            cells = [
                {"name": str(cell), "body": _swapped(cell.body, swaps), "out": str(notes / f"{blocks.index(cell)}.out")}
                for cell in python
            ]
            (notes / "cells.json").write_text(json.dumps(cells), encoding="utf-8")
            (notes / "notebook.py").write_text(_NOTEBOOK, encoding="utf-8")
            script.append(
                f"echo {block} > {notes}/last\npython {_STRICT} {notes}/notebook.py {notes}/cells.json 2> {notes}/err"
            )
    # What was left running goes with the shell, and nobody waits for it.
    script.append("kill $(jobs -p) 2> /dev/null || true")
    path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "160"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode:
        said = "\n".join(path.read_text(encoding="utf-8")[-2000:] for path in sorted(notes.glob("*[!nyk]")))
        raise AssertionError(f"status {done.returncode} at {said}\n{done.stderr}")
    for number, block in enumerate(blocks):
        if block.shows is not None:
            printed = (notes / f"{number}.out").read_text(encoding="utf-8")
            assert is_as_shown(printed, _swapped(block.shows, swaps)), f"{block} prints\n{printed}"


def is_as_shown(printed: str, shown: str) -> bool:
    """Return whether a block has printed what the guide shows; see the module."""
    parts = re.split(r"^\s*\.\.\.\s*$", shown, flags=re.MULTILINE)
    pattern = r".*?".join(re.escape(masked(part)) for part in parts)
    return re.fullmatch(pattern, masked(printed), flags=re.DOTALL) is not None


def masked(text: str) -> str:
    """Return a text without its numbers and its white space."""
    return "".join(_NUMBER.sub("#", text).split())


def _swapped(text: str, swaps: Mapping[str, str]) -> str:
    for old, new in swaps.items():
        text = text.replace(old, new)
    return text
