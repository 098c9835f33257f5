"""A child process that decides over models and is killed with SIGKILL at a step of it."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from etl.settings import Settings
from etl.warehouse import open_warehouse
from models.registry import State, champion, deciding
from tests.models.artifacts import LIMIT
from tests.models.drafts import drafts_of

# After what it dies: the function of `deciding`, and at which call of it.
STEPS = {
    "once the target is held": ("champion", 1),
    "once the old champion is retired": ("change_state", 1),
    "once one of two models is registered": ("register", 1),
    "once all is registered, before the commit": ("register", 2),
}


def decide_and_die(step: str, settings: Settings) -> int | None:
    """Decide in a child process that dies at `step`; return its exit code, negative for a signal."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.models.dying"])
    child = context.Process(target=_decide, args=(step, settings))
    child.start()
    child.join()
    return child.exitcode


def _decide(step: str, settings: Settings) -> None:
    name, call = STEPS[step]
    setattr(deciding, name, _dying(getattr(deciding, name), call))
    with open_warehouse(settings) as warehouse:
        with warehouse.begin() as connection:
            against = champion(connection, drafts_of(3)[0].target)
        drafts = drafts_of(3, 4, states=(State.CHAMPION, State.REJECTED))
        deciding.decide(warehouse, drafts, against=against, run="killed", max_bytes=LIMIT, environment={})


def _dying(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    calls = itertools.count(1)

    def die_in_time(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return die_in_time
