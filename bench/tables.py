"""Tables of a comparison of models, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from etl.series import Series
from models.planting import Kind
from models.results import Evaluation, Given, compare, per_week, summarise


@dataclass(frozen=True, slots=True)
class Week:
    """Result of one model's cut in one week of one series, and how volatile that week was."""

    given: Given
    volatility: float


@dataclass(frozen=True, slots=True)
class Crash:
    """Verdict of one model on the crash of one series.

    Attributes:
        first: The first candle that it flagged.
        rank: Of its strangest minute within the hour, among the minutes of the month.
    """

    model: str
    series: Series
    first: datetime | None
    rank: int
    minutes: int


def write_comparison(name: str, evaluation: Evaluation) -> str:
    """Return scorers by metrics, by kinds, and the best of them against each other in pairs."""
    summaries = summarise(evaluation)
    best = summaries[0]
    planted = sum(sum(one.planted.values()) for one in evaluation.of(best.model))
    rows = []
    for one in summaries:
        numbers = (one.vus_pr, one.average_precision, one.precision, one.recall, one.f1)
        pair = compare(evaluation, best.model, one.model)
        gain = "" if one is best else f"{pair.difference:+.3f} ({pair.low:+.3f} to {pair.high:+.3f})"
        rows.append((one.model, *(f"{number:.3f}" for number in numbers), f"{one.incidents_per_week or 0:.2f}", gain))
    heads = (
        "",
        "VUS-PR",
        "average precision",
        "precision",
        "recall",
        "F1",
        "incidents a week",
        f"{best.model} has more",
    )
    kinds = [kind.replace("_", " ") for kind in Kind]
    vus = [(one.model, *(f"{one.by_kind.get(kind, np.nan):.3f}" for kind in Kind)) for one in summaries]
    recall = [(one.model, *(f"{100 * one.recall_by.get(kind, 0):.0f}" for kind in Kind)) for one in summaries]
    return "\n\n".join(
        (
            f"### {name}: {best.units} weeks of one series each, {planted:,} anomalies",
            markdown(heads, rows),
            "VUS-PR by kind:",
            markdown(("", *kinds), vus),
            "Recall by kind at the budget's cut, in percent:",
            markdown(("", *kinds), recall),
        )
    )


def write_budget(weeks: Mapping[str, Sequence[Week]]) -> str:
    """Return what cuts gave, in calm weeks and volatile ones: of each series, the wilder half of its weeks."""
    everything = [week for own in weeks.values() for week in own]
    split = {id(week): is_wild for week, is_wild in _split(everything)}
    rows = []
    for model in dict.fromkeys(week.given.model for week in everything):
        for name, own in [*weeks.items(), ("all", everything)]:
            its = [week for week in own if week.given.model == model]
            halves = [[week for week in its if split[id(week)] is is_wild] for is_wild in (False, True)]
            rates = (per_week(week.given for week in part) for part in (its, *halves))
            cells = ("" if rate is None else f"{rate:.2f}" for rate in rates)
            rows.append((model, name, f"{sum(week.given.weeks for week in its):.0f}", *cells))
    heads = ("", "recordings", "weeks of a series", "incidents a week", "in calm weeks", "in volatile weeks")
    return f"### Asked for 1 incident per series and week\n\n{markdown(heads, rows)}"


def write_crash(crashes: Iterable[Crash]) -> str:
    """Return when each scorer saw the crash first, and how strange it was to it."""
    rows = []
    for one in sorted(crashes, key=lambda crash: (str(crash.series), crash.model)):
        first = "not" if one.first is None else f"{one.first:%H:%M}"
        rows.append((str(one.series), one.model, first, f"{one.rank:,}", f"{one.minutes:,}"))
    heads = ("series", "scorer", "first flagged", "rank of its strangest minute", "of minutes")
    return f"### The crash of 2021-12-04, 05:00 to 06:00 UTC\n\n{markdown(heads, rows)}"


def write_tutorial(name: str, evaluation: Evaluation) -> str:
    """Return what the constant cut of the tutorials gives."""
    [one] = summarise(evaluation)
    by_series = [
        (str(given.series), f"{given.incidents / given.weeks:.1f}") for given in evaluation.given if given.weeks
    ]
    told = (
        one.model,
        *(f"{value:.3f}" for value in (one.precision, one.recall, one.f1)),
        f"{one.incidents_per_week:.1f}",
    )
    heads = ("", "precision", "recall", "F1", "incidents a week")
    tables = (markdown(heads, [told]), markdown(("week of", "incidents a week"), by_series))
    return f"### {name}: the constant cut\n\n" + "\n\n".join(tables)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _split(weeks: Sequence[Week]) -> Iterable[tuple[Week, bool]]:
    """Say of each week whether it is among the wilder half of its series' weeks."""
    middle: dict[Series, float] = {}
    for series in {week.given.series for week in weeks}:
        middle[series] = float(np.median([week.volatility for week in weeks if week.given.series == series]))
    for week in weeks:
        yield week, week.volatility > middle[week.given.series]
