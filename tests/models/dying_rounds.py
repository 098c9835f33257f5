"""A child process that scores what is loaded and is killed with SIGKILL at a step of it."""

from __future__ import annotations

from typing import Any

from etl.settings import Settings
from etl.warehouse import open_warehouse
from models import judging, reconciling, rounds, sighting
from models.judging import RangeJudge
from tests.killing import dying, run_in_child
from tests.models.scored import score_all

# Where it dies: the owner, its function, at which call of it, and whether before or after it.
STEPS: dict[str, tuple[Any, str, int, str]] = {
    "before anything is judged": (judging, "score", 1, "before"),
    "once anomalies are written": (judging, "replace_anomalies", 1, "after"),
    "once an incident is written": (reconciling, "open_incident", 1, "after"),
    "once the alert is written": (reconciling, "put_incident_alert", 1, "after"),
    "before the commit": (sighting, "reconcile", 2, "after"),
    "after the commit": (RangeJudge, "_tell_siblings", 1, "before"),
    "once siblings are told": (RangeJudge, "_tell_siblings", 1, "after"),
    "once it is noted, before the commit": (rounds, "mark_scored", 1, "after"),
    "between two series": (rounds, "_note", 1, "after"),
}


def score_and_die(step: str, settings: Settings) -> int | None:
    """Score in a child process that dies at `step`; return its exit code, negative for a signal."""
    return run_in_child(_score, (step, settings), ["tests.models.dying_rounds"])


def _score(step: str, settings: Settings) -> None:
    owner, name, call, when = STEPS[step]
    setattr(owner, name, dying(getattr(owner, name), call, when))
    with open_warehouse(settings) as warehouse:
        score_all(warehouse, settings)
