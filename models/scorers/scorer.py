"""Protocol of scorers: one learns from lessons, keeps what it learned as numbers, and says how strange candles are.

A scorer knows no series, store or threshold. It sees normalised features in rows of consecutive candles, and says of
each candle, by channel, how strange it is: any number, higher is stranger. What such a number means (how seldom it is
exceeded) is found out afterwards, by `models.calibration`, in the same way for all scorers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Parts:
    """Learned state of a scorer: numbers, facts and a graph, and never code.

    Attributes:
        numbers: Arrays of numbers by name (`[a-z0-9_]+`).
        facts: What JSON can hold.
        graph: An ONNX model, or None.
    """

    numbers: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    graph: bytes | None = None


@dataclass(frozen=True, slots=True)
class Lesson:
    """Candles of one series to learn from, on their grid, oldest first.

    Attributes:
        values: (n, len(FEATURES)) float32, normalised features as `models.features` names them; NaN where not known.
        is_clean: (n,) whether the candle is held and neither filled nor flagged: only such ones are to be learned.
    """

    values: Floats
    is_clean: Mask


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a training.

    Attributes:
        epoch: Of how many, from 1 on; 0 of 0 where a scorer has none.
        share: Of the whole training, between 0 and 1.
        loss: What was last measured on candles that are not learned; None so far.
    """

    epoch: int
    epochs: int
    share: float
    loss: float | None = None


Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Study:
    """Settings of a training.

    Attributes:
        seed: Fixes all that is drawn, so that a training is repeatable on one machine.
        epochs: The most, for those that have any.
        begin_with: What an earlier training of the same scorer has learned, to start from.
        watch: Told how far it is.
    """

    seed: int = 7
    epochs: int = 12
    begin_with: Parts | None = None
    watch: Watch = lambda _: None


Judge = Callable[[Floats], Floats]
"""Judges rows: (ROWS, STEPS, len(FEATURES)) float32 -> (ROWS, BLOCK, channels) float32; see `models.blocks`.

The first STEPS - BLOCK steps of a row are context, and not judged. A candle is judged by what stands at and before it
in its own row, and nothing else: not by later steps, not by other rows. Where a step is NaN in all features no candle
is held, and whatever is returned there is not used; NaN says that a channel has no judgement.
"""


@dataclass(frozen=True, slots=True)
class Scorer:
    """One way to judge candles. One file, and one line in `models.scorers.SCORERS`.

    Attributes:
        name: As artifacts and reports have it: `[a-z0-9_]+`.
        doc: One line for people.
        channels: What it judges by: names of features, or of its own.
        fit: Learns from several series at once; raises InsufficientHistoryError if there is too little.
        load: Returns what judges by parts. May be slow (it makes an ONNX session): it is done once in a process. Raises
            ArtifactError if these are not parts that `fit` returns.
    """

    name: str
    doc: str
    channels: tuple[str, ...]
    fit: Callable[[Sequence[Lesson], Study], Parts]
    load: Callable[[Parts], Judge]
