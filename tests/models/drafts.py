"""Drafts for tests of the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text

from etl.warehouse import Warehouse
from models.registry import Draft, Model, State, champion, decide, list_models
from models.targets import Target
from tests.models.artifacts import LIMIT, TWO, made_artifact

ALL_1M = Target(TWO[0].timeframe)
METRICS = {"vus_pr": 0.5}


def drafts_of(
    *seeds: int, states: tuple[State, ...] = (State.CHAMPION,), metrics: Mapping[str, Any] = METRICS, **of: Any
) -> list[Draft]:
    """Return drafts of made artifacts."""
    return [
        Draft(made_artifact(seed, **of), state, f"{seed} did {state}.", metrics, f"<p>night {seed}</p>")
        for seed, state in zip(seeds, states, strict=True)
    ]


def crown(warehouse: Warehouse, seed: int, **of: Any) -> Model:
    """Let a night decide that a new model is champion."""
    (draft,) = drafts_of(seed, **of)
    with warehouse.begin() as connection:
        against = champion(connection, draft.target)
    run = f"night {seed}"
    (model,) = decide(warehouse, [draft], against=against, run=run, max_bytes=LIMIT, environment={"python": "3.11"})
    return model


def states_of(warehouse: Warehouse, target: Target = ALL_1M) -> list[State]:
    """Return the states of versions 1, 2, ..."""
    with warehouse.begin() as connection:
        return [model.state for model in reversed(list_models(connection, target))]


def spoil(warehouse: Warehouse, model: Model) -> None:
    """Flip a bit in the middle of a blob that is stored."""
    with warehouse.begin() as connection:
        spoil = "UPDATE models SET artifact = set_bit(artifact, octet_length(artifact) * 4::bigint, 1 - get_bit("
        spoil += "artifact, octet_length(artifact) * 4::bigint)) WHERE id = :id"
        connection.execute(text(spoil), {"id": model.id})


@contextmanager
def statements_of(warehouse: Warehouse) -> Iterator[list[str]]:
    """Yield what is asked of the database in the block."""
    asked: list[str] = []

    def note(*args: object) -> None:
        asked.append(str(args[2]))

    event.listen(warehouse.engine, "before_cursor_execute", note)
    yield asked
    event.remove(warehouse.engine, "before_cursor_execute", note)
