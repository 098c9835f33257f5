"""Status, audit and feeds as tables for people and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table

from etl.audit import SeriesAudit, is_sound
from etl.schema import Series
from etl.settings import Settings, feeds_path
from etl.warehouse import SeriesStatus

# Columns that are not worth reading when broken into lines.
_WHOLE = frozenset({"series", "first", "last", "watermark", "loaded", "from", "to"})


def status_table(rows: Sequence[SeriesStatus], sizes: Mapping[Series, int]) -> Table:
    """Return a row a series; `sizes` are the archive's bytes."""
    table = _table(
        *("series", "first", "last", "watermark", "candles", "absent"),
        *("quarantined", "revised", "archive", "loaded", "state"),
    )
    for row in rows:
        table.add_row(
            str(row.series),
            _moment(row.first),
            _moment(row.last),
            _moment(row.watermark),
            f"{row.candles:,}",
            absent_by_kind(row.absent),
            f"{row.quarantined:,}",
            f"{row.revisions:,}",
            f"{sizes[row.series] / 1e6:.1f} MB",
            _moment(row.last_load),
            "" if row.ended is None else f"ended {_moment(row.ended)}",
        )
    return table


def status_json(rows: Sequence[SeriesStatus], sizes: Mapping[Series, int]) -> list[dict[str, Any]]:
    """Return the same for a script; times as ISO 8601."""
    return [
        {
            "series": str(row.series),
            "start": _iso(row.start),
            "watermark": _iso(row.watermark),
            "end": _iso(row.end),
            "first": _iso(row.first),
            "last": _iso(row.last),
            "candles": row.candles,
            "absent": dict(row.absent),
            "quarantined": row.quarantined,
            "revisions": row.revisions,
            "archive_bytes": sizes[row.series],
            "last_load": _iso(row.last_load),
            "first_open": _iso(row.first_open),
            "ended": _iso(row.ended),
        }
        for row in rows
    ]


def audit_table(audits: Sequence[SeriesAudit]) -> Table:
    """Return a row a series, with the sum that law 1 is about."""
    table = _table("series", "from", "to", "expected", "stored", "absent", "verdict")
    for one in audits:
        table.add_row(
            str(one.series),
            _moment(one.ranges[0].start if one.ranges else None),
            _moment(one.ranges[-1].end if one.ranges else None),
            f"{one.expected:,}",
            f"{one.stored:,}",
            absent_by_kind(one.absent),
            "[green]accounted for[/green]" if is_sound([one]) else f"[red]{len(one.problems)} problems[/red]",
        )
    return table


def audit_problems(audits: Sequence[SeriesAudit], most: int = 20) -> Iterator[str]:
    """Yield a line for each problem, with the command that mends it."""
    for one in audits:
        for problem in one.problems[:most]:
            yield f"[red]{one.series} {problem.time_range}: {problem.what}[/red]\n    {problem.remedy}"
        if len(one.problems) > most:
            yield f"[red]{one.series}: {len(one.problems) - most} more; --json lists them all[/red]"


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
            }
            for one in audits
        ],
    }


def feeds_table(settings: Settings, findings: Mapping[str, Sequence[str]]) -> Table:
    """Return a row a feed; `findings` are what the exchanges said against it, where they were asked."""
    table = _table(
        "feed", "exchange", "address", "symbols", "timeframes", "start", "settle", "check", title=feeds_path()
    )
    for name, feed in settings.feeds.items():
        found = findings.get(name)
        table.add_row(
            name,
            feed.exchange,
            str(settings.exchange(feed.exchange).base_url or "its own"),
            ", ".join(feed.symbols),
            ", ".join(feed.timeframes),
            f"{feed.start:%Y-%m-%d}",
            str(feed.settle),
            "" if found is None else "[red]see below[/red]" if found else "[green]fine[/green]",
        )
    return table


def feeds_json(settings: Settings, findings: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the same for a script."""
    return {
        "file": str(feeds_path()),
        "feeds": {
            name: {**feed.model_dump(mode="json"), "problems": list(findings.get(name, []))}
            for name, feed in settings.feeds.items()
        },
    }


def absent_by_kind(absent: Mapping[str, int]) -> str:
    """Return `120 unexplained`, or 0."""
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(absent.items())) or "0"


def _table(*names: str, title: object = None) -> Table:
    table = Table(box=None, pad_edge=False, title=None if title is None else str(title), title_justify="left")
    for name in names:
        is_number = name in {"candles", "expected", "stored", "absent", "quarantined", "revised", "archive"}
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=name in _WHOLE)
    return table


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
