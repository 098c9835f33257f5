"""Progress of a night, and where its time goes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from models.scorers.scorer import Progress

log = logging.getLogger(__name__)

# What of a night's time a stage takes, about; for bars.
_WEIGHTS = {"read": 2.0, "fit lstm": 78.0, "fit autoencoder": 8.0, "evaluate": 8.0}
_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Step:
    """Progress of a training.

    Attributes:
        stage: What is being done: `read`, `fit lstm`, `evaluate` ...
        share: Of the whole, between 0 and 1.
        progress: Of the scorer that is learning, where one is.
    """

    stage: str
    share: float
    progress: Progress | None = None


Watch = Callable[[Step], None]
Told = Callable[[float], None]
"""Told which share of a stage is done."""


class Stages:
    """The stages of one night, timed.

    Args:
        names: Those that there will be, in their order.
        watch: Told of every step.

    Attributes:
        seconds: What each stage took that has ended.
        losses: What each scorer measured on candles that it does not learn, epoch by epoch.
    """

    def __init__(self, names: Sequence[str], watch: Watch) -> None:
        self.seconds: dict[str, float] = {}
        self.losses: dict[str, list[float]] = {}
        self._watch = watch
        self._weights = {name: _WEIGHTS.get(name, _WEIGHT) for name in names}

    @contextmanager
    def stage(self, name: str) -> Iterator[Told]:
        """Time a block; yield what tells how far it is."""
        begun = time.perf_counter()
        self._tell(name, 0.0)
        yield lambda share: self._tell(name, share)
        self.seconds[name] = time.perf_counter() - begun
        log.info("%s took %.1f s", name, self.seconds[name])

    @contextmanager
    def fitting(self, scorer: str) -> Iterator[Callable[[Progress], None]]:
        """Time how long a scorer learns; yield what it tells how far it is."""
        name, epochs = f"fit {scorer}", self.losses.setdefault(scorer, [])

        def watch(progress: Progress) -> None:
            if progress.loss is not None and progress.epoch > len(epochs):
                epochs.append(progress.loss)
                log.info("%s: epoch %d of %d, loss %.4f", scorer, progress.epoch, progress.epochs, progress.loss)
            self._tell(name, progress.share, progress)

        with self.stage(name):
            yield watch

    def _tell(self, name: str, share: float, progress: Progress | None = None) -> None:
        done = sum(self._weights.get(one, 0.0) for one in self.seconds)
        whole = sum(self._weights.values())
        self._watch(Step(name, (done + share * self._weights.get(name, 0.0)) / whole, progress))
