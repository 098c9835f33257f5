"""A child process that decides over models and is killed with SIGKILL at a step of it."""

from __future__ import annotations

from etl.settings import Settings
from etl.warehouse import open_warehouse
from models.registry import State, champion, deciding
from tests.killing import dying, run_in_child
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
    return run_in_child(_decide, (step, settings), ["tests.models.dying"])


def _decide(step: str, settings: Settings) -> None:
    name, call = STEPS[step]
    setattr(deciding, name, dying(getattr(deciding, name), call))
    with open_warehouse(settings) as warehouse:
        with warehouse.begin() as connection:
            against = champion(connection, drafts_of(3)[0].target)
        drafts = drafts_of(3, 4, states=(State.CHAMPION, State.REJECTED))
        deciding.decide(warehouse, drafts, against=against, run="killed", max_bytes=LIMIT, environment={})
