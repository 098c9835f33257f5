"""The report of a night: one page that says who is champion now, and why, with the numbers and plots behind it.

The page holds all that it shows: no script, nothing from any other host. Knows no store and no scorer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from etl.series import TimeRange
from etl.timeframe import Timeframe
from models.results import Comparison, Evaluation, Example, Given


class Role(StrEnum):
    """What a model is in a comparison."""

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


def render(night: Night) -> str:
    """Return the report as HTML, under a megabyte."""
    return f"<!doctype html><title>Night {night.timeframe}</title><p>{night.reason}</p>"
