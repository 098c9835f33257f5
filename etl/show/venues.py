"""Feeds and exchanges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from typing import Any

from rich.markup import escape
from rich.table import Table

from etl.exchanges import Traits
from etl.problems import Fault
from etl.settings import Settings
from etl.show.parts import new_table
from etl.spelling import spell_duration
from etl.timeframe import Timeframe
from etl.venues import Finding, Verdict

_COLOURS = {Verdict.AGREES: "green", Verdict.DIFFERS: "red", Verdict.UNSEEN: "yellow"}


def feeds_table(settings: Settings, findings: Mapping[str, Sequence[str]]) -> Table:
    """Return a row a feed; `findings` are what the exchanges said against it, where they were asked."""
    table = new_table(
        "feed", "exchange", "address", "symbols", "timeframes", "start", "settle", "check", title=settings.path
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
            spell_duration(feed.settle),
            "" if found is None else "[red]see below[/red]" if found else "[green]fine[/green]",
        )
    return table


def feeds_json(settings: Settings, findings: Mapping[str, Sequence[str]], warnings: Sequence[Fault]) -> dict[str, Any]:
    """Return the same for a script, with the mistakes in the file, and what may be some."""
    return {
        "file": str(settings.path),
        "feeds": {
            name: {**feed.model_dump(mode="json"), "problems": list(findings.get(name, []))}
            for name, feed in settings.feeds.items()
        },
        "faults": [str(fault) for fault in settings.faults],
        "warnings": [str(warning) for warning in warnings],
    }


def exchanges_table(exchanges: Mapping[str, Traits]) -> Table:
    """Return a row an exchange: the table of differences."""
    table = new_table(
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
    table = new_table("looked at", "the table says", "the exchange does", "verdict")
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


def _timeframes(traits: Traits) -> list[Timeframe]:
    return sorted(traits.timeframes, key=lambda timeframe: timeframe.ms)


def _as_code(value: object) -> str:
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def _reach(traits: Traits) -> str:
    if traits.reach is None:
        return "all there is"
    return f"the last {traits.reach:,}" + (", older from trades" if traits.rebuilds else "")
