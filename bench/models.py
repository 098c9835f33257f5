"""Value of each way to judge candles: on recordings, by anomalies planted into weeks that it never saw.

Run as `python -m bench models`. Every scorer learns from what comes before, takes its cut from the weeks behind that,
and is judged in the weeks that follow, again and again through the recordings; see `bench.recordings`. Then the budget:
how many incidents the cuts really gave, in volatile weeks and in calm ones; what the crash of 2021-12-04 looked like to
each; and what the constant cut of the tutorials gives. Writes tables as Markdown and plots as PNG.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pyarrow as pa
from rich.console import Console

from bench.recordings import DATA, GROUPS, Group, Training, read_all, volatility
from bench.tables import Crash, Week, write_budget, write_comparison, write_crash, write_tutorial
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.artifact import ALL, Artifact
from models.calibration import join
from models.evaluation import evaluate, take_example
from models.features import Track
from models.fitting import fit, recalibrate
from models.plots import draw_curves, draw_example, draw_recall, write_png
from models.results import Evaluation, Example, summarise
from models.scorers import LEARNED, SCORERS
from models.scorers.autoencoder import TUTORIAL_CUT
from models.scorers.scorer import Parts, Study
from models.scoring import score_track

BUDGET = 1.0
_EPOCHS = 4  # of a baseline that has any, as in a night
TUTORIAL = "autoencoder at 0.65"
CRASH = TimeRange(datetime(2021, 12, 4, 5, tzinfo=UTC), datetime(2021, 12, 4, 6, tzinfo=UTC))
out = Console(width=140, markup=False, soft_wrap=True, highlight=False)


@dataclass(slots=True)
class Found:
    """Results of a group's comparisons so far."""

    evaluations: list[Evaluation] = field(default_factory=list)
    tutorial: list[Evaluation] = field(default_factory=list)
    weeks: list[Week] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def train_all(
    names: Iterable[str], training: Training, tracks: Mapping[Series, Track], taught: dict[str, Parts], found: Found
) -> dict[str, Artifact]:
    """Fit every scorer; what is trained night by night begins with what it was taught in the training before."""
    artifacts = {}
    timeframe = next(iter(tracks)).timeframe
    for name in names:
        begun = time.perf_counter()
        artifacts[name] = fit(
            name,
            timeframe,
            tracks,
            training.learned,
            training.steps[0].calm,
            Study(begin_with=taught.get(name)) if name == LEARNED else Study(epochs=_EPOCHS),
            scope=ALL,
            as_of=training.steps[0].calm.end,
            data_hash="0" * 64,
            budget=BUDGET,
        )
        found.seconds[name] = found.seconds.get(name, 0.0) + time.perf_counter() - begun
        if name == LEARNED:
            taught[name] = artifacts[name].parts
    return artifacts


def at_tutorial_cut(artifact: Artifact) -> Artifact:
    """Return the same model, cut where its raw score is what tutorials cut at."""
    raw = np.array([[TUTORIAL_CUT]], dtype=np.float32)
    return replace(
        artifact,
        calibrations={
            series: replace(own, cut=float(join(raw, own)[1][0])) for series, own in artifact.calibrations.items()
        },
    )


def meet_crash(artifacts: Mapping[str, Artifact], tracks: Mapping[Series, Track], month: TimeRange) -> Iterator[Crash]:
    """Say when each scorer saw the crash first, and where its strangest minute stands among all of the month."""
    for name, artifact in artifacts.items():
        for series, track in tracks.items():
            scores = score_track(track, artifact, series, month)
            inside = (scores.open_time_ms >= CRASH.start_ms) & (scores.open_time_ms < CRASH.end_ms)
            flagged = scores.open_time_ms[inside & scores.is_anomaly]
            best = np.nanmax(scores.joined[inside])
            rank = 1 + int(np.nansum(scores.joined > best))
            first = datetime.fromtimestamp(int(flagged[0]) / 1000, UTC) if len(flagged) else None
            yield Crash(name, series, first, rank, int((~np.isnan(scores.joined)).sum()))


def draw_from(
    artifacts: Mapping[str, Artifact], candles: Mapping[Series, pa.Table], week: TimeRange
) -> Iterator[Example]:
    """Yield what a plot of scores over time shows: of what is trained, and of the tutorial's."""
    series, table = next(iter(candles.items()))
    for name in (LEARNED, "autoencoder"):
        if name in artifacts:
            yield take_example(name, artifacts[name], series, table, week)


