"""Dossier of an incident, section by section, as text: for the terminal and for the page in Airflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from etl.dossiers import Dossier
from etl.incidents import Evidence, Incident, Numbers, Witness
from etl.show.parts import to_minute
from etl.spelling import once_in
from etl.warehouse import IncidentChange, Telling

_SEEN = {True: "sees it", False: "does not", None: "cannot tell"}
_BAR = 24  # characters of a share of 1


@dataclass(frozen=True, slots=True)
class Section:
    """A table under a title.

    Attributes:
        rows: As many cells each as there are heads.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sections(dossier: Dossier) -> Iterator[Section]:
    """Yield all that an incident is judged by, who was told of it, and what became of it."""
    one = dossier.incident
    evidence = one.found.evidence
    yield _numbers(evidence)
    if evidence.fired:
        rules = tuple((in_words(fired.kind), fired.why) for fired in evidence.fired)
        yield Section("what it looks like", ("rule", "why"), rules)
    if evidence.shares:
        yield _shares(evidence.shares)
    yield _witnesses(evidence.witnesses)
    if one.opinion is not None:
        told = tuple((in_words(name), str(value)) for name, value in one.opinion.items())
        yield Section("a language model's opinion", ("what", "said"), told)
    yield _tellings(dossier.tellings, is_history=one.is_history)
    yield _changes(dossier.changes)


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


def _numbers(evidence: Evidence) -> Section:
    numbers = evidence.numbers
    trades = "" if numbers.trades is None else f"{numbers.trades:,}"
    last = "" if evidence.last_close is None else number(evidence.last_close)
    usual = "" if evidence.usual_volume is None else number(evidence.usual_volume)
    rows = (
        ("this candle", *_prices(numbers), trades, move(evidence.move_pct)),
        ("before it", "", "", "", last, usual, "", ""),
    )
    return Section("at the peak", ("candle", "open", "high", "low", "close", "volume", "trades", "move"), rows)


def _shares(shares: Mapping[str, float]) -> Section:
    rows = (
        (in_words(name), f"{share:.0%}", "█" * round(share * _BAR) or "▏")
        for name, share in sorted(shares.items(), key=lambda one: -one[1])
    )
    return Section("what made it strange", ("feature", "share", ""), tuple(rows))


def _witnesses(witnesses: Sequence[Witness]) -> Section:
    if not witnesses:
        return Section("no other venue to compare it with", (), ())
    rows = (
        (
            str(one.series),
            _SEEN[one.sees],
            *((("",) * 5) if one.numbers is None else _prices(one.numbers)),
            move(one.move_pct),
            one.why,
        )
        for one in witnesses
    )
    heads = ("series", "and it", "open", "high", "low", "close", "volume", "move", "why")
    return Section("other venues", heads, tuple(rows))


def _tellings(tellings: Sequence[Telling], *, is_history: bool) -> Section:
    """Return a line for each message that tells of an alert, or for the alert if there is none."""
    if not tellings:
        return Section("nobody was told: it is history" if is_history else "nobody was told", (), ())
    rows: list[tuple[str, ...]] = []
    for alert in tellings:
        head = (str(alert.alert_id), alert.severity, to_minute(alert.created_at), to_minute(alert.planned_at))
        if not alert.deliveries:
            rows.append((*head, "", "to be decided" if alert.planned_at is None else "", "", "", alert.outcome))
        rows += [
            (*head, one.channel, one.state, str(one.tries), to_minute(one.sent_at), one.outcome or alert.outcome)
            for one in alert.deliveries
        ]
    heads = ("alert", "severity", "written", "decided", "channel", "state", "tries", "sent", "outcome")
    return Section("who was told", heads, tuple(rows))


def _changes(changes: Sequence[IncidentChange]) -> Section:
    rows = ((to_minute(one.changed_at), one.change, one.detail, one.run) for one in changes)
    return Section("what became of it", ("when", "what", "detail", "by run"), tuple(rows))


def _prices(numbers: Numbers) -> tuple[str, ...]:
    return tuple(number(value) for value in (numbers.open, numbers.high, numbers.low, numbers.close, numbers.volume))
