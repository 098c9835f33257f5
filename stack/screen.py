"""Output of the stack on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from datetime import time as dt_time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from etl.archive import Archive
from etl.quality import by_name
from etl.show.parts import new_table
from etl.spelling import counted
from etl.warehouse import SeriesStatus
from stack.backfill import Progress

_MB = 1_000_000


class Screen:
    """A terminal, or whatever stands in for one."""

    def __init__(self, console: Console | None = None) -> None:
        # Into a file or a pipe, tables are as wide as they need to be.
        self.console = console or Console(highlight=False, width=None if sys.stdout.isatty() else 160)

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a line that should not be overlooked."""
        self.console.print(text, style="yellow", markup=False, soft_wrap=True)

    def fail(self, text: str) -> None:
        """Print why it did not work."""
        self.console.print(text, style="red", markup=False, soft_wrap=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show that something is under way, then that it is done and how long it took."""
        started = time.monotonic()
        with self.console.status(f"{name} ..."):
            yield
        self.console.print(f"  {name:<28}{time.monotonic() - started:5.1f} s", markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, name: str) -> Iterator[Bar]:
        """Show a bar for partitions; `advance_to` moves it."""
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("partitions{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        with Bar(*columns, console=self.console) as bar:
            bar.add_task(name, total=None, note="")
            yield bar

    def show_series(self, statuses: Sequence[SeriesStatus], archive: Archive) -> None:
        """Print a row for each series: what is held, what is not and why."""
        table = new_table("series", "from", "to", "candles", "absent", "quarantined", "archive")
        for status in statuses:
            size = sum(file.size_bytes for file in archive.files(status.series))
            absent = by_name(status.absent)
            bounds = [_short(moment) for moment in (status.start, status.end)]
            counts = (f"{status.candles:,}", absent, f"{status.quarantined:,}", f"{size / _MB:.2f} MB")
            table.add_row(str(status.series), *bounds, *counts)
        self.console.print(table)


def _short(moment: datetime | None) -> str:
    """Return a moment in UTC, as a day where it is midnight."""
    if moment is None:
        return ""
    return f"{moment:%Y-%m-%d}" if moment.time() == dt_time() else f"{moment:%Y-%m-%d %H:%M}"


def advance_to(bar: Bar, progress: Progress) -> None:
    """Move the bar of `Screen.bar`."""
    note = f" ({counted(progress.retrying, 'task')} to be tried again)" if progress.retrying else ""
    # Runs may have loaded series that the feed has no more.
    bar.update(bar.task_ids[0], completed=min(progress.done, progress.total), total=progress.total, note=note)
