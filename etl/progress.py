"""Ingesting many series with a bar for each, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from etl.errors import ChandlerError
from etl.ingest import Partition, Stores, ingest
from etl.plan import closed_until, plan
from etl.schema import Series, TimeRange
from etl.warehouse import LoadReport


@dataclass(slots=True)
class Outcome:
    """What an ingest did: the loads that were committed, and the series that failed, with the reason."""

    loads: list[tuple[Partition, LoadReport]] = field(default_factory=list)
    failures: list[ChandlerError] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON can hold it."""
        loads = [{**partition.to_dict(), **asdict(report)} for partition, report in self.loads]
        return {"loads": loads, "failures": [str(failure) for failure in self.failures]}

    def to_table(self) -> Table:
        """Return a row for each load."""
        table = Table("series", "from", "to", box=None, pad_edge=False)
        for name in ("candles", "new", "revised", "absent", "quarantined"):
            table.add_column(name, justify="right")
        for partition, report in self.loads:
            bounds = (f"{bound:%Y-%m-%d %H:%M}" for bound in (partition.time_range.start, partition.time_range.end))
            counts = (report.rows, report.new, report.revised, report.absent, report.quarantined)
            table.add_row(str(partition.series), *bounds, *(f"{count:,}" for count in counts))
        return table


class _Rate(ProgressColumn):
    """Candles per second, over the last while."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} candles/s")


def ingest_all(
    stores: Stores,
    wanted: Sequence[Series],
    start: datetime,
    end: datetime | None,
    settle: timedelta | None,
    run: str,
    *,
    console: Console,
) -> Outcome:
    """Ingest each series; one that fails does not keep its neighbours.

    Args:
        end: Exclusive; None, or a moment still to come, for the last candle that has closed.
        settle: See `etl.plan.plan`.
    """
    outcome = Outcome()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        bars = {series: progress.add_task(str(series), total=None) for series in wanted}
        for series, bar in bars.items():
            try:
                until = closed_until(stores.settings, series)
                until = until if end is None else min(until, end)
                partitions = plan(stores, series, TimeRange(start, until), settle) if start < until else []
                _ingest_series(stores, partitions, run, outcome, progress, bar)
            except ChandlerError as error:
                outcome.failures.append(error)
                progress.update(bar, description=f"{series} [red]failed[/red]")
    return outcome


def _ingest_series(
    stores: Stores, partitions: Sequence[Partition], run: str, outcome: Outcome, progress: Progress, bar: Any
) -> None:
    sizes = [partition.time_range.count(partition.series.timeframe) for partition in partitions]
    done = 0
    progress.update(bar, total=sum(sizes), completed=0)
    for partition, size in zip(partitions, sizes, strict=True):
        limit = done + size

        def on_page(page: Any, limit: int = limit) -> None:
            # A window that had to be halved is seen more than once.
            so_far = progress.tasks[bar].completed + page.window.count(page.series.timeframe)
            progress.update(bar, completed=min(so_far, limit))

        outcome.loads.append((partition, ingest(stores, partition, run, on_page)))
        done = limit
        progress.update(bar, completed=done)
