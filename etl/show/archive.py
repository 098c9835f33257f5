"""The archive's health, and what maintenance did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from etl.quality import by_name
from etl.show.parts import new_table, to_iso, to_minute
from etl.spelling import counted

if TYPE_CHECKING:
    from etl.health import ArchiveHealth
    from etl.maintenance import StepReport


def health_table(health: ArchiveHealth) -> Table:
    """Return a row a series."""
    table = new_table("series", "files", "candles", "archive", "bytes a candle", "last write", "absent", "verdict")
    for one in health.series:
        table.add_row(
            str(one.series),
            f"{one.files:,}",
            f"{one.rows:,}",
            f"{one.size_bytes / 1e6:,.1f} MB",
            f"{one.size_bytes / one.rows:.1f}" if one.rows else "",
            to_minute(one.last_write),
            by_name(one.absent),
            f"[red]problems: {len(one.ailments)}[/red]" if one.ailments else "[green]sound[/green]",
        )
    return table


def health_lines(health: ArchiveHealth) -> Iterator[Text]:
    """Yield a line for each thing that is wrong, with what to do about it, what may go, and how long it took."""
    for ailment in health.all_ailments:
        line = Text(f"{ailment.path}: {ailment.what}", style="red")
        yield line.append(f"\n    {ailment.remedy}", style="default")
    for note in health.notes:
        yield Text(note, style="yellow")
    files, rows = sum(one.checked for one in health.series), sum(one.rows for one in health.series)
    size = sum(one.size_bytes for one in health.series) / 1e6
    rate = rows / health.seconds if health.seconds else 0
    yield Text(
        f"{counted(files, 'file')}, {size:,.1f} MB, read in {health.seconds:,.1f} s: {rate:,.0f} candles/s", style="dim"
    )


def health_json(health: ArchiveHealth) -> dict[str, Any]:
    """Return the same for a script."""
    return {
        "sound": not health.all_ailments,
        "seconds": health.seconds,
        "series": [
            {
                "series": str(one.series),
                "files": one.files,
                "candles": one.rows,
                "bytes": one.size_bytes,
                "last_write": to_iso(one.last_write),
                "absent": dict(one.absent),
            }
            for one in health.series
        ],
        "problems": [{"path": one.path, "what": one.what, "remedy": one.remedy} for one in health.all_ailments],
        "notes": health.notes,
    }


def maintenance_table(reports: Sequence[StepReport]) -> Table:
    """Return a row a step."""
    table = new_table("step", "took", "what", "verdict")
    for report in reports:
        verdict = f"[red]problems: {len(report.done.problems)}[/red]" if report.done.problems else "[green]fine[/green]"
        table.add_row(report.step, f"{report.seconds:.1f} s", report.done.what, verdict)
    return table


def maintenance_json(reports: Sequence[StepReport]) -> list[dict[str, Any]]:
    """Return the same for a script."""
    return [
        {
            "step": report.step,
            "seconds": report.seconds,
            "what": report.done.what,
            "problems": list(report.done.problems),
        }
        for report in reports
    ]
