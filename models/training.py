"""A night: read, learn, compare, decide, report, register. All before the last step leaves nothing behind."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from etl.errors import InsufficientHistoryError
from etl.settings import Settings
from etl.warehouse import Warehouse
from models import scorers
from models.artifact import Artifact
from models.earlier import Earlier, last_lesson, read_earlier
from models.evaluation import evaluate, seeds_for, take_example
from models.feedback import feedback_since_last_night
from models.fitting import fit, recalibrate
from models.given import given_since
from models.lessons import Lessons, read_lessons
from models.registry import environment
from models.report import Night, Role, render
from models.results import Evaluation, Given, excess
from models.scorers.scorer import Study
from models.stages import Stages, Told, Watch
from models.targets import Target
from models.trained import Trained, find_settled, register
from models.verdict import Standing, Verdict, reach_verdict

log = logging.getLogger(__name__)

_EXAMPLES = 3  # series whose scores a report draws
_EPOCHS = 4  # of a baseline that has any: it begins anew each night, and is not what the night's time is for


def train(
    warehouse: Warehouse,
    settings: Settings,
    target: Target,
    end: datetime,
    run: str,
    watch: Watch = lambda _: None,
) -> Trained:
    """Train one model and the baselines, compare them with the champion, and keep what was decided.

    A run that has decided already, from the very same candles, has no more to do.

    Args:
        end: Nothing that opens at or after it is looked at.
        run: Who trains, as the registry is told.

    Raises:
        InsufficientHistoryError: There are too few candles to learn from.
        ConfigError: The settings leave nothing to learn from.
    """
    stages = Stages(["read", *(f"fit {name}" for name in scorers.SCORERS), "evaluate", "report", "register"], watch)
    with stages.stage("read") as told:
        lessons = read_lessons(warehouse, settings, target, end, told)
        remarks = tuple(_remarks(lessons))
        for remark in remarks:
            log.info("%s", remark)
        if (settled := find_settled(warehouse, target, run, lessons.data_hash, remarks)) is not None:
            return settled
        earlier = read_earlier(warehouse, settings.models, target, lessons)
    artifacts = _fit_all(warehouse, settings, target, lessons, earlier, stages)
    with stages.stage("evaluate") as told:
        evaluation = _compare(artifacts, earlier, lessons, told)
        since = _since(earlier, lessons)
        verdict = reach_verdict(evaluation, _standing(earlier, lessons, since))
    with stages.stage("report"):
        if verdict.champion != earlier.name:
            # What judges from now on has its cuts from all that is held out, and from the latest of it above all.
            winner = recalibrate(artifacts[verdict.champion], lessons.tracks, lessons.split.held_out)
            artifacts[verdict.champion] = winner
        night = _night(target, run, lessons, earlier, since, evaluation, verdict, artifacts, stages)
        with warehouse.begin() as connection:
            night = replace(night, feedback=feedback_since_last_night(connection, target))
        page = render(night)
    with stages.stage("register"):
        candidate, now, why = register(warehouse, settings, night, artifacts, earlier.champion, page)
    return Trained(target, night, candidate, now, why, remarks, stages.seconds)


def _fit_all(
    warehouse: Warehouse, settings: Settings, target: Target, lessons: Lessons, earlier: Earlier, stages: Stages
) -> dict[str, Artifact]:
    """Fit every scorer there is. A baseline that has too little to learn from takes no part."""
    artifacts = {}
    for name in scorers.SCORERS:
        is_learned = name == scorers.LEARNED
        begin_with = None
        if is_learned:
            begin_with = last_lesson(warehouse, settings.models, target, name, earlier, lessons)
        with stages.fitting(name) as watch:
            epochs = settings.models.epochs if is_learned else min(_EPOCHS, settings.models.epochs)
            study = Study(epochs=epochs, begin_with=begin_with, watch=watch)
            try:
                artifacts[name] = fit(
                    name,
                    target.timeframe,
                    lessons.tracks,
                    lessons.split.learned,
                    lessons.split.calm,
                    study,
                    scope=target.scope,
                    as_of=lessons.as_of,
                    data_hash=lessons.data_hash,
                    budget=settings.models.budget_at(target.timeframe),
                )
            except InsufficientHistoryError as error:
                if is_learned:
                    raise
                log.warning("%s takes no part: %s", name, error)
    return artifacts


def _compare(artifacts: Mapping[str, Artifact], earlier: Earlier, lessons: Lessons, told: Told) -> Evaluation:
    """Let the night's models and the champion that was judge the same weeks, with cuts from the same calm days."""
    rivals = dict(artifacts)
    if earlier.name is not None and earlier.artifact is not None:
        rivals[earlier.name] = recalibrate(earlier.artifact, lessons.tracks, lessons.split.calm)
    test = lessons.split.test
    seeds = seeds_for(len(lessons.tracks), next(iter(lessons.tracks)).timeframe, test)
    return evaluate(rivals, lessons.candles, test, seeds=seeds, watch=told)


def _standing(earlier: Earlier, lessons: Lessons, since: Sequence[Given]) -> Standing:
    known = set() if earlier.artifact is None else set(earlier.artifact.norms)
    newcomers = sorted(lessons.tracks.keys() - known) if known else []
    overrun = None if earlier.artifact is None else excess(since, earlier.artifact.budget)
    has_seen = earlier.has_learned(lessons.split.held_out)
    return Standing(scorers.LEARNED, earlier.name, newcomers, earlier.trouble, has_seen, overrun)


def _since(earlier: Earlier, lessons: Lessons) -> list[Given]:
    """Return what the cut of the champion that was has given since it was made."""
    if earlier.name is None or earlier.artifact is None:
        return []
    return given_since(earlier.name, earlier.artifact, lessons.tracks, lessons.split.test.end)


def _night(
    target: Target,
    run: str,
    lessons: Lessons,
    earlier: Earlier,
    since: Sequence[Given],
    evaluation: Evaluation,
    verdict: Verdict,
    artifacts: Mapping[str, Artifact],
    stages: Stages,
) -> Night:
    roles = {name: Role.CANDIDATE if name == scorers.LEARNED else Role.BASELINE for name in artifacts}
    judging = dict(artifacts)
    if earlier.name is not None and earlier.artifact is not None:
        roles[earlier.name] = Role.CHAMPION
        judging[earlier.name] = earlier.artifact
    drawn = [series for series in sorted(lessons.tracks) if series in judging[verdict.champion].norms][:_EXAMPLES]
    return Night(
        target.timeframe,
        target.scope,
        run,
        lessons.as_of,
        lessons.split.learned,
        lessons.split.held_out,
        lessons.data_hash,
        evaluation,
        roles,
        verdict.champion,
        earlier.name,
        verdict.reason,
        verdict.comparisons,
        stages.seconds,
        stages.losses,
        {str(series): why for series, why in lessons.left_out.items()},
        since,
        [
            take_example(
                verdict.champion, judging[verdict.champion], series, lessons.candles[series], lessons.split.test, seed=1
            )
            for series in drawn
        ],
        environment(),
    )


def _remarks(lessons: Lessons) -> list[str]:
    return [*(f"{series} is left out: {why}" for series, why in lessons.left_out.items()), *lessons.remarks]
