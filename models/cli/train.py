"""The command that trains models by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from etl.cli.terminal import AsJson, complain, err, opened_warehouse, out, read_settings, run_name
from etl.errors import ChandlerError, ConfigError
from etl.settings import Settings
from etl.spelling import parse_moment
from models.targets import Target, targets_of

if TYPE_CHECKING:
    from models.stages import Step, Watch
    from models.trained import Trained

Timeframes = Annotated[
    list[str] | None,
    typer.Option("--timeframe", help="Such as 1m; those of the feeds, if neither is given.", show_default=False),
]
SomeSeries = Annotated[
    list[str] | None,
    typer.Option("--series", help="Such as binance:BTC/USDT:1m: a model for this series alone.", show_default=False),
]
Until = Annotated[
    str | None,
    typer.Option("--end", help="Learn from what opens before it, such as 2024-02-01 (UTC); up to now without."),
]


def train(timeframe: Timeframes = None, series: SomeSeries = None, end: Until = None, as_json: AsJson = False) -> None:
    """Learn what normal looks like from the candles in the warehouse, as the DAG train_models does every night.

    An LSTM goes on from the last one, and is compared with the champion and with simple scorers on weeks that none of
    them has learned, with anomalies planted. One that is measurably better becomes champion; otherwise nothing changes.
    How far back it reads, how many days of candles a series must have (28 at 1m, more from 1h up), and how often models
    may alert stands in the table models of the feeds file. It may be stopped at any moment: nothing is kept before the
    end.

    Example: [bold]chandler train --timeframe 1m[/bold]
    """
    settings = read_settings()
    targets = _wanted(settings, timeframe or [], series or [])
    moment = parse_moment(end) if end else datetime.now(UTC)
    from models.training import train as run_training

    trained: list[Trained] = []
    failures: list[ChandlerError] = []
    with opened_warehouse(settings) as warehouse:
        for target in targets:
            try:
                with _bar(target) as watch:
                    trained.append(run_training(warehouse, settings, target, moment, run_name(), watch))
            except ChandlerError as error:
                failures.append(error)
            else:
                if not as_json:
                    _show(trained[-1])
    if as_json:
        out.print_json(data=[one.to_json() for one in trained])
    for failure in failures:
        complain(failure)
    if failures:
        raise typer.Exit(1)


def _wanted(settings: Settings, timeframes: list[str], series: list[str]) -> list[Target]:
    """Return what is asked for, or what the feeds ask for."""
    if strange := [one for one in timeframes if ":" in one]:
        raise ConfigError(f"{strange[0]!r} is no timeframe; for one series: --series {strange[0]}")
    if strange := [one for one in series if ":" not in one]:
        raise ConfigError(f"{strange[0]!r} is no series; write exchange:symbol:timeframe, such as binance:BTC/USDT:1m")
    asked = [Target.parse(text) for text in dict.fromkeys([*timeframes, *series])]
    targets = asked or targets_of(settings)
    if not targets:
        raise ConfigError(f"no feed in {settings.path} says what to train; name it: --timeframe 1m")
    return targets


@contextmanager
def _bar(target: Target) -> Iterator[Watch]:
    """Show a bar, and yield what moves it."""
    said = TextColumn("{task.fields[said]}")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), said, TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(str(target), total=1.0, said="")

        def move(step: Step) -> None:
            bar.update(task, completed=step.share, said=_said(step))

        yield move


def _said(step: Step) -> str:
    if (progress := step.progress) is None or not progress.epochs:
        return step.stage
    loss = "" if progress.loss is None else f", loss {progress.loss:.4f}"
    return f"{step.stage}, epoch {progress.epoch} of {progress.epochs}{loss}"


def _show(trained: Trained) -> None:
    from etl.show.parts import new_table
    from models.trained import COLUMNS, rows_of, said_lines

    said: list[str] = []
    if (night := trained.night) is not None:
        table = new_table(*COLUMNS, title=trained.target)
        for row in rows_of(night):
            table.add_row(*(Text(cell) for cell in row))
        out.print(table)
        said = said_lines(night)
    for line in (*said, *trained.remarks):
        err.print(Text(line, style="yellow"), soft_wrap=True)
    out.print(Text(trained.verdict), soft_wrap=True)
    out.print(Text(f"The report: chandler models report {trained.candidate.name} --out night.html"), soft_wrap=True)
