"""Changes of the registry: a model is registered, or comes into another state; each with its reason, on record.

Whoever changes what there is for a target holds it until the transaction ends, so that decisions follow one another.
"""

from __future__ import annotations

import gzip
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update

from etl.errors import ConfigError
from etl.warehouse.tables import model_changes, models, to_sql_range
from models.artifact import Artifact, pack
from models.container import too_large
from models.registry.records import Model, State, model_of
from models.targets import Target

_LOCK_SPACE = 0x4D4F444C  # keeps these advisory locks apart from those of series
# The last champion before the present one whose blob is as it was written stays: it judges if the present one cannot.
_PRUNE = text(
    """
    WITH good AS (
        SELECT DISTINCT ON (timeframe, scope) models.id
        FROM models JOIN model_changes ON model_id = models.id
        WHERE state = 'retired' AND artifact IS NOT NULL AND encode(sha256(artifact), 'hex') = artifact_sha256
        ORDER BY timeframe, scope, model_changes.id DESC
    )
    UPDATE models SET artifact = NULL, report = NULL
    WHERE state IN ('retired', 'rejected') AND state_since < :before
      AND (artifact IS NOT NULL OR report IS NOT NULL) AND id NOT IN (SELECT id FROM good)
    RETURNING id
    """
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A model that is to be registered.

    Attributes:
        state: What it is to become.
        reason: Why.
        metrics: How it compared with others: what JSON can hold; NaN becomes null.
        report: Of the night that it was trained in, as HTML.
    """

    artifact: Artifact
    state: State
    reason: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    report: str | None = None

    @property
    def target(self) -> Target:
        """The target."""
        return self.artifact.target


def hold(connection: Connection, target: Target) -> None:
    """Wait until nobody else changes the models of `target`, and keep others waiting until the transaction ends."""
    name = func.hashtext(f"{target.timeframe} {target.scope}")
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK_SPACE, name)))


def next_version(connection: Connection, target: Target) -> int:
    """Return the version that the next model of `target`, which is held, will have."""
    own = models.c
    last = select(func.max(own.version)).where(own.timeframe == target.timeframe.value, own.scope == target.scope)
    return int(connection.execute(last).scalar() or 0) + 1


def register(
    connection: Connection, draft: Draft, *, run: str, max_bytes: int, environment: Mapping[str, str] | None = None
) -> Model:
    """Register a model under the next version of its target, which is held from here on.

    Raises:
        ArtifactError: Its blob would take more than `max_bytes`, or it is no model.
    """
    blob = pack(draft.artifact)
    if len(blob) > max_bytes:
        raise too_large(len(blob), max_bytes)
    artifact, target = draft.artifact, draft.target
    hold(connection, target)
    values = {
        "timeframe": target.timeframe.value,
        "scope": target.scope,
        "version": next_version(connection, target),
        "scorer": artifact.scorer,
        "state": draft.state.value,
        "learned": to_sql_range(artifact.learned),
        "held_out": to_sql_range(artifact.held_out),
        "as_of": artifact.as_of,
        "data_hash": artifact.data_hash,
        "metrics": _to_json(draft.metrics),
        "environment": dict(environment or {}),
        "reason": draft.reason,
        "run": run,
        "artifact": blob,
        "artifact_sha256": hashlib.sha256(blob).hexdigest(),
        "artifact_bytes": len(blob),
        "report": None if draft.report is None else gzip.compress(draft.report.encode(), mtime=0),
    }
    model_id = connection.execute(insert(models).values(values).returning(models.c.id)).scalar_one()
    _write_change(connection, model_id, None, draft.state, draft.reason, run)
    return model_of(connection, model_id)


def change_state(connection: Connection, model: Model, state: State, reason: str, run: str) -> Model:
    """Bring a model, whose target is held, into another state.

    Raises:
        ConfigError: It is not in the state any more that it was thought to be in.
    """
    own = models.c
    new = {"state": state.value, "reason": reason, "state_since": func.clock_timestamp()}
    statement = update(models).where(own.id == model.id, own.state == model.state.value).values(new)
    if connection.execute(statement).rowcount != 1:
        raise ConfigError(f"{model.name} is not {model.state} any more: somebody was faster; look again")
    _write_change(connection, model.id, model.state, state, reason, run)
    return model_of(connection, model.id)


def prune(connection: Connection, keep: timedelta, now: datetime) -> int:
    """Drop the blobs and reports of models that are retired or rejected for longer than `keep`; return of how many.

    What is said of them stays, and so does the blob of the last good champion before the present one.
    """
    return len(connection.execute(_PRUNE, {"before": now - keep}).all())


def _write_change(
    connection: Connection, model_id: int, before: State | None, after: State, reason: str, run: str
) -> None:
    change = {
        "model_id": model_id,
        "state_before": None if before is None else before.value,
        "state_after": after.value,
        "reason": reason,
        "run": run,
    }
    connection.execute(insert(model_changes).values(change))


def _to_json(value: Any) -> Any:
    """Return what JSON can hold of a value: lists for tuples, null for what is no finite number."""
    if isinstance(value, Mapping):
        return {str(name): _to_json(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_to_json(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
