"""`python -m stack.compose check`: what is wrong with docker-compose.yaml, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stack.airflow import REPOSITORY
from stack.compose.checks import CHECKS
from stack.compose.commands import check_commands
from stack.compose.file import read_compose
from stack.errors import StackError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


@app.callback()
def _commands() -> None:
    """Let `check` be a command of its own, though it is the only one."""


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="The compose file.", show_default=False)] = REPOSITORY
    / "docker-compose.yaml",
) -> None:
    """Check it against the compose schema, and that all that it names exists; status 1 if something does not."""
    try:
        compose = read_compose(path)
        problems = [problem for one in (*CHECKS, check_commands) for problem in one(compose)]
    except (StackError, OSError) as error:
        problems = [str(error)]
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{path.name}: {len(compose.services)} services; every command, path, port and variable exists")


if __name__ == "__main__":
    app()
