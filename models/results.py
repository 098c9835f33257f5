"""Results of a comparison of models: values by unit, so that two models can be compared in pairs, and their sums.

A unit is one series with the anomalies of one seed. Knows neither candles nor scorers; see `models.evaluation`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etl.series import Series, TimeRange
from models.metrics import event_scores

DRAWS = 4000
LEAST = 0.01
"""The least difference of VUS-PR that is called one: units of a series share their candles, so that intervals are too
narrow, and a change of champion for nothing is no gain."""
TOO_MANY, WILD = 3, 10
"""Times the budget, and incidents of one series in a wild week, that a cut may give."""
MOST_ANOMALIES = 0.15
"""The share of candles that a cut may call anomalies; at `12h`, where it is greatest, some 0.07 is as it should be."""
_LOW, _HIGH = 5, 95  # percent: what lies above both is above with 95 % confidence, what lies between with 90 %


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one model on one unit.

    Attributes:
        model: Its name in this evaluation.
        vus_pr: Over all kinds.
        average_precision: Candle by candle, over all kinds.
        by_kind: VUS-PR of each kind, the candles of all others left out.
        planted: How many were planted, by `kind/size`.
        found: How many of them an incident tells of, at the model's own cut.
        incidents: How many there were at that cut.
        hits: How many of these tell of something planted.
        curve: (incidents, hits, found) at growing shares of candles above the cut.
    """

    model: str
    series: Series
    seed: int
    vus_pr: float
    average_precision: float
    by_kind: Mapping[str, float]
    planted: Mapping[str, int]
    found: Mapping[str, int]
    incidents: int
    hits: int
    curve: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """Number of incidents that a model's cut gave on candles as they are, of one series.

    Attributes:
        anomalies, candles: Numbers of both; zeros in evaluations of earlier versions.
    """

    model: str
    series: Series
    weeks: float
    incidents: int
    anomalies: int = 0
    candles: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """Result of one model on all units; means of what is a number of a unit, sums of what is counted.

    Attributes:
        by_kind: VUS-PR by kind.
        recall_by: Share found, by `kind/size`, and by kind.
        incidents_per_week: Of a series, on candles as they are; None where they were not scored.
    """

    model: str
    units: int
    vus_pr: float
    average_precision: float
    precision: float
    recall: float
    f1: float
    by_kind: Mapping[str, float]
    recall_by: Mapping[str, float]
    incidents_per_week: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """By how much the VUS-PR of `model` lies above that of `other`, on the units that both know.

    Attributes:
        low, high: Between them the mean difference lies with 90 % confidence.
    """

    model: str
    other: str
    units: int
    difference: float
    low: float
    high: float

    @property
    def is_better(self) -> bool:
        """True if `model` is measurably better."""
        return self.low > 0 and self.difference >= LEAST

    @property
    def is_worse(self) -> bool:
        """True if `model` is measurably worse."""
        return self.high < 0 and self.difference <= -LEAST


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of a comparison.

    Attributes:
        test: The range that was scored; nothing of it was learned, and no cut comes from it.
        budget: Incidents per series and week that every cut was made for.
    """

    test: TimeRange
    seeds: tuple[int, ...]
    budget: float
    outcomes: tuple[Outcome, ...]
    given: tuple[Given, ...] = field(default=())

    @property
    def models(self) -> tuple[str, ...]:
        """Names, in the order in which they were evaluated."""
        return tuple(dict.fromkeys(one.model for one in self.outcomes))

    def of(self, model: str) -> tuple[Outcome, ...]:
        """Return the outcomes of one model."""
        return tuple(one for one in self.outcomes if one.model == model)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes, for JSON."""
        return {
            "test": self.test.to_dict(),
            "seeds": list(self.seeds),
            "budget": self.budget,
            "outcomes": [_written(asdict(one) | {"series": str(one.series)}) for one in self.outcomes],
            "given": [asdict(one) | {"series": str(one.series)} for one in self.given],
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Evaluation:
        """Read what `to_json` returned."""
        start, end = (datetime.fromisoformat(written["test"][name]) for name in ("start", "end"))
        return cls(
            TimeRange(start, end),
            tuple(written["seeds"]),
            written["budget"],
            tuple(Outcome(**_read(one)) for one in written["outcomes"]),
            tuple(Given(**one | {"series": Series.parse(one["series"])}) for one in written["given"]),
        )


@dataclass(frozen=True, slots=True)
class Example:
    """One model's scores of one series with what was planted into it, to be drawn.

    Attributes:
        open_time_ms: (n,) ascending.
        scores: (n,) joined; NaN where there is no candle.
        incidents: (k, 2) first and last slot.
        planted: What was planted: kind, size, first and last slot.
    """

    model: str
    series: Series
    open_time_ms: NDArray[np.int64]
    scores: NDArray[np.float64]
    threshold: float
    incidents: NDArray[np.int64]
    planted: tuple[tuple[str, str, int, int], ...]


def summarise(evaluation: Evaluation) -> list[Summary]:
    """Return one summary for each model, the best VUS-PR first."""
    summaries = [_summary(name, evaluation.of(name), evaluation.given) for name in evaluation.models]
    return sorted(summaries, key=lambda one: one.vus_pr, reverse=True)


def compare(evaluation: Evaluation, model: str, other: str, seed: int = 0) -> Comparison:
    """Compare two models by the units that both know: a paired bootstrap of the mean difference of VUS-PR.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals).

    Raises:
        ValueError: There is no unit that both know.
    """
    own, its = ({(o.series, o.seed): o.vus_pr for o in evaluation.of(name)} for name in (model, other))
    units = sorted(own.keys() & its.keys())
    if not units:
        raise ValueError(f"{model} and {other} know no series in common")
    differences = np.array([own[unit] - its[unit] for unit in units])
    drawn = np.random.default_rng(seed).integers(0, len(units), (DRAWS, len(units)))
    low, high = np.percentile(differences[drawn].mean(axis=1), (_LOW, _HIGH))
    return Comparison(model, other, len(units), float(differences.mean()), float(low), float(high))


def overruns(evaluation: Evaluation) -> dict[str, str]:
    """Return the models whose cut gave far more on candles as they are than was asked for, each with the excess."""
    by_model = {name: [one for one in evaluation.given if one.model == name] for name in evaluation.models}
    found = {name: excess(given, evaluation.budget) for name, given in by_model.items()}
    return {name: said for name, said in found.items() if said is not None}


def excess(given: Sequence[Given], budget: float) -> str | None:
    """Return the figure by which a cut gave far more than was asked for; None if it did not.

    TOO_MANY times as many incidents, and as many more than a wild week has; or so many anomalies that they run into one
    another, and few incidents of months each are no budget that is kept.

    Args:
        budget: Incidents per series and week.
    """
    asked = budget * sum(one.weeks for one in given)
    if sum(one.incidents for one in given) > TOO_MANY * asked + WILD * len(given):
        return f"{per_week(given) or math.inf:.1f} incidents a week against a budget of {budget:.2g}"
    anomalies, candles = sum(one.anomalies for one in given), sum(one.candles for one in given)
    if anomalies > MOST_ANOMALIES * candles:
        return f"{anomalies / candles:.0%} of the candles are anomalies, which run into one another"
    return None


def incidents_in_words(count: float) -> str:
    """Return a number of incidents, such as a budget's: `1 incident`, `0.23 incidents`."""
    said = f"{count:.3g}"
    return f"{said} incident" if said == "1" else f"{said} incidents"


def per_week(given: Iterable[Given]) -> float | None:
    """Return incidents per series and week; None if nothing was scored."""
    given = list(given)
    weeks = sum(one.weeks for one in given)
    return sum(one.incidents for one in given) / weeks if weeks else None


def _summary(name: str, outcomes: Sequence[Outcome], given: Sequence[Given]) -> Summary:
    planted, found = (_total(getattr(one, what) for one in outcomes) for what in ("planted", "found"))
    hits, incidents = (sum(getattr(one, what) for one in outcomes) for what in ("hits", "incidents"))
    precision, recall, f1 = event_scores(incidents, hits, sum(planted.values()), sum(found.values()))
    kinds = dict.fromkeys(cell.partition("/")[0] for cell in planted)
    recall_by = {cell: found.get(cell, 0) / count for cell, count in planted.items()}
    for kind in kinds:
        cells = [cell for cell in planted if cell.partition("/")[0] == kind]
        recall_by[kind] = sum(found.get(cell, 0) for cell in cells) / sum(planted[cell] for cell in cells)
    return Summary(
        name,
        len(outcomes),
        vus_pr=_mean(one.vus_pr for one in outcomes),
        average_precision=_mean(one.average_precision for one in outcomes),
        precision=precision,
        recall=recall,
        f1=f1,
        by_kind={kind: _mean(one.by_kind.get(kind, math.nan) for one in outcomes) for kind in kinds},
        recall_by=recall_by,
        incidents_per_week=per_week(one for one in given if one.model == name),
    )


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _written(outcome: dict[str, Any]) -> dict[str, Any]:
    # JSON knows no NaN: a kind of which nothing was planted in a unit has no number.
    by_kind = {kind: value for kind, value in outcome["by_kind"].items() if not math.isnan(value)}
    return outcome | {"by_kind": by_kind, "curve": [list(point) for point in outcome["curve"]]}


def _read(outcome: Mapping[str, Any]) -> dict[str, Any]:
    curve = tuple((int(a), int(b), int(c)) for a, b, c in outcome["curve"])
    return dict(outcome) | {"series": Series.parse(outcome["series"]), "curve": curve}
