"""The report of a night: one page that says who is champion now, and why, with the numbers and plots behind it.

Knows no store and no scorer: what it tells is in a `Night`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from etl.series import TimeRange
from etl.timeframe import Timeframe
from models.feedback import NAMED, Feedback
from models.page import facts, heading, page, paragraph, picture, table
from models.planting import Kind
from models.plots import draw_curves, draw_example, draw_losses, draw_recall
from models.results import Comparison, Evaluation, Example, Given, Summary, incidents_in_words, per_week, summarise


class Role(StrEnum):
    """Roles of a model in a comparison."""

    CANDIDATE = "candidate"
    CHAMPION = "champion"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Night:
    """All that a report tells of one night's training of one timeframe and scope.

    Attributes:
        scope: `all`, or the one series that the models are for.
        run: Who trained: an Airflow run, or a person's command.
        as_of: The moment as of which candles were read.
        learned, held_out: What models learned from; what their cuts are from. The test range is the evaluation's.
        roles: Each model of the evaluation, by its name there: what it is in the comparison.
        champion: The name of the one that is champion from now on.
        was_champion: The name of the one that was; None if there was none, or none that could be used.
        reason: Why, in a sentence or two that a person reads first.
        comparisons: What the reason stands on.
        seconds: By stage, in their order.
        losses: By model, epoch by epoch: what was measured on candles that are not learned.
        left_out: Series that nothing was learned from, and why.
        since: What the cut of the one that was champion really gave since it was made, by series.
        examples: Drawn as scores over time.
        environment: Versions of what trained, and the machine.
        feedback: What people said of the models' incidents since the last night.
    """

    timeframe: Timeframe
    scope: str
    run: str
    as_of: datetime
    learned: TimeRange
    held_out: TimeRange
    data_hash: str
    evaluation: Evaluation
    roles: Mapping[str, Role]
    champion: str
    was_champion: str | None
    reason: str
    comparisons: Sequence[Comparison] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    losses: Mapping[str, Sequence[float]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    since: Sequence[Given] = ()
    examples: Sequence[Example] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    feedback: Sequence[Feedback] = ()


def render(night: Night) -> str:
    """Return the report as HTML, under a megabyte."""
    summaries = summarise(night.evaluation)
    whose = "all series" if night.scope == "all" else night.scope
    sections = (
        _verdict(night, summaries),
        _comparison(night, summaries),
        _kinds(night, summaries),
        _curves(night, summaries),
        _examples(night),
        _budget(night),
        _feedback(night),
        _training(night),
        _left_out(night),
    )
    return page(f"Night: {night.timeframe}, {whose}", [part for section in sections for part in section])


def _verdict(night: Night, summaries: Sequence[Summary]) -> Iterator[str]:
    is_new = night.champion != night.was_champion
    yield paragraph(f"{'Champion from now on' if is_new else 'Still champion'}: {night.champion}", "verdict")
    yield paragraph(night.reason)
    best = summaries[0].model
    if night.roles.get(best) is Role.BASELINE:
        yield paragraph(f"A baseline wins this comparison: nothing has a higher VUS-PR than {best}.", "strange")
    end = f"{night.evaluation.test.end:%Y-%m-%d %H:%M}"
    yield paragraph(f"Candles up to {end} UTC; trained by {night.run}", "quiet")


def _comparison(night: Night, summaries: Sequence[Summary]) -> Iterator[str]:
    yield heading("The comparison")
    units, budget = summaries[0].units, night.evaluation.budget
    yield paragraph(
        f"On {night.evaluation.test}, which nobody has learned from, with anomalies planted: {units} units of one "
        "series and one seed. Precision, recall and F1 are of incidents, at each model's own cut for "
        f"{incidents_in_words(budget)} per series and week; the last column is what the cut gave on the same candles "
        "with nothing planted. Recordings hold anomalies of their own, which count as false for every model."
    )
    rows = [
        (
            one.model,
            str(night.roles.get(one.model, "")),
            *(f"{value:.3f}" for value in (one.vus_pr, one.average_precision, one.precision, one.recall, one.f1)),
            _known(one.incidents_per_week, 2),
        )
        for one in summaries
    ]
    heads = ("model", "is", "VUS-PR", "average precision", "precision", "recall", "F1", "incidents a week")
    yield table(heads, rows, numbers=6, strong=night.champion)
    if night.comparisons:
        yield heading("In pairs", 3)
        pairs = [_pair(one) for one in night.comparisons]
        yield table(("model", "against", "is", "VUS-PR more", "with 90 % confidence", "units"), pairs, numbers=3)


def _pair(one: Comparison) -> tuple[str, ...]:
    told = "measurably better" if one.is_better else "measurably worse" if one.is_worse else "not measurably other"
    return one.model, one.other, told, f"{one.difference:+.3f}", f"{one.low:+.3f} to {one.high:+.3f}", str(one.units)


def _kinds(night: Night, summaries: Sequence[Summary]) -> Iterator[str]:
    yield heading("By kind")
    yield paragraph("VUS-PR of each kind of anomaly, the candles of all others left out.")
    rows = [(one.model, *(_known(one.by_kind.get(kind), 3) for kind in Kind)) for one in summaries]
    heads = ("model", *(kind.replace("_", " ") for kind in Kind))
    yield table(heads, rows, numbers=len(Kind), strong=night.champion)
    yield paragraph("Found of each kind and size, in percent, at each model's own cut:")
    yield picture(draw_recall(summaries), "share of each kind and size that each model found")


def _curves(night: Night, summaries: Sequence[Summary]) -> Iterator[str]:
    yield heading("Precision against recall")
    yield paragraph("Of incidents, at budgets from small to large. A dot is where a model's own cut lies.")
    yield picture(draw_curves(night.evaluation, [one.model for one in summaries]), "precision against recall")


def _examples(night: Night) -> Iterator[str]:
    if night.examples:
        yield heading("Scores over time")
        yield paragraph("Dashed: the threshold. Dots: peaks of incidents. Marks at the foot: what was planted.")
    for one in night.examples:
        yield heading(f"{one.model} on {one.series}", 3)
        yield picture(draw_example(one), "scores over time")


def _budget(night: Night) -> Iterator[str]:
    yield heading("The budget")
    asked = f"Asked: {incidents_in_words(night.evaluation.budget)} per series and week."
    if not night.since:
        yield paragraph(f"{asked} There is no champion yet whose cut has had to prove itself.")
        return
    rows = [
        (str(one.series), f"{one.weeks:.2f}", str(one.incidents), _known(per_week([one]), 2)) for one in night.since
    ]
    weeks, incidents = sum(one.weeks for one in night.since), sum(one.incidents for one in night.since)
    rows.append(("all", f"{weeks:.2f}", str(incidents), _known(per_week(night.since), 2)))
    yield paragraph(f"{asked} Given by {night.since[0].model} since its cut was made:")
    yield table(("series", "weeks", "incidents", "a week"), rows, numbers=3, strong="all")


def _feedback(night: Night) -> Iterator[str]:
    yield heading("What people said")
    if not night.feedback:
        yield paragraph("There was no incident since the last night, and nobody said anything of an older one.")
        return
    yield paragraph(
        "Of the incidents since the last night, and of older ones that people said something of since. Seen are those "
        "that were acknowledged or judged; false alarms are told in percent of these."
    )
    rows = [
        (one.model, str(one.incidents), str(one.seen), str(len(one.false_alarms)), _percent(one.false_share))
        for one in night.feedback
    ]
    yield table(("model", "incidents", "seen", "false alarms", "of those seen"), rows, numbers=4)
    false_alarms = sorted((alarm for one in night.feedback for alarm in one.false_alarms), key=lambda one: one.kind)
    if false_alarms:
        named = [
            (one.kind.replace("_", " "), str(one.series), f"{one.peak:%Y-%m-%d %H:%M}", one.note, str(one.incident_id))
            for one in false_alarms[:NAMED]
        ]
        yield table(("false alarm", "series", "at", "why", "incident"), named, numbers=1)
    if (more := len(false_alarms) - NAMED) > 0:
        yield paragraph(f"And {more:,} more: chandler incidents list --false --history", "quiet")


def _training(night: Night) -> Iterator[str]:
    yield heading("The training")
    told = {
        "learned": str(night.learned),
        "held out": str(night.held_out),
        "compared on": str(night.evaluation.test),
        "candles as of": night.as_of.isoformat(sep=" ", timespec="seconds"),
        "SHA-256 of the candles": night.data_hash,
    }
    seconds = {stage: f"{taken:.1f} s" for stage, taken in night.seconds.items()}
    yield facts({**told, **seconds, **night.environment})
    if losses := {name: values for name, values in night.losses.items() if values}:
        yield heading("Loss by epoch, on candles that are not learned", 3)
        yield picture(draw_losses(losses), "loss by epoch")


def _left_out(night: Night) -> Iterator[str]:
    if night.left_out:
        yield heading("Left out")
        yield facts(night.left_out)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _known(value: float | None, digits: int) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"
