"""Arguments of the programs that a compose file starts, checked without starting any of them.

Airflow's and our own commands are asked by their parsers, so a misspelt option is found as well as a sub-command that
does not exist. What others' images start is theirs.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path

from stack.airflow import REPOSITORY
from stack.compose.file import Compose, Service

_INSIDE = "/app/"
# NAME=$(command) before what a shell runs.
_ASSIGNMENTS = re.compile(r"^(?:\w+=(?:\$\([^)]*\)|\S*)\s+)*")
# Programs of others' images that we start by name.
_OTHERS = {"redis-server", "redis-cli", "pg_isready", "wget", "sh"}


def check_commands(compose: Compose) -> Iterator[str]:
    """Each command, and each health check, would start."""
    for service in compose.services.values():
        for words in (service.command, _without_shell(service.health)):
            for problem in _problems(service, words):
                yield f"{service.name}: {' '.join(words)}: {problem}"


def _problems(service: Service, words: Sequence[str]) -> Iterator[str]:
    if not words or words[0].startswith("-"):
        return
    program, arguments = words[0], list(words[1:])
    if "build" not in service.raw:
        if program not in _OTHERS:
            yield f"{program} is not known to be in {service.image}"
    elif program == "python":
        yield from _python(service, arguments)
    elif program == "airflow":
        yield from _airflow(arguments)
    elif program == "chandler":
        yield from _chandler(arguments)
    elif not Path(sys.executable).with_name(program).exists():
        yield f"{program} is not in the image"


def _python(service: Service, arguments: Sequence[str]) -> Iterator[str]:
    if arguments[0] == "-m":
        if find_spec(arguments[1]) is None:
            yield f"there is no module {arguments[1]}"
        elif arguments[1] == "stack.part":
            yield from _airflow(arguments[2:])
        return
    script = REPOSITORY / arguments[0].removeprefix(_INSIDE)
    if not arguments[0].startswith(_INSIDE) or not script.is_file():
        yield f"{arguments[0]} is not in the image"
    elif script.name == "enter.py":
        yield from _problems(service, arguments[1:])


def _airflow(arguments: Sequence[str]) -> Iterator[str]:
    from airflow.cli.cli_parser import get_parser

    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            get_parser().parse_args(list(arguments))
    except SystemExit as ended:
        if ended.code:
            yield complaint.getvalue().strip().splitlines()[-1] if complaint.getvalue() else "airflow refuses it"


def _chandler(arguments: Sequence[str]) -> Iterator[str]:
    from typer._click.exceptions import ClickException
    from typer.core import TyperGroup
    from typer.main import get_command

    from etl.cli import app

    if arguments == ["--help"]:
        return
    command = get_command(app)
    assert isinstance(command, TyperGroup)  # noqa: S101  # so it is, of an app that has commands
    try:
        context = command.make_context("chandler", list(arguments), resilient_parsing=False)
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        if found is not None:
            found.make_context(name, rest)
    except ClickException as error:
        yield error.format_message()


def _without_shell(words: Sequence[str]) -> tuple[str, ...]:
    """Return the first command of what a shell is given; the rest of its line is the shell's."""
    if words[:2] != ("sh", "-c"):
        return tuple(words)
    return tuple(shlex.split(_ASSIGNMENTS.sub("", words[2]).split("|", maxsplit=1)[0]))
