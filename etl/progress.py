"""An ingest of many series as a person sees it: a bar for each, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from etl.errors import ChandlerError
from etl.series import Series
from etl.show.parts import new_table
from etl.spelling import counted
from etl.stores import Partition
from etl.warehouse import LoadReport


@dataclass(slots=True)
class Outcome:
    """The result of an ingest: the loads that were committed, and the series that failed, with the reason.

    Attributes:
        left_out: Partitions that another process has loaded meanwhile.
    """

    loads: list[tuple[Partition, LoadReport]] = field(default_factory=list)
    left_out: list[Partition] = field(default_factory=list)
    failures: list[ChandlerError] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON can hold it."""
        loads = [{**partition.to_dict(), **asdict(report)} for partition, report in self.loads]
        left_out = [partition.to_dict() for partition in self.left_out]
        return {"loads": loads, "left_out": left_out, "failures": [str(failure) for failure in self.failures]}

    def to_table(self) -> Table:
        """Return a row for each load."""
        table = new_table("series", "from", "to", "candles", "new", "revised", "absent", "quarantined")
        for partition, report in self.loads:
            bounds = (f"{bound:%Y-%m-%d %H:%M}" for bound in (partition.time_range.start, partition.time_range.end))
            counts = (report.rows, report.new, report.revised, report.absent, report.quarantined)
            table.add_row(str(partition.series), *bounds, *(f"{count:,}" for count in counts))
        return table


class Rate(ProgressColumn):
    """Candles per second, over the last while."""

    def render(self, task: Task) -> Text:
        """Return the rate of a bar; nothing until there is one."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} candles/s")


class Bars:
    """A bar for each series: pages, candles, rate, weight used, time left. A `Watcher` of `etl.pipeline`.

    Attributes:
        outcome: What has come of it so far.
    """

    def __init__(self, wanted: Sequence[Series], console: Console) -> None:
        self.outcome = Outcome()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            Rate(),
            TimeRemainingColumn(),
            console=console,
        )
        self._bars = {series: self._progress.add_task(str(series), total=None, said="") for series in wanted}
        self._pages = dict.fromkeys(wanted, 0)
        self._done = dict.fromkeys(wanted, 0)  # candles of partitions that are loaded
        self._under_way: dict[Series, dict[Partition, int]] = {series: {} for series in wanted}

    def __enter__(self) -> Self:
        """Show the bars."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave them as they stand."""
        self._progress.stop()
        self.outcome.loads.sort(key=lambda load: (load[0].series, load[0].time_range))

    def planned(self, series: Series, partitions: Sequence[Partition]) -> None:
        """Give the bar its length."""
        self._under_way[series] = dict.fromkeys(partitions, 0)
        total = sum(partition.time_range.count(series.timeframe) for partition in partitions)
        self._progress.update(self._bars[series], total=total, completed=0)

    def arrived(self, partition: Partition, candles: int, used_weight: int, permitted_weight: int) -> None:
        """Move the bar on by a page."""
        series = partition.series
        self._pages[series] += 1
        self._under_way[series][partition] += candles
        self._move(series, f"{counted(self._pages[series], 'page')}, weight {used_weight:,} of {permitted_weight:,}")

    def loaded(self, partition: Partition, report: LoadReport) -> None:
        """Take a partition as done."""
        self.outcome.loads.append((partition, report))
        self._end(partition)

    def left_out(self, partition: Partition) -> None:
        """Take a partition as done by others."""
        self.outcome.left_out.append(partition)
        self._end(partition)

    def _end(self, partition: Partition) -> None:
        series = partition.series
        self._under_way[series].pop(partition, None)
        self._done[series] += partition.time_range.count(series.timeframe)
        self._move(series, counted(self._pages[series], "page"))

    def failed(self, series: Series, error: ChandlerError) -> None:
        """Say so at the bar."""
        if not any(error is known for known in self.outcome.failures):
            self.outcome.failures.append(error)
        self._progress.update(self._bars[series], description=f"{series} [red]failed[/red]")

    def _move(self, series: Series, said: str) -> None:
        completed = self._done[series] + sum(self._under_way[series].values())
        self._progress.update(self._bars[series], completed=completed, said=said)
