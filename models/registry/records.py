"""Records of models, their blobs aside: which there are, which is champion, and how it came to that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Date, Row, cast, func, or_, select
from sqlalchemy.dialects.postgresql import JSONPATH

from etl.errors import ConfigError
from etl.series import Series, TimeRange
from etl.spelling import nearest
from etl.timeframe import Timeframe
from etl.warehouse.tables import model_changes, models
from models.targets import ALL, Target


class State(StrEnum):
    """States of a model: it waits, it judges, it has judged, or it was found wanting."""

    CANDIDATE = "candidate"
    CHAMPION = "champion"
    RETIRED = "retired"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Model:
    """A model, without its blob.

    Attributes:
        target: What it is for.
        version: 1, 2, ... of this target.
        learned, held_out: What it learned from, and what its cuts are from.
        as_of: The moment as of which candles were read.
        data_hash: SHA-256 over these.
        metrics: How it compared with others: JSON.
        environment: Versions of what trained it, and the machine.
        reason: Why it is in its state.
        run: Who registered it.
        has_blob, has_report: Whether retention has left them.
    """

    id: int
    target: Target
    version: int
    scorer: str
    state: State
    learned: TimeRange
    held_out: TimeRange
    as_of: datetime
    data_hash: str
    metrics: Mapping[str, Any]
    environment: Mapping[str, Any]
    reason: str
    run: str
    created_at: datetime
    state_since: datetime
    sha256: str
    size_bytes: int
    has_blob: bool
    has_report: bool

    @property
    def name(self) -> str:
        """As people write it: `1m/3`, or `binance:BTC/USDT:1m/3`."""
        return f"{self.target}/{self.version}"


@dataclass(frozen=True, slots=True)
class Change:
    """A model came into another state.

    Attributes:
        before: None: it was registered.
    """

    before: State | None
    after: State
    reason: str
    run: str
    changed_at: datetime


_BLOBS = ("artifact", "report")
_COLUMNS = [column for column in models.c if column.name not in _BLOBS] + [
    models.c[name].is_not(None).label(f"has_{name}") for name in _BLOBS
]

# As `metrics`, but of the night nothing than how the model itself did: few bytes of many.
_OWN = func.jsonb_build_object("model", models.c.metrics["model"])
_OWN_METRICS = func.jsonb_build_object(
    "model",
    models.c.metrics["model"],
    "summaries",
    func.jsonb_path_query_array(models.c.metrics, cast("$.summaries[*] ? (@.model == $model)", JSONPATH), _OWN),
).label("metrics")


def list_models(
    connection: Connection, target: Target | None = None, *, state: State | None = None, scorer: str | None = None
) -> list[Model]:
    """Return models, the newest first; what is None keeps none out."""
    own, query = models.c, select(*_COLUMNS)
    if target is not None:
        query = query.where(own.timeframe == target.timeframe.value, own.scope == target.scope)
    if state is not None:
        query = query.where(own.state == state.value)
    if scorer is not None:
        query = query.where(own.scorer == scorer)
    return [_to_model(row) for row in connection.execute(query.order_by(own.id.desc()))]


def latest_models(connection: Connection, nights: int) -> tuple[list[Model], int]:
    """Return the champions and the models of each target's latest nights, newest first, and how many more there are.

    Args:
        nights: UTC days in which a model was registered; of its metrics, those of other models are left out.
    """
    own = models.c
    day = cast(func.timezone("UTC", own.created_at), Date)
    night = func.dense_rank().over(partition_by=(own.timeframe, own.scope), order_by=day.desc())
    ranked = select(own.id, night.label("night")).subquery()
    columns = [*(column for column in _COLUMNS if column.name != "metrics"), _OWN_METRICS]
    query = select(*columns).join_from(models, ranked, ranked.c.id == own.id)
    query = query.where(or_(ranked.c.night <= nights, own.state == State.CHAMPION.value)).order_by(own.id.desc())
    found = [_to_model(row) for row in connection.execute(query)]
    return found, connection.execute(select(func.count()).select_from(models)).scalar_one() - len(found)


def champion(connection: Connection, target: Target) -> Model | None:
    """Return the model in use, if there is one."""
    found = list_models(connection, target, state=State.CHAMPION)
    return found[0] if found else None


def find_model(connection: Connection, name: str) -> Model:
    """Return the model that a person calls `1m/3` or `binance:BTC/USDT:1m/3`.

    Raises:
        ConfigError: There is none; with the nearest that there is.
    """
    target, slash, version = name.rpartition("/")
    if not slash or not version.isascii() or not version.isdigit():
        raise ConfigError(f"{name!r} names no model; write timeframe/version or series/version, such as 1m/3")
    known = {model.name: model for model in list_models(connection, Target.parse(target))}
    if (model := known.get(f"{target}/{int(version)}")) is None:
        hint = nearest(name, known) or "; none is registered for this"
        raise ConfigError(f"no model {name}{hint}; see chandler models list")
    return model


def model_of(connection: Connection, model_id: int) -> Model:
    """Return the model of that number, as it is by now."""
    return _to_model(connection.execute(select(*_COLUMNS).where(models.c.id == model_id)).one())


def read_changes(connection: Connection, model: Model) -> list[Change]:
    """Return what has become of a model, the earliest first."""
    own = model_changes.c
    rows = connection.execute(select(model_changes).where(own.model_id == model.id).order_by(own.id))
    return [
        Change(
            None if row.state_before is None else State(row.state_before),
            State(row.state_after),
            row.reason,
            row.run,
            row.changed_at,
        )
        for row in rows
    ]


def retired_models(connection: Connection, target: Target) -> list[Model]:
    """Return the models that have been champions, still have their blobs and were not rolled back: the last first."""
    own, changes = models.c, model_changes.c
    last = select(func.max(changes.id)).where(changes.model_id == own.id).scalar_subquery()
    query = select(*_COLUMNS).where(
        own.timeframe == target.timeframe.value,
        own.scope == target.scope,
        own.state == State.RETIRED.value,
        own.artifact.is_not(None),
    )
    return [_to_model(row) for row in connection.execute(query.order_by(last.desc()))]


def _to_model(row: Row[Any]) -> Model:
    return Model(
        id=row.id,
        target=Target(Timeframe(row.timeframe), None if row.scope == ALL else Series.parse(row.scope)),
        version=row.version,
        scorer=row.scorer,
        state=State(row.state),
        learned=TimeRange(row.learned.lower, row.learned.upper),
        held_out=TimeRange(row.held_out.lower, row.held_out.upper),
        as_of=row.as_of,
        data_hash=row.data_hash,
        metrics=row.metrics,
        environment=row.environment,
        reason=row.reason,
        run=row.run,
        created_at=row.created_at,
        state_since=row.state_since,
        sha256=row.artifact_sha256,
        size_bytes=row.artifact_bytes,
        has_blob=row.has_artifact,
        has_report=row.has_report,
    )
