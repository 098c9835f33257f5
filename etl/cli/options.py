"""Options that are given twice: a list if the option is one, and otherwise refused, in every command there is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup, TyperOption

if TYPE_CHECKING:
    import typer


class _RefusesRepeats:
    """Commands that take no second value for an option in silence, where Typer keeps the last one alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, or end as a command does that is called wrongly."""
        command: Any = self
        _, _, order = command.make_parser(ctx).parse_args(args=list(args))
        given = Counter(one for one in order if isinstance(one, TyperOption) and not one.multiple and not one.is_eager)
        for option, times in given.items():
            if times > 1 and not ctx.resilient_parsing:
                ctx.fail(f"{option.opts[0]} is given {times} times; give it once")
        parsed: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]  # of the command that this is mixed into
        return parsed


class _Command(_RefusesRepeats, TyperCommand):
    """A command of its own."""


class _Group(_RefusesRepeats, TyperGroup):
    """A command that has others below it."""


def refuse_repeats(app: typer.Typer) -> None:
    """Let every command of `app`, and of the apps below it, refuse an option that is given twice and is no list."""
    app.info.cls = _Group
    for command in app.registered_commands:
        command.cls = _Command
    for group in app.registered_groups:
        group.cls = _Group
        if group.typer_instance is not None:
            refuse_repeats(group.typer_instance)
