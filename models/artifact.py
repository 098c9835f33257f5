"""A model as one blob: what the blob holds, and that it is what this version of Chandler can judge by.

Numbers are `.npy` arrays, facts are JSON, and the graph is ONNX, which is looked at when it is loaded; see
`models.graphs`. What all series have is stacked, in the order in which the manifest lists them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from etl.errors import ArtifactError, ConfigError
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.blocks import BLOCK, CONTEXT
from models.calibration import KNOTS, Calibration
from models.container import read_container, refused, write_container
from models.features import FEATURES, REACH, Norm
from models.scorers import SCORERS
from models.scorers.scorer import Parts
from models.targets import ALL, Target

_Kind = TypeVar("_Kind", Norm, Calibration)
_GRAPH = "graph.onnx"
_BLOCKS = {"block": BLOCK, "context": CONTEXT, "reach": REACH}
_DTYPES = frozenset({"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"})


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
        """What it is for, as the registry has it."""
        return Target(self.timeframe, None if self.scope == ALL else Series.parse(self.scope))


class _Member(BaseModel):
    """What a part of the blob is to be; held against it when the blob is opened."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bytes: int
    sha256: str


class _Manifest(BaseModel):
    """What a blob states; see `Artifact`, and `models.blocks` for what rows are."""

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
    members = {f"numbers/{name}.npy": _to_npy(name, array) for name, array in artifact.parts.numbers.items()}
    norms, calibrations = ([each[one] for one in series] for each in (artifact.norms, artifact.calibrations))
    stacks = _stacked(Norm, norms) | _stacked(Calibration, calibrations)
    _check_stacks(stacks, len(series), len(SCORERS[artifact.scorer].channels))
    members |= {f"series/{name}.npy": _to_npy(name, array) for name, array in stacks.items()}
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
    arrays = {name: _from_npy(name, content) for name, content in members.items() if name != _GRAPH}
    own = {name.split("/")[1].removesuffix(".npy"): array for name, array in arrays.items() if "numbers/" in name}
    stacks = {name.split("/")[1].removesuffix(".npy"): array for name, array in arrays.items() if "series/" in name}
    _check_stacks(stacks, len(series), len(manifest.channels))
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
        norms=dict(zip(series, _unstacked(Norm, stacks, len(series)), strict=True)),
        calibrations=dict(zip(series, _unstacked(Calibration, stacks, len(series)), strict=True)),
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


def _check_stacks(stacks: Mapping[str, NDArray[Any]], count: int, channels: int) -> None:
    """Refuse numbers of series that are not of the shape, or not of the kind, that normalising and judging need."""
    shapes = {
        "centre": (count, len(FEATURES)),
        "scale": (count, len(FEATURES)),
        "floor": (count, 3),
        "usual": (count, 2, 168),
        "knots": (count, channels, KNOTS),
        "tails": (count, channels, 3),
        "cut": (count,),
    }
    if set(stacks) != set(shapes):
        raise refused(f"of each series it has {', '.join(sorted(stacks)) or 'nothing'}, not {', '.join(shapes)}")
    for name, shape in shapes.items():
        if stacks[name].dtype != np.float64 or stacks[name].shape != shape:
            raise refused(f"{name} is {stacks[name].dtype} {stacks[name].shape}, not float64 {shape}")
    for name in ("centre", "scale", "floor", "usual"):
        if not np.isfinite(stacks[name]).all():
            raise refused(f"{name} holds what is no finite number")
    if np.isnan(stacks["cut"]).any():
        raise refused("cut holds what is no number")
    if not (stacks["scale"] > 0).all() or not (stacks["floor"] > 0).all():
        raise refused("scale or floor is not above zero everywhere")
    # A channel that says nothing of a series, such as trades where an exchange counts none, has NaN.
    knots, tails = stacks["knots"].reshape(-1, KNOTS), stacks["tails"].reshape(-1, 3)
    is_judged = ~np.isnan(knots[:, 0])
    if not np.isfinite(knots[is_judged]).all() or not np.isfinite(tails[is_judged]).all():
        raise refused("knots or tails hold what is no finite number")
    if (np.diff(knots[is_judged], axis=1) < 0).any():
        raise refused("knots do not ascend")


def _stacked(of: type[Norm | Calibration], values: Sequence[Norm | Calibration]) -> dict[str, NDArray[Any]]:
    try:
        return {
            field.name: np.stack([np.asarray(getattr(value, field.name)) for value in values]) for field in fields(of)
        }
    except ValueError as error:
        raise ArtifactError(f"norms or calibrations of series differ in shape: {error}") from error


def _unstacked(of: type[_Kind], stacks: Mapping[str, NDArray[Any]], count: int) -> list[_Kind]:
    columns = [stacks[field.name] for field in fields(of)]
    return [of(*(_alone(column[place]) for column in columns)) for place in range(count)]


def _alone(value: Any) -> Any:
    """Return what stood in one series' place: an array, or a float where it was one."""
    return value if isinstance(value, np.ndarray) else float(value)


def _to_npy(name: str, array: NDArray[Any]) -> bytes:
    array = np.asarray(array, order="C")
    if array.dtype.str not in _DTYPES:
        raise ArtifactError(f"{name} is of {array.dtype}, and a model holds plain numbers only")
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _from_npy(name: str, content: bytes) -> NDArray[Any]:
    """Return the array, which cannot be written to. Nothing in it is run, and its size is known before it is made."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise refused(f"{name} is of a version of .npy that Chandler never writes")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, TypeError, SyntaxError, RecursionError) as error:
        raise refused(f"{name} is no array of numbers") from error
    if dtype.hasobject:
        raise refused(f"{name} holds pickled objects, and a model holds plain numbers only", "do not use it")
    if dtype.str not in _DTYPES or is_fortran:
        raise refused(f"{name} is of {dtype}, or not in C order, and a model holds plain numbers only")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise refused(f"{name} is not as long as its shape says")
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape)


def _to_bounds(time_range: TimeRange) -> list[str]:
    return [time_range.start.isoformat(), time_range.end.isoformat()]
