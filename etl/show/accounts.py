"""Status and audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from etl.audit import SeriesAudit, by_mending, is_sound
from etl.quality import by_name
from etl.series import Series
from etl.show.parts import new_table, to_age, to_iso, to_minute
from etl.spelling import counted
from etl.warehouse import SeriesStatus


def status_table(rows: Sequence[SeriesStatus], sizes: Mapping[Series, int], now: datetime) -> Table:
    """Return a row a series; `sizes` are the archive's bytes."""
    table = new_table(
        *("series", "first and last", "loaded", "behind", "complete up to", "candles", "absent"),
        *("refused", "flagged", "revised", "archive", "state"),
    )
    for row in rows:
        table.add_row(
            str(row.series),
            f"{to_minute(row.first)}\n{to_minute(row.last)}",
            to_minute(row.last_load),
            to_age(row.lag(now)),
            to_minute(row.watermark),
            f"{row.candles:,}" + (f"\n{row.retired:,} archived" if row.retired else ""),
            *(by_name(counts).replace(", ", "\n") for counts in (row.absent, row.refused, row.flagged)),
            f"{row.revisions:,}",
            f"{sizes[row.series] / 1e6:.1f} MB",
            "" if row.ended is None else f"ended {to_minute(row.ended)}",
        )
    return table


def status_json(rows: Sequence[SeriesStatus], sizes: Mapping[Series, int], now: datetime) -> list[dict[str, Any]]:
    """Return the same for a script; times as ISO 8601."""
    lags = [row.lag(now) for row in rows]
    return [
        {
            "series": str(row.series),
            "start": to_iso(row.start),
            "watermark": to_iso(row.watermark),
            "end": to_iso(row.end),
            "first": to_iso(row.first),
            "last": to_iso(row.last),
            "candles": row.candles,
            "retired": row.retired,
            "absent": dict(row.absent),
            "quarantined": row.quarantined,
            "refused": dict(row.refused),
            "flagged": dict(row.flagged),
            "revisions": row.revisions,
            "archive_bytes": sizes[row.series],
            "last_load": to_iso(row.last_load),
            "lag_s": None if lag is None else round(lag.total_seconds()),
            "first_open": to_iso(row.first_open),
            "ended": to_iso(row.ended),
        }
        for row, lag in zip(rows, lags, strict=True)
    ]


def audit_table(audits: Sequence[SeriesAudit]) -> Table:
    """Return a row a series, with the sum that law 1 is about."""
    table = new_table("series", "from", "to", "expected", "stored", "absent", "verdict")
    for one in audits:
        table.add_row(
            str(one.series),
            to_minute(one.ranges[0].start if one.ranges else None),
            to_minute(one.ranges[-1].end if one.ranges else None),
            f"{one.expected:,}",
            f"{one.stored:,}",
            by_name(one.absent),
            _verdict(one),
        )
    return table


def _verdict(one: SeriesAudit) -> str:
    if one.not_audited:
        return "[red]not audited[/red]"
    return "[green]accounted for[/green]" if is_sound([one]) else f"[red]problems: {len(one.problems)}[/red]"


def audit_problems(audits: Sequence[SeriesAudit], most: int = 20) -> Iterator[Text]:
    """Yield a line for each problem, with the command that mends it."""
    for one in audits:
        if one.not_audited:
            yield Text(f"{one.series}: not audited: {one.not_audited}", style="red")
        for problem in one.problems[:most]:
            what = Text(f"{one.series} {problem.time_range}: {problem.what}", style="red")
            yield what.append(f"\n    {problem.remedy}", style="default")
        if len(one.problems) > most:
            yield Text(f"{one.series}: {len(one.problems) - most} more; --json lists them all", style="red")


def audit_remarks(audits: Sequence[SeriesAudit]) -> Iterator[Text]:
    """Yield a line for each series whose flags are of earlier rules, which is no problem."""
    for one in audits:
        if one.flagged_otherwise:
            verb = "was" if one.flagged_otherwise == 1 else "were"
            what = (
                f"{counted(one.flagged_otherwise, 'candle')} {verb} flagged by earlier rules or with other parameters"
            )
            remedy = f"the nightly maintenance flags them again; to do it now: {by_mending(one.series)}"
            yield Text(f"{one.series}: {what}\n    {remedy}")


def audit_mended(audits: Sequence[SeriesAudit], most: int = 20) -> Iterator[Text]:
    """Yield a line for each thing that was mended."""
    for one in audits:
        for what in one.mended[:most]:
            yield Text(f"{one.series} {what}", style="green")
        if len(one.mended) > most:
            yield Text(f"{one.series}: {len(one.mended) - most} more; --json lists them all", style="green")


def audit_json(audits: Sequence[SeriesAudit]) -> dict[str, Any]:
    """Return the same for a script."""
    return {
        "sound": is_sound(audits),
        "series": [
            {
                "series": str(one.series),
                "ranges": [span.to_dict() for span in one.ranges],
                "expected": one.expected,
                "stored": one.stored,
                "absent": one.absent,
                "problems": [
                    {**problem.time_range.to_dict(), "what": problem.what, "remedy": problem.remedy}
                    for problem in one.problems
                ],
                "flagged_otherwise": one.flagged_otherwise,
                "mended": one.mended,
                "rebuilt": one.is_rebuilt,
                "not_audited": one.not_audited,
            }
            for one in audits
        ],
    }
