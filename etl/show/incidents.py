"""Incidents in a table, and one of them with all that it is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etl.dossiers import Dossier
from etl.incidents import Evidence, Incident, IncidentState, Numbers, Severity, Witness
from etl.show.candlesticks import Mark, draw_candles
from etl.show.parts import new_table, to_iso, to_minute
from etl.warehouse import IncidentChange, Telling

_SEVERITIES = {Severity.LOW: "", Severity.HIGH: "yellow", Severity.CRITICAL: "red"}
_STATES = {
    IncidentState.OPEN: "bold",
    IncidentState.UPDATED: "bold",
    IncidentState.CLOSED: "",
    IncidentState.WITHDRAWN: "dim",
}
_SEEN = {True: "sees it", False: "does not", None: "cannot tell"}
_BAR = 24  # characters of a share of 1
_UNITS = ((365.25, "years"), (1.0, "days"), (1 / 24, "hours"), (1 / 1440, "minutes"))


def incidents_table(incidents: Sequence[Incident]) -> Table:
    """Return a line an incident."""
    table = new_table("id", "series", "peak", "kind", "scope", "severity", "state", "once in", "acknowledged", "note")
    for one in incidents:
        found = one.found
        table.add_row(
            str(one.id),
            str(found.series),
            to_minute(found.peak),
            in_words(found.kind),
            found.scope,
            Text(found.severity, style=_SEVERITIES[found.severity]),
            f"{one.state}{', history' if one.is_history else ''}",
            once_in(found.once_in_days),
            said_of(one),
            Text(one.note),
            style=_STATES[one.state],
        )
    return table


def incident_json(one: Incident) -> dict[str, Any]:
    """Return all that is known of an incident for a script, but for what became of it."""
    found = one.found
    return {
        "id": one.id,
        "series": str(found.series),
        "detector": found.detector.value,
        "model": one.model,
        **found.time_range.to_dict(),
        "peak": to_iso(found.peak),
        "kind": found.kind.value,
        "scope": found.scope.value,
        "severity": found.severity.value,
        "state": one.state.value,
        "reason": one.reason,
        "score": found.score,
        "once_in_days": found.once_in_days,
        "is_history": one.is_history,
        "opened_at": to_iso(one.opened_at),
        "updated_at": to_iso(one.updated_at),
        "acknowledged_at": to_iso(one.acknowledged_at),
        "is_false": one.is_false,
        "note": one.note,
        "evidence": found.evidence.to_json(),
        "opinion": None if one.opinion is None else dict(one.opinion),
    }


def dossier_json(dossier: Dossier) -> dict[str, Any]:
    """Return the same with the candles around it, who was told, and what became of it."""
    tellings = [
        {
            **asdict(telling),
            "created_at": to_iso(telling.created_at),
            "planned_at": to_iso(telling.planned_at),
            "deliveries": [
                {**asdict(one), "next_try": to_iso(one.next_try), "sent_at": to_iso(one.sent_at)}
                for one in telling.deliveries
            ],
        }
        for telling in dossier.tellings
    ]
    return {
        **incident_json(dossier.incident),
        "alerts": tellings,
        "changes": [{**asdict(change), "changed_at": to_iso(change.changed_at)} for change in dossier.changes],
        "candles": [{**each, "open_time": to_iso(each["open_time"])} for each in dossier.candles.to_pylist()],
    }


def dossier_parts(dossier: Dossier, width: int) -> Iterator[RenderableType]:
    """Yield what there is to judge an incident by, part by part.

    Args:
        width: How many characters a line of the chart may have.
    """
    one = dossier.incident
    found, evidence = one.found, one.found.evidence
    yield from _head(one)
    mark = Mark(found.time_range, found.peak)
    yield Text()
    yield draw_candles(dossier.candles, found.series.timeframe, dossier.around, mark, width=width)
    yield Text()
    yield numbers_table(evidence)
    yield Text()
    for fired in evidence.fired:
        yield Text.assemble((f"{in_words(fired.kind)}: ", "bold"), fired.why)
    if evidence.shares:
        yield Text("\nwhat made it strange")
        yield _shares(evidence.shares)
    yield Text("\nother venues" if evidence.witnesses else "\nno other venue to compare it with")
    if evidence.witnesses:
        yield witnesses_table(evidence.witnesses)
    if one.opinion is not None:
        yield Text("\na language model's opinion")
        yield _facts(one.opinion)
    yield Text("\nwho was told" if dossier.tellings else f"\nnobody was told{': it is history' * one.is_history}")
    if dossier.tellings:
        yield tellings_table(dossier.tellings)
    yield Text("\nwhat became of it")
    yield changes_table(dossier.changes)
    if one.acknowledged_at is None:
        yield Text(f"\nSeen: chandler incidents acknowledge {one.id} --note ...")
    if one.is_false is None:
        yield Text(f"If it is a false alarm: chandler incidents false {one.id} --note ...")


def numbers_table(evidence: Evidence) -> Table:
    """Return the candle at the peak, and what was usual before."""
    table = new_table("at the peak", "open", "high", "low", "close", "volume", "trades", "move")
    numbers = evidence.numbers
    trades = "" if numbers.trades is None else f"{numbers.trades:,}"
    table.add_row("this candle", *_prices(numbers), trades, move(evidence.move_pct))
    last = "" if evidence.last_close is None else number(evidence.last_close)
    usual = "" if evidence.usual_volume is None else number(evidence.usual_volume)
    table.add_row("before it", "", "", "", last, usual, "", "", style="dim")
    return table


def witnesses_table(witnesses: Sequence[Witness]) -> Table:
    """Return what other venues show, a line each."""
    table = new_table("series", "and it", "open", "high", "low", "close", "volume", "move", "why")
    for one in witnesses:
        prices = [""] * 5 if one.numbers is None else _prices(one.numbers)
        table.add_row(str(one.series), _SEEN[one.sees], *prices, move(one.move_pct), Text(one.why))
    return table


def tellings_table(tellings: Sequence[Telling]) -> Table:
    """Return a line for each message that tells of an alert, or for the alert if there is none."""
    table = new_table("alert", "severity", "written", "decided", "channel", "state", "tries", "sent", "outcome")
    for alert in tellings:
        head = (str(alert.alert_id), alert.severity, to_minute(alert.created_at), to_minute(alert.planned_at))
        if not alert.deliveries:
            table.add_row(*head, "", "to be decided" if alert.planned_at is None else "", "", "", Text(alert.outcome))
        for one in alert.deliveries:
            sent = to_minute(one.sent_at)
            table.add_row(*head, one.channel, one.state, str(one.tries), sent, Text(one.outcome or alert.outcome))
    return table


def changes_table(changes: Sequence[IncidentChange]) -> Table:
    """Return what became of an incident, a line each."""
    table = new_table("when", "what", "detail", "by run")
    for one in changes:
        table.add_row(to_minute(one.changed_at), one.change, Text(one.detail), Text(one.run))
    return table


def once_in(days: float | None) -> str:
    """Say how seldom something is: `40 days`; nothing if nobody knows."""
    if days is None:
        return ""
    for width, unit in _UNITS:
        if days >= 1.95 * width or unit == "minutes":
            break
    return f"{days / width:,.0f} {unit}"


def said_of(one: Incident) -> str:
    """Say what a person has said of an incident."""
    if one.is_false is not None:
        return "false alarm" if one.is_false else "true alarm"
    return to_minute(one.acknowledged_at)


def in_words(kind: str) -> str:
    """Return a kind as people write it."""
    return kind.replace("_", " ")


def move(pct: float | None) -> str:
    """Return a move in percent with its sign; nothing if it is not known."""
    return "" if pct is None else f"{pct:+.2f} %"


def number(value: float) -> str:
    """Return a number in full."""
    return f"{value:,.12g}"


def summary_lines(one: Incident) -> list[str]:
    """Return what an incident is, in sentences."""
    found = one.found
    count = found.time_range.count(found.series.timeframe)
    judged = f", by {one.model}" if one.model else f", found by {found.detector}"
    seldom = f", such as once in {once_in(found.once_in_days)}" if found.once_in_days is not None else ""
    candles = f"{count:,} {'candle' if count == 1 else 'candles'}"
    lines = [
        f"{found.time_range}, {candles}, strangest at {to_minute(found.peak)}{seldom}{judged}",
        f"{one.state}: {one.reason}{'; history, of which nobody is told' if one.is_history else ''}",
    ]
    if one.acknowledged_at is not None:
        said = {True: "a false alarm", False: "a true alarm", None: "seen"}[one.is_false]
        lines.append(f"{said}, as somebody said at {to_minute(one.acknowledged_at)}: {one.note or 'no note'}")
    return lines


def _head(one: Incident) -> Iterator[Text]:
    found = one.found
    yield Text.assemble(
        (f"incident {one.id}  {found.series}  ", "bold"),
        f"{in_words(found.kind)}, {found.scope}, ",
        (found.severity, _SEVERITIES[found.severity]),
    )
    for line in summary_lines(one):
        yield Text(line)


def _shares(shares: Mapping[str, float]) -> Table:
    table = new_table("feature", "share", "")
    for name, share in sorted(shares.items(), key=lambda one: -one[1]):
        table.add_row(in_words(name), f"{share:.0%}", "█" * round(share * _BAR) or "▏")
    return table


def _facts(told: Mapping[str, Any]) -> Table:
    table = new_table("what", "said")
    for name, value in told.items():
        table.add_row(in_words(name), Text(str(value)))
    return table


def _prices(numbers: Numbers) -> list[str]:
    return [number(value) for value in (numbers.open, numbers.high, numbers.low, numbers.close, numbers.volume)]
