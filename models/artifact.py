"""A model as one blob: what the blob holds, and that it is what this version of Chandler can judge by.

Numbers are `.npy` arrays, facts are JSON, and the graph is ONNX, which is looked at when it is loaded; see
`models.graphs`. What all series have is stacked, in the order in which the manifest lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from etl.errors import ArtifactError, ConfigError
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.blocks import BLOCK, CONTEXT
from models.calibration import Calibration
from models.container import read_container, refused, write_container
from models.features import FEATURES, REACH, Norm
from models.scorers import SCORERS
from models.scorers.scorer import Parts
from models.stacks import check_stacks, from_npy, stacked, to_npy, unstacked
from models.targets import ALL, Target

_GRAPH = "graph.onnx"
_BLOCKS = {"block": BLOCK, "context": CONTEXT, "reach": REACH}


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Artifact:
    """A model: what a scorer has learned, and what makes scores of it for each series that it knows.

    Attributes:
        scorer: A name in `models.scorers.SCORERS`.
        timeframe: Of the candles that it judges.
        scope: ALL, or the one series that it is for.
        learned: The range that it learned from.
        held_out: The range that its calibrations are from.
        as_of: The moment as of which the candles were read, by the warehouse's clock.
        data_hash: SHA-256 over the candles that were read, 64 hexadecimal digits.
        budget: Incidents per series and week that the cuts are made for.
        parts: What the scorer has learned.
        norms: What normalises each series.
        calibrations: What scores mean, for each series.
    """

    scorer: str
    timeframe: Timeframe
    scope: str
    learned: TimeRange
    held_out: TimeRange
    as_of: datetime
    data_hash: str
    budget: float
    parts: Parts
    norms: Mapping[Series, Norm]
    calibrations: Mapping[Series, Calibration]

    @property
    def target(self) -> Target:
        """The target, as the registry has it."""
        return Target(self.timeframe, None if self.scope == ALL else Series.parse(self.scope))


class _Member(BaseModel):
    """Expected form of a part of the blob; the part is held against it when the blob is opened."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bytes: int
    sha256: str


class _Manifest(BaseModel):
    """Statements of a blob; see `Artifact`, and `models.blocks` for what rows are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int
    scorer: str
    channels: tuple[str, ...]
    timeframe: Timeframe
    scope: str
    learned: tuple[datetime, datetime]
    held_out: tuple[datetime, datetime]
    as_of: datetime
    data_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    budget: float = Field(gt=0, allow_inf_nan=False)
    features: tuple[str, ...]
    rows: dict[str, int]
    facts: dict[str, Any]
    series: tuple[str, ...]
    members: dict[str, _Member]


def pack(artifact: Artifact) -> bytes:
    """Return the model as a blob; equal models give equal bytes.

    Raises:
        ArtifactError: It is none that `unpack` would read.
    """
    series = sorted(artifact.norms)
    _check_series(artifact.scope, artifact.timeframe, series)
    if set(series) != set(artifact.calibrations):
        raise ArtifactError("a model has a norm and a calibration for each of its series, and for no other")
    if artifact.scorer not in SCORERS:
        raise ArtifactError(f"no scorer is called {artifact.scorer!r}; there are {', '.join(sorted(SCORERS))}")
    members = {f"numbers/{name}.npy": to_npy(name, array) for name, array in artifact.parts.numbers.items()}
    norms, calibrations = ([each[one] for one in series] for each in (artifact.norms, artifact.calibrations))
    stacks = stacked(Norm, norms) | stacked(Calibration, calibrations)
    check_stacks(stacks, len(series), len(SCORERS[artifact.scorer].channels))
    members |= {f"series/{name}.npy": to_npy(name, array) for name, array in stacks.items()}
    if artifact.parts.graph is not None:
        members[_GRAPH] = artifact.parts.graph
    facts = {
        "scorer": artifact.scorer,
        "channels": SCORERS[artifact.scorer].channels,
        "timeframe": artifact.timeframe.value,
        "scope": artifact.scope,
        "learned": _to_bounds(artifact.learned),
        "held_out": _to_bounds(artifact.held_out),
        "as_of": artifact.as_of.astimezone(UTC).isoformat(),
        "data_hash": artifact.data_hash,
        "budget": float(artifact.budget),
        "features": FEATURES,
        "rows": _BLOCKS,
        "facts": artifact.parts.facts,
        "series": [str(one) for one in series],
    }
    return write_container(facts, members)


def unpack(blob: bytes, sha256: str | None = None, *, max_bytes: int) -> Artifact:
    """Return the model that a blob holds, once all is verified but the graph; numbers are as they were, bit for bit.

    Args:
        sha256: What the blob is known by, if it is.
        max_bytes: What it may take, packed and unpacked.

    Raises:
        ArtifactError: It is not what it says, or not what this version reads; the message says what, and what to do.
    """
    text, members = read_container(blob, sha256, max_bytes)
    try:
        manifest = _Manifest.model_validate_json(text)
        series = [Series.parse(one) for one in manifest.series]
        learned, held_out = TimeRange(*manifest.learned), TimeRange(*manifest.held_out)
    except (ValidationError, ConfigError, ValueError) as error:
        raise refused(f"its manifest makes no sense ({' '.join(str(error).split())[:200]})") from error
    _check_version(manifest)
    _check_series(manifest.scope, manifest.timeframe, series)
    arrays = {name: from_npy(name, content) for name, content in members.items() if name != _GRAPH}
    own = {name.split("/")[1].removesuffix(".npy"): array for name, array in arrays.items() if "numbers/" in name}
    stacks = {name.split("/")[1].removesuffix(".npy"): array for name, array in arrays.items() if "series/" in name}
    check_stacks(stacks, len(series), len(manifest.channels))
    return Artifact(
        scorer=manifest.scorer,
        timeframe=manifest.timeframe,
        scope=manifest.scope,
        learned=learned,
        held_out=held_out,
        as_of=manifest.as_of.astimezone(UTC),
        data_hash=manifest.data_hash,
        budget=manifest.budget,
        parts=Parts(own, manifest.facts, members.get(_GRAPH)),
        norms=dict(zip(series, unstacked(Norm, stacks, len(series)), strict=True)),
        calibrations=dict(zip(series, unstacked(Calibration, stacks, len(series)), strict=True)),
    )


def _check_version(manifest: _Manifest) -> None:
    """Refuse what was trained on other inputs than this version gives."""
    if manifest.scorer not in SCORERS:
        raise refused(f"no scorer is called {manifest.scorer!r} here", "update Chandler, or train again")
    if manifest.channels != SCORERS[manifest.scorer].channels:
        raise refused(f"{manifest.scorer} judges by other channels by now", "train again")
    if manifest.features != FEATURES:
        raise refused("it was trained on other features than this Chandler computes", "train again")
    if manifest.rows != _BLOCKS:
        raise refused("it was trained for rows of another length", "train again")


def _check_series(scope: str, timeframe: Timeframe, series: Sequence[Series]) -> None:
    if not series or list(series) != sorted(set(series)):
        raise refused("it lists no series, or not in their order, each once")
    if scope != ALL and [scope] != [str(one) for one in series]:
        raise refused(f"it is for {scope}, and has numbers for other series")
    if any(one.timeframe is not timeframe for one in series):
        raise refused(f"it is for candles of {timeframe}, and has numbers for other series")


def _to_bounds(time_range: TimeRange) -> list[str]:
    return [time_range.start.isoformat(), time_range.end.isoformat()]
