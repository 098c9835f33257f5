"""Blobs and reports: read from the warehouse in pieces and verified, written to files, and taken from them."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

from sqlalchemy import Connection, func, select

from etl.errors import ArtifactError, ConfigError
from etl.files import write_whole
from etl.warehouse.tables import models
from models.artifact import Artifact, unpack
from models.container import refused, too_large
from models.registry.changing import Draft, hold, register
from models.registry.records import Model, State, list_models
from models.scoring import judge_of

_PIECE = 1 << 20


def read_blob(connection: Connection, model: Model, max_bytes: int) -> bytes:
    """Return a model's blob, as it was written.

    Raises:
        ArtifactError: It is larger than `max_bytes`, which is known before it is read; it is not kept any more; or it
            is not what was written.
    """
    own, is_it = models.c.artifact, models.c.id == model.id
    size = connection.execute(select(func.octet_length(own)).where(is_it)).scalar()
    if size is None:
        raise ArtifactError(f"the blob of {model.name} is not kept any more (keep in [models]); train again")
    if size > max_bytes:
        raise too_large(size, max_bytes)
    pieces = []
    for start in range(1, size + 1, _PIECE):
        pieces.append(connection.execute(select(func.substring(own, start, _PIECE)).where(is_it)).scalar() or b"")
    blob = b"".join(pieces)
    if hashlib.sha256(blob).hexdigest() != model.sha256:
        raise refused(f"that of {model.name} is not what was written, its SHA-256 is another")
    return blob


def read_artifact(connection: Connection, model: Model, max_bytes: int) -> Artifact:
    """Return a model, all of it verified but its graph.

    Raises:
        ArtifactError: As of `read_blob` and `models.artifact.unpack`; or it is another model than it is kept as.
    """
    artifact = unpack(read_blob(connection, model, max_bytes), max_bytes=max_bytes)
    if (artifact.target, artifact.scorer) != (model.target, model.scorer):
        raise refused(f"it is a {artifact.scorer} for {artifact.target}, and kept as {model.scorer} {model.name}")
    return artifact


def read_report(connection: Connection, model_id: int) -> str | None:
    """Return the report of the night that a model was trained in, as HTML; None if there is none."""
    packed = connection.execute(select(models.c.report).where(models.c.id == model_id)).scalar()
    return None if packed is None else gzip.decompress(packed).decode()


def export_blob(connection: Connection, model: Model, path: Path, max_bytes: int) -> None:
    """Write a model's blob to a file, whole or not at all.

    Raises:
        ArtifactError: As of `read_blob` and `models.artifact.unpack`: what is damaged goes nowhere.
        StoreError: The file cannot be written.
    """
    blob = read_blob(connection, model, max_bytes)
    unpack(blob, max_bytes=max_bytes)
    write_whole(path, blob)


def import_blob(connection: Connection, path: Path, *, run: str, max_bytes: int) -> Model:
    """Register the blob in a file as a candidate. If the same one is there already, return that.

    Raises:
        ConfigError: The file cannot be read.
        ArtifactError: As of `models.artifact.unpack`; or its graph is none, or its parts cannot be used.
    """
    try:
        if (size := path.stat().st_size) > max_bytes:
            raise too_large(size, max_bytes)
        blob = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
    artifact = unpack(blob, max_bytes=max_bytes)
    judge_of(artifact)
    hold(connection, artifact.target)
    sha256 = hashlib.sha256(blob).hexdigest()
    for model in list_models(connection, artifact.target):
        if model.sha256 == sha256 and model.has_blob:
            return model
    draft = Draft(artifact, State.CANDIDATE, f"imported from {path.name}")
    return register(connection, draft, run=run, max_bytes=max_bytes)
