"""Docstrings begin with a thing or an action, and not with a question word."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import REPOSITORY

FOLDERS = ("bench", "dags", "deploy", "etl", "models", "plugins", "stack", "tests")
QUESTION = re.compile(r"(What|Who|Whom|Whose|Whether|How|Where|When|Why|Which)\b")


def questions(path: Path) -> Iterator[str]:
    """Yield each docstring of a file that begins with a question word, with its place."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            if QUESTION.match(text):
                yield f"{path.relative_to(REPOSITORY)}:{node.body[0].lineno}: {text.splitlines()[0]}"


def test_no_docstring_begins_with_a_question_word() -> None:
    """The first line is a noun phrase for a thing, and an imperative for a function."""
    paths = [
        path
        for folder in FOLDERS
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        if "node_modules" not in path.parts
    ]
    assert len(paths) > 100
    assert [line for path in paths for line in questions(path)] == []
