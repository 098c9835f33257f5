"""The command that asks again for what is absent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from etl.cli.terminal import (
    AsJson,
    End,
    SomeSeries,
    Start,
    check_known,
    complain,
    err,
    out,
    read_settings,
    run_name,
    tell_nothing_loaded,
    to_range,
)
from etl.errors import ChandlerError
from etl.homes import Creates
from etl.series import Series
from etl.spelling import counted

if TYPE_CHECKING:
    from etl.repair import OnProbe, RepairReport
    from etl.stores import Partition


def repair(series: SomeSeries = None, start: Start = None, end: End = None, as_json: AsJson = False) -> None:
    """Say why candles are absent, and ask again for those that are due; what has appeared is stored.

    Each kind of absence is asked for after pauses that grow, within a tenth of the exchange's limit (repair_share), so
    this may run as often as you like. With --start or --end: all that is absent in that range, due or not.

    Example: [bold]chandler repair binance:BTC/USDT:1m --start 2024-01-01 --end 2024-02-01[/bold]
    """
    settings = read_settings()
    only = [Series.parse(text) for text in series or []]
    within = to_range(start, end)
    from etl.repair import repair as run_repair
    from etl.stores import open_stores
    from etl.warehouse import known_series

    reports: dict[str, RepairReport] = {}
    failures: list[ChandlerError] = []
    with open_stores(settings, Creates.NEVER) as stores:
        with stores.warehouse.begin() as connection:
            known = known_series(connection)
        check_known(only, known)
        for exchange in sorted({one.exchange for one in only or known}):
            try:
                with _probes(exchange) as probed:
                    reports[exchange] = run_repair(
                        stores, exchange, datetime.now(UTC), run_name(), only=only, within=within, on_probe=probed
                    )
            except ChandlerError as error:
                failures.append(error)
    failures += [failure for report in reports.values() for failure in report.failures]
    if as_json:
        out.print_json(data={exchange: _to_json(report) for exchange, report in reports.items()})
    else:
        for exchange, report in reports.items():
            out.print(f"{exchange}: {_to_text(report)}")
        if not reports and not failures:
            tell_nothing_loaded(settings)
    for failure in failures:
        complain(failure)
    if failures:
        raise typer.Exit(1)


@contextmanager
def _probes(exchange: str) -> Iterator[OnProbe]:
    """Show a bar, and yield what moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("probes"))
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task(exchange, total=None)

        def probed(partition: Partition, done: int, planned: int) -> None:
            bar.update(task, completed=done, total=planned, description=str(partition.series))

        yield probed


def _to_text(report: RepairReport) -> str:
    if report.is_elsewhere:
        return "another repair is under way; nothing done"
    judged = (
        f"of another kind now: {counted(report.rejudged, 'stretch', 'stretches')}"
        if report.rejudged
        else "all kinds as they were"
    )
    if not report.due:
        return f"nothing is due; {judged}"
    return (
        f"{counted(report.due, 'candle')} due, {counted(report.probes, 'probe')} made, {report.filled:,} filled, "
        f"{report.left:,} left for the next run; {judged}"
    )


def _to_json(report: RepairReport) -> dict[str, Any]:
    return {
        "due": report.due,
        "probes": report.probes,
        "filled": report.filled,
        "left": report.left,
        "rejudged": report.rejudged,
        "failures": [str(failure) for failure in report.failures],
        "is_elsewhere": report.is_elsewhere,
    }
