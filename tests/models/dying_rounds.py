"""A child process that scores what is loaded and is killed with SIGKILL at a step of it."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from etl.settings import Settings
from etl.warehouse import open_warehouse
from models import judging, reconciling, rounds, sighting
from models.judging import RangeJudge
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
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.models.dying_rounds"])
    child = context.Process(target=_score, args=(step, settings))
    child.start()
    child.join()
    return child.exitcode


def _score(step: str, settings: Settings) -> None:
    owner, name, call, when = STEPS[step]
    setattr(owner, name, _dying(getattr(owner, name), call, when))
    with open_warehouse(settings) as warehouse:
        score_all(warehouse, settings)


def _dying(function: Callable[..., Any], call: int, when: str) -> Callable[..., Any]:
    calls = itertools.count(1)

    def die_in_time(*args: Any, **kwargs: Any) -> Any:
        mine = next(calls)
        if mine == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if mine == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return die_in_time
