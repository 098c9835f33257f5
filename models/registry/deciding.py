"""Choice of the champion: what a night decides, in one transaction, and what a person does."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

from sqlalchemy import Connection

from etl.errors import ArtifactError, ConfigError
from etl.spelling import sentence
from etl.warehouse import Warehouse
from models.registry.blobs import read_artifact
from models.registry.changing import Draft, change_state, hold, next_version, register
from models.registry.records import Model, State, champion, model_of, retired_models
from models.scoring import judge_of
from models.targets import Target

log = logging.getLogger(__name__)

_MATTER = ("numpy", "tensorflow", "keras", "onnx", "onnxruntime", "scikit-learn", "scipy")


def environment() -> dict[str, str]:
    """Return the versions of what trains and judges here, and what the machine is; nothing is imported for it."""
    versions = {name: version(name) for name in _MATTER}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return {"chandler": version("chandler"), "python": platform.python_version(), **versions, "machine": machine}


def decide(
    warehouse: Warehouse,
    drafts: Sequence[Draft],
    *,
    against: Model | None,
    run: str,
    max_bytes: int,
    environment: Mapping[str, str],
) -> list[Model]:
    """Register a night's models and let its champion take the place of the one before: all of it, or nothing.

    Args:
        drafts: All for one target, at most one of them CHAMPION; if none is, the champion stays.
        against: The champion that they were compared with. Where another has become champion meanwhile, by another
            training or by a person, it stays, and what was to be champion is registered as rejected.
        run: Who decides.
        max_bytes: What a blob may take.

    Returns:
        The models, in the order of the drafts.

    Raises:
        ArtifactError: A blob would take more than `max_bytes`, or is no model.
        ValueError: The drafts are for several targets, or several are to be champion.
    """
    (target,) = {draft.target for draft in drafts}
    if sum(draft.state is State.CHAMPION for draft in drafts) > 1:
        raise ValueError("at most one model can be champion")
    with warehouse.begin() as connection:
        hold(connection, target)
        current = champion(connection, target)
        decided = []
        for draft in drafts:
            if draft.state is State.CHAMPION:
                if current is not None and (against is None or current.id != against.id):
                    draft = _overtaken(draft, against, current)  # noqa: PLW2901  # the same one, seen later
                elif current is not None:
                    name = f"{target}/{next_version(connection, target)}"
                    change_state(connection, current, State.RETIRED, f"{name} took its place: {draft.reason}", run)
            decided.append(register(connection, draft, run=run, max_bytes=max_bytes, environment=environment))
    return decided


def promote(connection: Connection, model: Model, *, reason: str, run: str, max_bytes: int) -> Model:
    """Make a model the champion of its target, whatever it was, and retire the one before.

    Raises:
        ArtifactError: Its blob does not check out, or is not kept any more.
        ConfigError: It is champion already.
    """
    hold(connection, model.target)
    current, model = champion(connection, model.target), model_of(connection, model.id)
    if model.state is State.CHAMPION:
        raise ConfigError(f"{model.name} is champion already")
    judge_of(read_artifact(connection, model, max_bytes))
    if current is not None:
        change_state(connection, current, State.RETIRED, f"{model.name} took its place: {reason}", run)
    return change_state(connection, model, State.CHAMPION, reason, run)


def roll_back(connection: Connection, target: Target, *, reason: str, run: str, max_bytes: int) -> Model:
    """Make the champion before the present one champion again, and reject the present one.

    What is rejected is not gone back to: rolled back twice, it is the champion before the one before. One whose blob
    does not check out is passed over.

    Raises:
        ConfigError: There is no champion, or none before it that still has its blob.
    """
    hold(connection, target)
    current = champion(connection, target)
    if current is None:
        raise ConfigError(f"{target} has no champion; see chandler models list")
    for model in retired_models(connection, target):
        try:
            judge_of(read_artifact(connection, model, max_bytes))
        except ArtifactError as error:
            log.warning("%s is passed over: %s", model.name, error)
            continue
        change_state(connection, current, State.REJECTED, f"rolled back to {model.name}: {reason}", run)
        return change_state(connection, model, State.CHAMPION, f"rolled back from {current.name}: {reason}", run)
    raise ConfigError(f"no champion before {current.name} has a blob that can be used; train again")


def _overtaken(draft: Draft, against: Model | None, current: Model) -> Draft:
    compared = "when there was no champion" if against is None else f"with {against.name}"
    reason = (
        f"{sentence(draft.reason)} But it was compared {compared}, and {current.name} became champion meanwhile; "
        "to use it all the same: chandler models promote"
    )
    return replace(draft, state=State.REJECTED, reason=reason)
