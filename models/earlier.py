"""State that earlier nights have left: the champion to beat, and the weights of the last LSTM."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from etl.errors import ArtifactError
from etl.learning import Learning
from etl.series import TimeRange
from etl.warehouse import Warehouse
from models.artifact import Artifact
from models.lessons import Lessons
from models.registry import Model, champion, list_models, read_artifact
from models.scorers import SCORERS
from models.scorers.scorer import Parts
from models.scoring import judge_of
from models.targets import Target

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Earlier:
    """State that a night begins with.

    Attributes:
        champion: The champion that was, whether or not it can be used.
        artifact: What it judges by; None if there is no champion, or none that can be used.
        trouble: Why it cannot be used.
    """

    champion: Model | None = None
    artifact: Artifact | None = None
    trouble: str | None = None

    def has_learned(self, part: TimeRange) -> bool:
        """Return whether the champion has learned from what lies in or after a range."""
        return self.artifact is not None and self.artifact.learned.end > part.start

    @property
    def name(self) -> str | None:
        """The name in the night's comparison; None if it takes no part."""
        if self.champion is None or self.artifact is None:
            return None
        return f"{self.champion.scorer} {self.champion.name}"


def read_earlier(warehouse: Warehouse, learning: Learning, target: Target, lessons: Lessons) -> Earlier:
    """Return the champion of what is to be trained, checked as far as it can be without candles."""
    with warehouse.begin() as connection:
        was = champion(connection, target)
        if was is None:
            return Earlier()
        try:
            artifact = read_artifact(connection, was, learning.max_artifact_bytes)
            judge_of(artifact)
        except ArtifactError as error:
            return Earlier(was, trouble=f"{was.name} cannot be used ({error})")
    if not artifact.norms.keys() & lessons.tracks.keys():
        return Earlier(was, trouble=f"{was.name} knows no series of this night")
    return Earlier(was, artifact)


def last_lesson(
    warehouse: Warehouse, learning: Learning, target: Target, scorer: str, earlier: Earlier, lessons: Lessons
) -> Parts | None:
    """Return what a scorer was last taught: as champion, or else in the newest model of it whose blob is sound.

    Never what has learned from candles that this night holds out.
    """
    with warehouse.begin() as connection:
        known = list_models(connection, target, scorer=scorer)
        for model in sorted(known, key=lambda one: one == earlier.champion, reverse=True):
            if not model.has_blob or model.learned.end > lessons.split.learned.end:
                continue
            try:
                parts = read_artifact(connection, model, learning.max_artifact_bytes).parts
                SCORERS[scorer].load(parts)
            except ArtifactError as error:
                log.warning("nothing is taken on from %s: %s", model.name, error)
            else:
                return parts
    return None
