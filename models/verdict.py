"""Champion after a night, and the reason: by measurements, in words that a person reads first."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from etl.series import Series
from etl.spelling import sentence
from models.results import Comparison, Evaluation, compare, overruns, summarise

_NAMED = 3  # series that a sentence names


@dataclass(frozen=True, slots=True)
class Verdict:
    """Decision of a night.

    Attributes:
        champion: The name, in the evaluation, of the model that is champion from now on.
        reason: Why.
        comparisons: What the reason stands on: each model of the night with the champion that was.
    """

    champion: str
    reason: str
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """Participants of a comparison, by the names in its evaluation.

    Attributes:
        candidate: What the night has trained on from earlier nights.
        was_champion: None if there was none, or none that can be used.
        newcomers: Series that the night's models know and the champion does not.
        trouble: Why the champion that was cannot be used, where there was one.
        has_seen: Whether the champion that was has learned from candles that models are compared on.
        overrun: The figure by which its own cut has given far more than the budget since it was made; None if not.
    """

    candidate: str
    was_champion: str | None = None
    newcomers: Collection[Series] = ()
    trouble: str | None = None
    has_seen: bool = False
    overrun: str | None = None


def reach_verdict(evaluation: Evaluation, standing: Standing) -> Verdict:
    """Decide by VUS-PR.

    A champion is replaced by what is measurably better; or by what is not measurably worse and knows series that it
    does not. Among those the best is taken, but a baseline only if it is measurably better than the candidate, too.
    One that has learned from what is compared on stays: how good it is cannot be told there.

    None becomes champion whose cut gave far more than the budget on candles as they are, and a champion that did is
    replaced, unless all did.
    """
    was = standing.was_champion
    ranks = [one.model for one in summarise(evaluation) if one.model != was]
    loud = overruns(evaluation)
    quiet = [name for name in ranks if name not in loud]
    if was is not None and quiet and (was in loud or standing.overrun is not None):
        chosen = _preferred(evaluation, quiet, standing.candidate)
        told = f"on the test days {loud[was]}" if was in loud else f"since it was made {standing.overrun}"
        reason = f"{_titled(chosen, standing)} replaces {was}, whose cut gave far more than the alert budget: {told}."
        return Verdict(chosen, _with_winner(reason, evaluation, standing, ranks), _against(evaluation, ranks, was))
    if quiet and len(quiet) < len(ranks):
        left = "; ".join(f"{name} ({loud[name]})" for name in ranks if name in loud)
        verdict = _reach_verdict(evaluation, standing, quiet)
        return replace(verdict, reason=f"{sentence(verdict.reason)} Not considered: {left}.")
    return _reach_verdict(evaluation, standing, ranks)


def _reach_verdict(evaluation: Evaluation, standing: Standing, ranks: list[str]) -> Verdict:
    """Decide between the champion that was and `ranks`, the best first."""
    was = standing.was_champion
    if was is None:
        return Verdict(ranks[0], _first(evaluation, standing, ranks), _against(evaluation, ranks[1:], ranks[0]))
    comparisons = _against(evaluation, ranks, was)
    if standing.has_seen:
        reason = f"{was} stays champion: it has learned from candles that this night holds out, and cannot be compared."
        return Verdict(was, _with_winner(reason, evaluation, standing, ranks), comparisons)
    better = [one.model for one in comparisons if one.is_better]
    no_worse = [one.model for one in comparisons if not one.is_worse] if standing.newcomers else []
    if not (better or no_worse):
        closest = comparisons[0]
        reason = f"{was} stays champion: no model of this night is measurably better. {_said(closest)}"
        return Verdict(was, _with_winner(reason, evaluation, standing, ranks), comparisons)
    chosen = _preferred(evaluation, better or no_worse, standing.candidate)
    proof = next(one for one in comparisons if one.model == chosen)
    why = "it is measurably better" if better else f"it knows {_named(standing.newcomers)}, and is not measurably worse"
    reason = f"{_titled(chosen, standing)} replaces {was}: {why}. {_said(proof)}"
    return Verdict(chosen, _with_winner(reason, evaluation, standing, ranks), comparisons)


def _preferred(evaluation: Evaluation, names: list[str], candidate: str) -> str:
    """Return the best of `names`, whose first is; a baseline has to prove itself against the candidate."""
    best = names[0]
    if best != candidate and candidate in names and not compare(evaluation, best, candidate).is_better:
        return candidate
    return best


def _against(evaluation: Evaluation, names: Iterable[str], other: str) -> tuple[Comparison, ...]:
    return tuple(compare(evaluation, name, other) for name in names)


def _first(evaluation: Evaluation, standing: Standing, ranks: list[str]) -> str:
    chosen = ranks[0]
    vus = {one.model: one.vus_pr for one in summarise(evaluation) if one.model in ranks}
    begin = f"{standing.trouble}; the best of this night judges" if standing.trouble else "There was no champion"
    others = [name for name in vus if name != chosen]
    after = f", before {others[0]} with {vus[others[0]]:.3f}" if others else ""
    return f"{begin}. {_titled(chosen, standing)} has the highest VUS-PR, {vus[chosen]:.3f}{after}."


def _with_winner(reason: str, evaluation: Evaluation, standing: Standing, ranks: list[str]) -> str:
    """Say plainly when a baseline did better than the candidate."""
    best, candidate = ranks[0], standing.candidate
    if best == candidate or candidate not in ranks:
        return reason
    how = "measurably" if compare(evaluation, best, candidate).is_better else "though not measurably"
    return f"{sentence(reason)} Of this night's models the baseline {best} did best, {how} better than {candidate}."


def _titled(name: str, standing: Standing) -> str:
    return name if name == standing.candidate else f"The baseline {name}"


def _said(one: Comparison) -> str:
    return (
        f"VUS-PR of {one.model} less that of {one.other}: {one.difference:+.3f} "
        f"({one.low:+.3f} to {one.high:+.3f} with 90 % confidence, {one.units} units)."
    )


def _named(series: Collection[Series]) -> str:
    names = [str(one) for one in sorted(series)]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}, which that does not"
