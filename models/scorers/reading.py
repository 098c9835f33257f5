"""Checks of parts before they are used: they may come from anywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etl.errors import ArtifactError
from models.scorers.scorer import Parts


def take_numbers(parts: Parts, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an array of finite numbers.

    Raises:
        ArtifactError: It is not there, or not such an array.
    """
    if name not in parts.numbers:
        raise ArtifactError(f"the parts have no numbers {name!r}")
    numbers = parts.numbers[name]
    if numbers.shape != shape or numbers.dtype.kind not in "fiu":
        raise ArtifactError(f"{name!r} is {numbers.dtype}{numbers.shape} where numbers{shape} are read")
    if not np.isfinite(numbers).all():
        raise ArtifactError(f"{name!r} has numbers that are not finite")
    return numbers.astype(np.float64)


def take_scales(parts: Parts, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an array of numbers above zero, to divide by.

    Raises:
        ArtifactError: It is not there, or not such an array.
    """
    numbers = take_numbers(parts, name, shape)
    if not (numbers > 0).all():
        raise ArtifactError(f"{name!r} has numbers that are not above zero")
    return numbers


def take_graph(parts: Parts) -> bytes:
    """Return the graph.

    Raises:
        ArtifactError: There is none.
    """
    if parts.graph is None:
        raise ArtifactError("the parts have no graph")
    return parts.graph
