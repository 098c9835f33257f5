"""The commands of the registry: which models there are, which one judges, and which one should."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from etl.cli.terminal import (
    AsJson,
    err,
    opened_warehouse,
    out,
    read_settings,
    read_settings_to_look,
    run_name,
    tell_none,
)
from etl.errors import ConfigError
from etl.files import write_whole

if TYPE_CHECKING:
    from sqlalchemy import Connection

app = typer.Typer(
    invoke_without_command=True,
    help="Look at models and compare them; promote one, or roll back. Without a command: list.",
)

Name = Annotated[str, typer.Argument(help="Such as 1m/3, or binance:BTC/USDT:1m/3 for a series' own.", metavar="MODEL")]
Note = Annotated[str, typer.Option(help="Why; kept with the model.")]


@app.callback()
def _list_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show_list()


@app.command("list")
def show_list(
    target: Annotated[
        str | None, typer.Argument(help="A timeframe, such as 1m, or a series with models of its own.")
    ] = None,
    state: Annotated[
        Literal["candidate", "champion", "retired", "rejected"] | None,
        typer.Option(help="Only those in this state.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to list, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List models, the newest first: which one judges, how good each was found, and why it is where it is.

    A candidate waits for a person, the champion judges, a retired one has judged, a rejected one was found wanting.

    Example: [bold]chandler models list 1m --state champion[/bold]
    """
    from models import show
    from models.registry import State, list_models
    from models.targets import Target

    wanted = None if target is None else Target.parse(target)
    with _opened_to_read() as connection:
        found = list_models(connection, wanted, state=None if state is None else State(state))
    if as_json:
        out.print_json(data=[show.model_json(model) for model in found[:limit]])
    elif found:
        out.print(show.models_table(found[:limit]))
        if len(found) > limit:
            err.print(f"{len(found) - limit:,} more; see chandler models list --limit")
    else:
        is_filtered = target is not None or state is not None
        tell_none("model", is_filtered=is_filtered, hint="" if is_filtered else "Try: chandler train --help")


@app.command("show")
def show_model(model: Name, as_json: AsJson = False) -> None:
    """Show all that is known of a model: what it learned, how it compared, what people said, and what became of it.

    Example: [bold]chandler models show 1m/3[/bold]
    """
    from models import show
    from models.feedback import feedback_of
    from models.registry import find_model, read_changes

    with _opened_to_read() as connection:
        found = find_model(connection, model)
        changes, feedback = read_changes(connection, found), feedback_of(connection, found)
    if as_json:
        told = {"changes": show.changes_json(changes), "feedback": show.feedback_json(feedback)}
        out.print_json(data=show.model_json(found) | told)
    else:
        for part in show.model_parts(found, changes, feedback):
            out.print(part, soft_wrap=isinstance(part, Text))


@app.command()
def compare(model: Name, other: Name, as_json: AsJson = False) -> None:
    """Show two models side by side, each by what was found in the night that it was trained in.

    Models of one night were measured on the same candles. Those of different nights were not, and a small difference
    between them says little.

    Example: [bold]chandler models compare 1m/3 1m/4[/bold]
    """
    from models import show
    from models.registry import find_model

    with _opened_to_read() as connection:
        pair = find_model(connection, model), find_model(connection, other)
    if as_json:
        out.print_json(data=[show.model_json(one) for one in pair])
    else:
        out.print(show.comparison_table(*pair))
        if (remark := show.comparison_remark(*pair)) is not None:
            err.print(Text(remark, style="yellow"), soft_wrap=True)


@app.command()
def promote(model: Name, note: Note = "promoted by hand") -> None:
    """Make a model the champion, once its blob is verified; the one before is retired.

    The next night compares what it trains with this one, and replaces it if something is measurably better.

    Example: [bold]chandler models promote 1m/3 --note "the new one alerts at every funding hour"[/bold]
    """
    from models.registry import find_model, promote

    with _opened() as (connection, most):
        found = find_model(connection, model)
        now = promote(connection, found, reason=note, run=run_name(), max_bytes=most)
    out.print(Text(f"{now.name} ({now.scorer}) is champion"))


@app.command()
def rollback(
    target: Annotated[str, typer.Argument(help="A timeframe, such as 1m, or a series with models of its own.")],
    note: Note = "rolled back by hand",
) -> None:
    """Go back to the champion before the present one, which is rejected; again, to the one before that.

    Example: [bold]chandler models rollback 1m --note "it alerts at every funding hour"[/bold]
    """
    from models.registry import roll_back
    from models.targets import Target

    wanted = Target.parse(target)
    with _opened() as (connection, most):
        now = roll_back(connection, wanted, reason=note, run=run_name(), max_bytes=most)
    out.print(Text(f"{now.name} ({now.scorer}) is champion again"))


@app.command("export")
def export_model(
    model: Name, file: Annotated[Path, typer.Argument(help="Where to; a file that is there is replaced.")]
) -> None:
    """Write a model into a file, once its blob is verified: a zip of numbers, JSON and an ONNX graph, and no code.

    Example: [bold]chandler models export 1m/3 lstm-1m-3.zip[/bold]
    """
    from models.registry import export_blob, find_model

    with _opened() as (connection, most):
        found = find_model(connection, model)
        export_blob(connection, found, file, most)
    out.print(Text(f"{found.name} is in {file}, {found.size_bytes / 1e6:,.2f} MB, SHA-256 {found.sha256}"))


@app.command("import")
def import_model(file: Annotated[Path, typer.Argument(help="What chandler models export has written.")]) -> None:
    """Take a model out of a file, once it is verified. It is a candidate, and judges nothing until it is promoted.

    Example: [bold]chandler models import lstm-1m-3.zip[/bold]
    """
    from models.registry import State, import_blob

    with _opened() as (connection, most):
        found = import_blob(connection, file, run=run_name(), max_bytes=most)
    out.print(Text(f"{found.name} ({found.scorer}) is {found.state}: {found.reason}"))
    if found.state is State.CANDIDATE:
        err.print(Text(f"To let it judge: chandler models promote {found.name}"))


@app.command()
def report(model: Name, to: Annotated[Path, typer.Option("--out", help="The HTML file to write.")]) -> None:
    """Write the report of the night that a model was trained in: numbers and plots, in one file for a browser.

    Example: [bold]chandler models report 1m/3 --out night.html[/bold]
    """
    from models.registry import find_model, read_report

    with _opened_to_read() as connection:
        found = find_model(connection, model)
        page = read_report(connection, found.id)
    if page is None:
        raise ConfigError(f"there is no report of {found.name}: it was imported, or it is older than keep in [models]")
    write_whole(to, page.encode())
    out.print(Text(f"the report of {found.name} is in {to}"))


@contextmanager
def _opened_to_read() -> Iterator[Connection]:
    """Open a transaction whatever else is wrong in the feeds file."""
    with opened_warehouse(read_settings_to_look()) as warehouse, warehouse.begin() as connection:
        yield connection


@contextmanager
def _opened() -> Iterator[tuple[Connection, int]]:
    """Open a transaction; yield it, and how many bytes a blob may take."""
    settings = read_settings()
    with opened_warehouse(settings) as warehouse, warehouse.begin() as connection:
        yield connection, settings.models.max_artifact_bytes
