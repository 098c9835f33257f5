"""Status, audit, feeds and exchanges as tables for people and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import Any

from rich.markup import escape
from rich.table import Table

from etl.audit import SeriesAudit, is_sound
from etl.exchanges import Traits
from etl.schema import Series
from etl.settings import Settings, feeds_path
from etl.timeframe import Timeframe
from etl.venues import Finding, Verdict
from etl.warehouse import SeriesStatus

# Columns that are not worth reading when broken into lines.
_WHOLE = frozenset({"series", "first", "last", "watermark", "loaded", "from", "to", "exchange", "looked at", "verdict"})
_COLOURS = {Verdict.AGREES: "green", Verdict.DIFFERS: "red", Verdict.UNSEEN: "yellow"}


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


def exchanges_table(exchanges: Mapping[str, Traits]) -> Table:
    """Return a row an exchange: the table of differences."""
    table = _table(
        *("exchange", "timeframes", "candles a page", "weight", "start", "end"),
        *("rows", "empty minutes", "how far back", "forming", "files"),
    )
    for name, traits in exchanges.items():
        table.add_row(
            name,
            " ".join(_timeframes(traits)),
            f"{traits.page_limit:,}",
            f"{traits.page_weight} of {traits.weight_limit:,} in {traits.limit_interval_s:g} s",
            traits.since,
            traits.until,
            traits.order,
            "printed" if traits.prints_empty else "left out",
            _reach(traits),
            "served" if traits.serves_forming else "not served",
            "yes" if traits.bulk_url else "",
        )
    return table


def exchanges_json(exchanges: Mapping[str, Traits]) -> list[dict[str, Any]]:
    """Return the same for a script, by the names in `Traits`."""
    return [
        {
            "exchange": name,
            "ccxt_id": traits.ccxt_id,
            "dialect": traits.dialect,
            "timeframes": _timeframes(traits),
            "page_limit": traits.page_limit,
            "page_weight": traits.page_weight,
            "weight_limit": traits.weight_limit,
            "limit_interval_s": traits.limit_interval_s,
            "since": traits.since,
            "until": traits.until,
            "order": traits.order,
            "prints_empty": traits.prints_empty,
            "serves_forming": traits.serves_forming,
            "reach": traits.reach,
            "rebuilds": traits.rebuilds,
            "bulk_url": traits.bulk_url,
        }
        for name, traits in exchanges.items()
    ]


def check_table(findings: Sequence[Finding]) -> Table:
    """Return a row for each thing that was looked at."""
    table = _table("looked at", "the table says", "the exchange does", "verdict")
    for one in findings:
        colour = _COLOURS[one.verdict]
        table.add_row(one.what, escape(one.table), escape(one.seen), f"[{colour}]{one.verdict}[/{colour}]")
    return table


def check_needs(findings: Sequence[Finding]) -> str:
    """Return the values that the table would need to agree, as an entry writes them; empty if it needs none."""
    needs = {name: value for one in findings for name, value in one.needs.items()}
    return ", ".join(f"{name}={_as_code(value)}" for name, value in needs.items())


def check_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return the same for a script."""
    return [{**asdict(one), "needs": dict(one.needs)} for one in findings]


def absent_by_kind(absent: Mapping[str, int]) -> str:
    """Return `120 unexplained`, or 0."""
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(absent.items())) or "0"


def _table(*names: str, title: object = None) -> Table:
    table = Table(box=None, pad_edge=False, title=None if title is None else str(title), title_justify="left")
    for name in names:
        is_number = name in {
            "candles",
            "expected",
            "stored",
            "absent",
            "quarantined",
            "revised",
            "archive",
            "candles a page",
        }
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=name in _WHOLE)
    return table


def _timeframes(traits: Traits) -> list[Timeframe]:
    return sorted(traits.timeframes, key=lambda timeframe: timeframe.ms)


def _as_code(value: object) -> str:
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def _reach(traits: Traits) -> str:
    if traits.reach is None:
        return "all there is"
    return f"the last {traits.reach:,}" + (", older from trades" if traits.rebuilds else "")


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
