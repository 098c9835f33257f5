"""The commands that look after the archive, and after all stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from etl.cli.terminal import AsJson, SomeSeries, check_known, complain, err, opened_stores, out, stores_to_read
from etl.series import Series
from etl.spelling import counted

if TYPE_CHECKING:
    from etl.health import OnFile
    from etl.maintenance import StepReport

app = typer.Typer(no_args_is_help=True, help="Check whether the archive is sound; convert what waits to get into it.")


@app.command()
def check(series: SomeSeries = None, as_json: AsJson = False) -> None:
    """Read every file of the archive with all its hashes, and hold it against what the warehouse vouches for.

    Exit status 1, and what to do about it, if something is wrong. Nothing is changed.

    Example: [bold]chandler archive check binance:BTC/USDT:1m[/bold]
    """
    only = [Series.parse(text) for text in series or []]
    from etl import show
    from etl.health import check_archive

    with stores_to_read() as stores, _reading() as read:
        health = check_archive(stores, only, on_file=read)
        check_known(only, (one.series for one in health.series), stores.archive.series())
    if as_json:
        out.print_json(data=show.health_json(health))
    else:
        out.print(show.health_table(health))
        for line in show.health_lines(health):
            err.print(line, soft_wrap=True)
    if health.all_ailments:
        raise typer.Exit(1)


@app.command()
def convert() -> None:
    """Make Parquet of the rows that could not be written as such: a full disk, a folder without rights.

    Exit status 1 if some still cannot. No candle of them is lost, nor hidden from anybody but direct readers.

    Example: [bold]chandler archive convert[/bold]
    """
    from etl.fallbacks import convert_fallbacks

    with opened_stores() as stores:
        outcomes = list(convert_fallbacks(stores))
    for one in outcomes:
        place = f"{one.fallback.series} {one.fallback.span}: {one.fallback.path}"
        if one.failure is None:
            out.print(Text(f"{place} is Parquet now"), soft_wrap=True)
        else:
            complain(f"{place} still waits: {one.failure}")
    if not outcomes:
        err.print("Nothing waits: all is Parquet.")
    if any(one.failure is not None for one in outcomes):
        raise typer.Exit(1)


def maintain(as_json: AsJson = False) -> None:
    """Do what the DAG maintain_stores does every night: convert, tidy up, retire, check a part, refresh, vacuum.

    Exit status 1 if something is wrong. It may be stopped at any moment, and run as often as you like.

    Example: [bold]chandler maintain[/bold]
    """
    from etl import show
    from etl.maintenance import STEPS
    from etl.maintenance import maintain as run_steps

    reports: list[StepReport] = []
    with opened_stores() as stores, Progress(TextColumn("{task.description}"), console=err, transient=True) as bar:
        task = bar.add_task(next(iter(STEPS)), total=None)
        for number, report in enumerate(run_steps(stores, datetime.now(UTC)), 1):
            reports.append(report)
            bar.update(task, description="".join([*STEPS][number : number + 1]))
    if as_json:
        out.print_json(data=show.maintenance_json(reports))
    else:
        out.print(show.maintenance_table(reports))
        for problem in (problem for report in reports for problem in report.done.problems):
            complain(problem)
    if any(report.done.problems for report in reports):
        raise typer.Exit(1)


@contextmanager
def _reading() -> Iterator[OnFile]:
    """Show a bar, and yield what moves it."""
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("files, {task.fields[rows]}"))
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("", total=None, rows="")
        candles = 0

        def read(done: int, planned: int, rows: int) -> None:
            nonlocal candles
            candles += rows
            bar.update(task, completed=done, total=planned, rows=counted(candles, "candle"))

        yield read
