"""Help of the commands: paragraphs as wide as the terminal, where Typer keeps the line ends of the source."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def reflow(app: typer.Typer) -> None:
    """Let the help of every command of `app`, and of the apps below it, have a line for each paragraph."""
    for command in app.registered_commands:
        text = command.help or inspect.getdoc(command.callback) or ""
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            reflow(group.typer_instance)