def compare_group(group: Group, names: Sequence[str], most: int | None) -> Found:
    """Train and judge, training by training."""
    found, taught = Found(), dict[str, Parts]()
    seed = 0
    for number, training in enumerate(group.trainings[:most], 1):
        candles, tracks = read_all(group, training)
        out.print(f"{group.name} {number} of {len(group.trainings)}: {', '.join(training.symbols)} {training.learned}")
        artifacts = train_all(names, training, tracks, taught, found)
        if training.span.start <= CRASH.start < training.span.end and group.timeframe is Timeframe.M1:
            found.crashes += meet_crash(artifacts, tracks, training.span)
            found.examples += draw_from(artifacts, candles, training.steps[-1].weeks[-1])
        for step in training.steps:
            if step is not training.steps[0]:
                artifacts = {name: recalibrate(one, tracks, step.calm) for name, one in artifacts.items()}
            for week in step.weeks:
                seed += 1  # units are told apart by series and seed: one for each week
                begun = time.perf_counter()
                judged = evaluate(artifacts, candles, week, seeds=(seed,))
                found.evaluations.append(judged)
                found.weeks += [Week(one, volatility(tracks[one.series], week)) for one in judged.given]
                if week is training.steps[0].weeks[0] and "autoencoder" in artifacts:
                    tutorial = {TUTORIAL: at_tutorial_cut(artifacts["autoencoder"])}
                    found.tutorial.append(evaluate(tutorial, candles, week, seeds=(seed,)))
                out.print(f"  {week} {time.perf_counter() - begun:5.1f} s  {_ranking(judged)}")
    return found


def joined(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the comparisons as one; their units are all different."""
    test = TimeRange(min(one.test.start for one in evaluations), max(one.test.end for one in evaluations))
    outcomes = tuple(outcome for one in evaluations for outcome in one.outcomes)
    given = tuple(each for one in evaluations for each in one.given)
    return Evaluation(test, tuple(seed for one in evaluations for seed in one.seeds), BUDGET, outcomes, given)


def main() -> None:
    """Compare, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[group.name for group in GROUPS], help="only this group")
    parser.add_argument("--scorers", nargs="+", choices=list(SCORERS), default=list(SCORERS), help="only these")
    parser.add_argument("--quick", action="store_true", help="only the first training of each group")
    parser.add_argument("--out", type=Path, default=Path(".chandler/bench-models"), help="where tables and plots go")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        out.print(f"models: no {DATA}; set CHANDLER_DATA to a folder with candles/<exchange>/<SYMBOL>/1m.parquet")
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    groups = [group for group in GROUPS if arguments.only in {None, group.name}]
    found, text = dict[str, Found](), ""
    for group in groups:
        found[group.name] = compare_group(group, arguments.scorers, 1 if arguments.quick else None)
        text = write_all(
            found, arguments.out
        )  # again after each group: what is found is not lost if the next one fails
    out.print(text)
    out.print(f"{time.perf_counter() - begun:.0f} s; see {arguments.out}")


def write_all(found: Mapping[str, Found], folder: Path) -> str:
    """Write tables, plots, and the numbers behind them. Returns what is to be read."""
    together = {name: joined(one.evaluations) for name, one in found.items()}
    everything = joined(list(together.values())) if len(together) > 1 else None
    parts = [write_comparison(name, one) for name, one in together.items()]
    if everything is not None:
        parts.insert(0, write_comparison("all of them", everything))
    parts.append(write_budget({name: one.weeks for name, one in found.items()}))
    parts += [write_crash(one.crashes) for one in found.values() if one.crashes]
    parts += [write_tutorial(name, joined(one.tutorial)) for name, one in found.items() if one.tutorial]
    (folder / "models.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    (folder / "models.json").write_text(json.dumps({name: one.to_json() for name, one in together.items()}))
    for name, one in ({"all": everything} if everything else together).items():
        summaries = summarise(one)
        write_png(draw_recall(summaries), folder / f"models-recall-{name}.png")
        write_png(draw_curves(one, [each.model for each in summaries]), folder / f"models-curves-{name}.png")
    for example in (each for one in found.values() for each in one.examples):
        write_png(draw_example(example), folder / f"models-scores-{example.model}.png")
    for name, one in found.items():
        parts.append(f"{name}: " + ", ".join(f"fit {scorer} {taken:.0f} s" for scorer, taken in one.seconds.items()))
    return "\n\n".join(parts)


def _ranking(judged: Evaluation) -> str:
    return ", ".join(f"{one.model} {one.vus_pr:.2f}" for one in summarise(judged))


if __name__ == "__main__":
    main()
