"""Numbers in a blob: plain arrays as `.npy`, and what all series have, stacked in one array for each kind.

Nothing here unpickles: an array is a header that says type and shape, and as many bytes as these need.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from etl.errors import ArtifactError
from models.calibration import KNOTS, Calibration
from models.container import refused
from models.features import FEATURES, Norm
from models.recent import NAMES

_Kind = TypeVar("_Kind", Norm, Calibration)
_OPTIONAL: Mapping[str, tuple[int, ...]] = {"tick": (), "lately": (2 * len(NAMES),)}
"""Shapes of what is left out where it is zero for all series, as in blobs of earlier versions."""
_DTYPES = frozenset({"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"})


def to_npy(name: str, array: NDArray[Any]) -> bytes:
    """Return an array as `.npy`.

    Raises:
        ArtifactError: It holds objects, or anything else but plain numbers.
    """
    array = np.asarray(array, order="C")
    if array.dtype.str not in _DTYPES:
        raise ArtifactError(f"{name} is of {array.dtype}, and a model holds plain numbers only")
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def from_npy(name: str, content: bytes) -> NDArray[Any]:
    """Return the array that `to_npy` has written; it cannot be written to.

    Raises:
        ArtifactError: It is none.
    """
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


def stacked(of: type[Norm | Calibration], values: Sequence[Norm | Calibration]) -> dict[str, NDArray[Any]]:
    """Return what all series have, by the names of its fields: (series, ...) each.

    Raises:
        ArtifactError: It differs in shape from series to series.
    """
    try:
        stacks = {
            field.name: np.stack([np.asarray(getattr(value, field.name)) for value in values]) for field in fields(of)
        }
    except ValueError as error:
        raise ArtifactError(f"norms or calibrations of series differ in shape: {error}") from error
    return {name: stack for name, stack in stacks.items() if name not in _OPTIONAL or stack.any()}


def unstacked(of: type[_Kind], stacks: Mapping[str, NDArray[Any]], count: int) -> list[_Kind]:
    """Return what `stacked` has stacked, series by series."""
    known = _optional(count, 0.0) | dict(stacks)
    columns = [known[field.name] for field in fields(of)]
    return [of(*(_alone(column[place]) for column in columns)) for place in range(count)]


def check_stacks(stacks: Mapping[str, NDArray[Any]], count: int, channels: int) -> None:
    """Check that the numbers of `count` series are of the shapes and kinds that normalising and judging need.

    Raises:
        ArtifactError: They are not.
    """
    shapes = {
        "centre": (count, len(FEATURES)),
        "scale": (count, len(FEATURES)),
        "floor": (count, 3),
        "usual": (count, 2, 168),
        **{name: (count, *shape) for name, shape in _OPTIONAL.items()},
        "knots": (count, channels, KNOTS),
        "tails": (count, channels, 3),
        "cut": (count,),
    }
    stacks = _optional(count, 1.0) | dict(stacks)
    if set(stacks) != set(shapes):
        raise refused(f"of each series it has {', '.join(sorted(stacks)) or 'nothing'}, not {', '.join(shapes)}")
    for name, shape in shapes.items():
        if stacks[name].dtype != np.float64 or stacks[name].shape != shape:
            raise refused(f"{name} is {stacks[name].dtype} {stacks[name].shape}, not float64 {shape}")
    for name in ("centre", "scale", "floor", "usual", *_OPTIONAL):
        if not np.isfinite(stacks[name]).all():
            raise refused(f"{name} holds what is no finite number")
    if np.isnan(stacks["cut"]).any():
        raise refused("cut holds what is no number")
    if not (stacks["scale"] > 0).all() or not (stacks["floor"] > 0).all():
        raise refused("scale or floor is not above zero everywhere")
    _check_optional({name: stacks[name] for name in _OPTIONAL})
    # A channel that says nothing of a series, such as trades where an exchange counts none, has NaN.
    knots, tails = stacks["knots"].reshape(-1, KNOTS), stacks["tails"].reshape(-1, 3)
    is_judged = ~np.isnan(knots[:, 0])
    if not np.isfinite(knots[is_judged]).all() or not np.isfinite(tails[is_judged]).all():
        raise refused("knots or tails hold what is no finite number")
    if (np.diff(knots[is_judged], axis=1) < 0).any():
        raise refused("knots do not ascend")


def _optional(count: int, value: float) -> dict[str, NDArray[Any]]:
    """Return what stands for that which a blob has left out."""
    return {name: np.full((count, *_OPTIONAL[name]), value) for name in _OPTIONAL}


def _check_optional(stacks: Mapping[str, NDArray[Any]]) -> None:
    for name, values in stacks.items():
        if not (values >= 0).all() or not values.any():
            raise refused(f"{name} is below zero, or zero everywhere")


def _alone(value: Any) -> Any:
    """Return what stood in one series' place: an array, or a float where it was one."""
    return value if isinstance(value, np.ndarray) else float(value)
