"""Result of a night: it goes into the registry in one transaction, and to people as a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from etl.settings import Settings
from etl.warehouse import Warehouse
from models.artifact import Artifact
from models.registry import Draft, Model, State, champion, decide, list_models, prune
from models.report import Night, Role
from models.results import Given, incidents_in_words, per_week, summarise
from models.targets import Target

COLUMNS = ("model", "VUS-PR", "precision", "recall", "F1", "incidents a week")


@dataclass(frozen=True, slots=True)
class Trained:
    """One night's training of one target.

    Attributes:
        night: What was measured and decided, as the report tells it; None if this run had decided before.
        candidate: The model that was trained on, as it is registered.
        champion: Who is champion now. Not the night's own choice, if another became champion while it was trained.
        reason: Why, as the registry has it.
        remarks: What was left out, and what else a person should know.
        seconds: By stage.
    """

    target: Target
    night: Night | None
    candidate: Model
    champion: Model
    reason: str
    remarks: tuple[str, ...]
    seconds: Mapping[str, float]

    @property
    def verdict(self) -> str:
        """The verdict, which a person reads first."""
        return f"{self.champion.name} ({self.champion.scorer}) is champion. {self.reason}"

    @property
    def lines(self) -> list[str]:
        """All of it for a log: a table, what the last champion's cut gave, remarks, the verdict last."""
        if self.night is None:
            return [*self.remarks, self.verdict]
        rows = [COLUMNS, *rows_of(self.night)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return [*table, *said_lines(self.night), *self.remarks, self.verdict]

    def to_json(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "target": str(self.target),
            "candidate": self.candidate.name,
            "champion": self.champion.name,
            "scorer": self.champion.scorer,
            "reason": self.reason,
            "models": [asdict(one) for one in summarise(self.night.evaluation)] if self.night else [],
            "remarks": list(self.remarks),
            "seconds": dict(self.seconds),
        }


def register(
    warehouse: Warehouse,
    settings: Settings,
    night: Night,
    artifacts: Mapping[str, Artifact],
    against: Model | None,
    report: str,
) -> tuple[Model, Model, str]:
    """Keep the candidate, and the baseline that wins if one does, with the report of the night; drop old blobs.

    Args:
        artifacts: By the names of the night.
        against: The champion that was, usable or not.
        report: Of the night, as HTML.

    Returns:
        The candidate; who is champion now; and why, as the registry has it.

    Raises:
        ArtifactError: A blob is larger than `max_artifact_mb`.
    """
    metrics = _metrics(night)
    own = [name for name, role in night.roles.items() if role is Role.CANDIDATE]
    kept = [*own, *(name for name in artifacts if name == night.champion and name not in own)]
    drafts = [
        Draft(
            artifacts[name],
            State.CHAMPION if name == night.champion else State.REJECTED,
            night.reason,
            {"model": name, **metrics},
            report,
        )
        for name in kept
    ]
    registered = decide(
        warehouse,
        drafts,
        against=against,
        run=night.run,
        max_bytes=settings.models.max_artifact_bytes,
        environment=night.environment,
    )
    with warehouse.begin() as connection:
        prune(connection, settings.models.keep, datetime.now(UTC))
        now = champion(connection, registered[0].target)
    # One that was overtaken while it was trained has a reason of its own.
    chosen = [one for one, draft in zip(registered, drafts, strict=True) if draft.state is State.CHAMPION]
    return registered[0], now or registered[0], chosen[0].reason if chosen else night.reason


def find_settled(
    warehouse: Warehouse, target: Target, run: str, data_hash: str, remarks: Sequence[str]
) -> Trained | None:
    """Return what a run has decided before, from the same candles; None if it has not."""
    with warehouse.begin() as connection:
        same = [one for one in list_models(connection, target) if (one.run, one.data_hash) == (run, data_hash)]
        if not same:
            return None
        first = same[-1]
        told = f"{run} has trained {first.name} from the same candles already; nothing is left to do"
        return Trained(target, None, first, champion(connection, target) or first, first.reason, (*remarks, told), {})


def rows_of(night: Night) -> list[tuple[str, ...]]:
    """Return a row of COLUMNS for each model of a comparison, the best first."""
    return [
        (
            f"{one.model} ({night.roles[one.model]})",
            *(f"{number:.3f}" for number in (one.vus_pr, one.precision, one.recall, one.f1)),
            "" if one.incidents_per_week is None else f"{one.incidents_per_week:.2f}",
        )
        for one in summarise(night.evaluation)
    ]


def said_lines(night: Night) -> list[str]:
    """Say what the last champion's cut gave, and what people said of what was found; nothing where there is nothing."""
    said = (f"people on {one}" for one in night.feedback if one.seen)
    return [*since_lines(night.since, night.evaluation.budget), *said]


def since_lines(since: Sequence[Given], budget: float) -> list[str]:
    """Say what a champion's cut gave since it was made; nothing if nothing came after it."""
    given = per_week(since)
    if given is None:
        return []
    each = "; ".join(f"{one.series}: {one.incidents} in {one.weeks:.1f}" for one in since)
    name = since[0].model
    return [
        f"{name} was asked for {incidents_in_words(budget)} per series and week, and gave {given:.1f} since "
        f"({each} weeks)"
    ]


def _metrics(night: Night) -> dict[str, Any]:
    """Return what the registry keeps of a night, as JSON."""
    return {
        "summaries": [asdict(one) for one in summarise(night.evaluation)],
        "comparisons": [asdict(one) for one in night.comparisons],
        "since": [asdict(one) | {"series": str(one.series)} for one in night.since],
        "seconds": dict(night.seconds),
        "losses": {name: list(losses) for name, losses in night.losses.items()},
        "left_out": dict(night.left_out),
        "evaluation": night.evaluation.to_json(),
    }
