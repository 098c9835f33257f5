"""The command that builds the warehouse again from the archive."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from etl.cli.terminal import AsJson, SomeSeries, check_known, complain, err, opened_stores, out
from etl.homes import Creates
from etl.series import Series
from etl.spelling import counted

if TYPE_CHECKING:
    from etl.progress import Outcome
    from etl.rebuild import OnRebuilt, SeriesPlan
    from etl.stores import Partition
    from etl.warehouse import LoadReport

_COUNTS = ("ranges", "candles", "absent")


def rebuild(series: SomeSeries = None, as_json: AsJson = False) -> None:
    """Build the warehouse again from the archive, after it was lost: candles, checkpoints, absences, quality.

    Only what the warehouse has no account of is loaded, and the archive is only read. So this goes on where it was cut
    off, and run twice it does nothing. A file that cannot be trusted is named and left out. Series that the warehouse
    holds otherwise than the archive are left to chandler audit --fix.

    Example: [bold]chandler warehouse rebuild[/bold]
    """
    only = [Series.parse(text) for text in series or []]
    from etl.progress import Outcome
    from etl.rebuild import plan_rebuild, run_rebuild

    outcome = Outcome()
    with opened_stores(Creates.ALWAYS) as stores:
        if only:
            check_known(only, stores.archive.series())
        begun = time.monotonic()
        plans = plan_rebuild(stores, only)
        with _bar(plans, outcome) as rebuilt:
            outcome.failures += run_rebuild(stores, plans, rebuilt)
        seconds = time.monotonic() - begun
    sums = _by_series(outcome)
    if as_json:
        found = {str(one): counts for one, counts in sums.items()}
        failures = [str(failure) for failure in outcome.failures]
        out.print_json(data={"series": found, "failures": failures, "seconds": seconds})
    elif sums:
        from etl.show.parts import new_table

        table = new_table("series", *_COUNTS)
        for one, counts in sums.items():
            table.add_row(str(one), *(f"{counts[name]:,}" for name in _COUNTS))
        out.print(table)
        candles = sum(counts["candles"] for counts in sums.values())
        err.print(f"{counted(candles, 'candle')} in {seconds:.1f} s: {candles / seconds:,.0f} candles/s")
    elif not outcome.failures:
        err.print("The warehouse has an account of all that the archive holds; nothing to do.")
    if sums:
        tell_lost()
    for failure in outcome.failures:
        complain(failure)
    if outcome.failures:
        raise typer.Exit(1)


def tell_lost() -> None:
    """Say what does not come back with a warehouse that was built again from the archive."""
    from etl.rebuild import LOST

    lines = ("What the archive does not know did not come back:", *(f"- {what}" for what in LOST))
    err.print("\n".join(lines), markup=False, soft_wrap=True)


@contextmanager
def _bar(plans: Sequence[SeriesPlan], outcome: Outcome) -> Iterator[OnRebuilt]:
    """Show a bar, and yield what moves it and takes note of what was done."""
    from etl.progress import Rate

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("rebuilding", total=sum(plan.slots for plan in plans))

        def rebuilt(partition: Partition, report: LoadReport) -> None:
            outcome.loads.append((partition, report))
            slots = partition.time_range.count(partition.series.timeframe)
            bar.update(task, advance=slots, description=str(partition.series))

        yield rebuilt


def _by_series(outcome: Outcome) -> dict[Series, dict[str, int]]:
    """Return what was rebuilt of each series."""
    sums: dict[Series, dict[str, int]] = {}
    for partition, report in sorted(outcome.loads, key=lambda load: load[0].series):
        counts = sums.setdefault(partition.series, dict.fromkeys(_COUNTS, 0))
        for name, count in zip(_COUNTS, (1, report.rows, report.absent), strict=True):
            counts[name] += count
    return sums
