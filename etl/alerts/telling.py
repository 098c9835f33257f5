"""One incident in words: what, where, when, how unusual, and by what it is judged. Markdown, for a phone's screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from etl.alerts.phrases import how_seldom, number, percent, plain, span_in_words, times
from etl.incidents import Evidence, Incident, Kind, Numbers, Scope, Witness
from etl.spelling import counted

NAMES: Mapping[Kind, str] = {kind: kind.replace("_", " ") for kind in Kind} | {
    Kind.WASH_LIKE_VOLUME: "wash-like volume",
    Kind.SPREAD: "price apart from other venues",
    Kind.UNUSUAL: "unusual candles",
}
_OF_VOLUME = frozenset({Kind.VOLUME_BURST, Kind.WASH_LIKE_VOLUME})
_SCOPES = {
    Scope.MARKET: "seen on other exchanges too",
    Scope.UNCONFIRMED: "no other exchange to compare with",
}
_SEES = {True: "shows it too", False: "does not show it", None: "cannot tell"}
_LEAST_SHARE = 0.05
_MOST_RULES, _MOST_WITNESSES = 3, 4
_WHY, _EXPLANATION = 160, 400


def place(incident: Incident) -> str:
    """Return where it is: `BTC/USDT on binance`."""
    series = incident.found.series
    return f"{series.symbol} on {series.exchange}"


def gist(incident: Incident) -> str:
    """Return what it is, by its most telling number: `crash, -13.1 %`."""
    found, name = incident.found, NAMES[incident.found.kind]
    ratio = _volume_ratio(found.evidence)
    if found.kind in _OF_VOLUME and ratio is not None:
        return f"{name}, {times(ratio)} times the usual"
    if found.kind is Kind.FROZEN_PRICE:
        return f"{name} at {number(found.evidence.numbers.close)}"
    return name if found.evidence.move_pct is None else f"{name}, {percent(found.evidence.move_pct)}"


def headline(incident: Incident) -> str:
    """Return where, when, how seldom and who saw it."""
    found = incident.found
    parts = [span_in_words(found.time_range, is_over=found.is_over)]
    if found.once_in_days is not None:
        parts.append(how_seldom(found.once_in_days))
    parts.append(_SCOPES.get(found.scope, f"seen on {found.series.exchange} alone"))
    return f"**{place(incident)}, {found.series.timeframe}**: {'; '.join(parts)}."


def line(incident: Incident) -> str:
    """Return all of it in one line of a list."""
    found = incident.found
    seldom = "" if found.once_in_days is None else f", {how_seldom(found.once_in_days)}"
    where = f"**{found.series.symbol}** on {found.series.exchange}, {found.series.timeframe}"
    when = f"{found.time_range.start:%m-%d %H:%M}{seldom}"
    return f"- {where}: {gist(incident)}, {when} ({found.severity}, no. {incident.id})"


def details(incident: Incident) -> Iterator[str]:
    """Yield what it is judged by, in lines of a list: what matters most first."""
    found, evidence = incident.found, incident.found.evidence
    change = "" if evidence.move_pct is None else f"; {percent(evidence.move_pct)} from {number(evidence.last_close)}"
    day = "" if found.peak.date() == found.time_range.start.date() else f"{found.peak:%m-%d} "
    yield f"- Peak {day}{found.peak:%H:%M}: {_prices(evidence.numbers)}{change}"
    yield f"- {_volume(evidence, found.series.symbol.partition('/')[0])}"
    for fired in evidence.fired[:_MOST_RULES]:
        yield f"- {NAMES[fired.kind].capitalize()}: {plain(fired.why, _WHY)}"
    for witness in evidence.witnesses[:_MOST_WITNESSES]:
        yield f"- {_witness(witness, found.peak)}"
    if incident.opinion:
        yield f"- {_opinion(incident.opinion)}"
    if shares := _shares(evidence.shares):
        by = "" if incident.model is None else f" (model {plain(incident.model, 40)})"
        yield f"- Made by{by}: {shares}"


def _prices(numbers: Numbers) -> str:
    names = ("open", "high", "low", "close")
    return ", ".join(f"{name} {number(getattr(numbers, name))}" for name in names)


def _volume(evidence: Evidence, unit: str) -> str:
    ratio = _volume_ratio(evidence)
    usual = "" if ratio is None else f", {times(ratio)} times the usual"
    trades = "" if evidence.numbers.trades is None else f"; {counted(evidence.numbers.trades, 'trade')}"
    return f"Volume {number(evidence.numbers.volume)} {unit}{usual}{trades}"


def _volume_ratio(evidence: Evidence) -> float | None:
    return evidence.numbers.volume / evidence.usual_volume if evidence.usual_volume else None


def _witness(witness: Witness, peak: datetime) -> str:
    """Return whether another venue shows it, by what, and its candle at the peak."""
    why = plain(witness.why, _WHY).removeprefix("cannot tell: ")
    own, said = witness.numbers, f"{witness.series.exchange} ({witness.series.symbol}) {_SEES[witness.sees]}"
    if why:
        said += f": {why}"
    if own is not None:
        said += f"; at {peak:%H:%M} high {number(own.high)}, low {number(own.low)}, close {number(own.close)}"
    return said


def _shares(shares: Mapping[str, float]) -> str:
    """Return the features that contributed most; nothing of those that hardly did."""
    worst = sorted(shares.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(
        f"{plain(name.replace('_', ' '), 30)} {100 * share:.0f} %" for name, share in worst[:3] if share >= _LEAST_SHARE
    )


def _opinion(opinion: Mapping[str, Any]) -> str:
    """Return what a language model said, and that it was one that said so. Nothing in it is taken on trust."""
    confidence = opinion.get("confidence")
    sure = f", {100 * confidence:.0f} % sure" if isinstance(confidence, float | int) and 0 <= confidence <= 1 else ""
    kind = plain(opinion.get("kind", "?"), 30).replace("_", " ")
    action, model = plain(opinion.get("action", "?"), 20), plain(opinion.get("model", "?"), 40)
    said = plain(opinion.get("explanation", ""), _EXPLANATION)
    return f"A language model ({model}{sure}) thinks: {kind}. “{said}” It would {action}. Nobody has checked that."
