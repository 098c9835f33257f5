"""The champion, ready to judge: read and verified once in a process, and an older one where it cannot be used."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import Connection

from etl.errors import ArtifactError
from etl.learning import Learning
from etl.series import Series
from etl.warehouse import Warehouse
from models.artifact import Artifact
from models.registry.blobs import read_artifact
from models.registry.records import Model, champion, retired_models
from models.scoring import judge_of
from models.targets import Target

log = logging.getLogger(__name__)

_MOST_BYTES = 256_000_000


@dataclass(frozen=True, slots=True)
class Judging:
    """A model that judges, and what it judges by."""

    model: Model
    artifact: Artifact


class _Cache:
    """Artifacts by the SHA-256 of their blobs; the ones that were not asked for in a long time go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, tuple[Artifact, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sha256: str) -> Artifact | None:
        with self._lock:
            if sha256 not in self._kept:
                return None
            self._kept.move_to_end(sha256)
            return self._kept[sha256][0]

    def put(self, sha256: str, artifact: Artifact, size: int) -> None:
        with self._lock:
            self._kept[sha256] = (artifact, size)
            while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > self._most_bytes:
                self._kept.popitem(last=False)


_cache = _Cache(_MOST_BYTES)


def load_champion(warehouse: Warehouse, series: Series, learning: Learning) -> Judging | None:
    """Return the model that judges `series`: its own champion if it has one, else the one for all of its timeframe.

    A champion whose blob does not check out is refused, with a warning that says why, and the last champion before it
    that does is used. Each is read once in a process, and so is what judges by it.

    Returns:
        None if no model that can be used knows the series.
    """
    with warehouse.begin() as connection:
        for target in (Target(series.timeframe, series), Target(series.timeframe)):
            judging = _first_good(connection, target, learning.max_artifact_bytes)
            if judging is not None and series in judging.artifact.norms:
                return judging
    return None


def _first_good(connection: Connection, target: Target, max_bytes: int) -> Judging | None:
    current = champion(connection, target)
    if current is None:
        return None
    if (artifact := read_good(connection, current, max_bytes)) is not None:
        return Judging(current, artifact)
    for model in retired_models(connection, target):
        if (artifact := read_good(connection, model, max_bytes)) is not None:
            log.warning("%s judges, which was champion before %s", model.name, current.name)
            return Judging(model, artifact)
    return None


def read_good(connection: Connection, model: Model, max_bytes: int) -> Artifact | None:
    """Return the model's artifact, verified and ready to judge; None, with a warning that says why, if it is not."""
    if (artifact := _cache.get(model.sha256)) is not None:
        return artifact
    try:
        artifact = read_artifact(connection, model, max_bytes)
        judge_of(artifact)
    except ArtifactError as error:
        log.warning("%s cannot judge: %s", model.name, error)
        return None
    _cache.put(model.sha256, artifact, model.size_bytes)
    return artifact
