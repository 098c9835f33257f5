"""Every option of every command, given twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from typer.core import TyperGroup, TyperOption
from typer.main import get_command

from etl.cli import whole_app
from tests.commands import Run, runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `chandler`."""
    return runner(monkeypatch, capsys)


def options() -> Iterator[tuple[tuple[str, ...], Any, TyperOption]]:
    """Yield every option that there is, with the names that lead to its command, and the command."""
    commands: list[tuple[tuple[str, ...], Any]] = [((), get_command(whole_app()))]
    for names, command in commands:
        for parameter in command.params:
            if isinstance(parameter, TyperOption) and not parameter.is_eager:
                yield names, command, parameter
        if isinstance(command, TyperGroup):
            commands += [((*names, name), one) for name, one in command.commands.items()]


def twice(option: TyperOption) -> list[str]:
    """Return the arguments that give an option twice, by both of its names where it has two."""
    names = [*option.opts, *option.secondary_opts]
    return [part for name in (names[0], names[-1]) for part in ([name] if option.is_flag else [name, "1"])]


def test_no_option_is_dropped_in_silence() -> None:
    """Given twice it is a list that has both values, or it is named and refused, before anything is done."""
    lists, single = 0, 0
    for names, command, option in options():
        where = " ".join([*names, option.opts[0]])
        if option.multiple:
            context = command.make_context(where, twice(option), resilient_parsing=True)
            assert len(context.params[option.name]) == 2, where
            lists += 1
        else:
            with pytest.raises(Exception, match=f"{option.opts[0]} is given 2 times; give it once"):
                command.make_context(where, twice(option))
            single += 1
    assert lists >= 2
    assert single >= 60


def test_a_second_value_is_a_wrong_call(run: Run) -> None:
    """The terminal says which option, and the exit status is that of a command that is called wrongly."""
    ended = run("ingest", "--feed", "a", "--feed", "b")
    assert ended.status == 2
    assert "--feed is given 2 times; give it once" in ended.err
