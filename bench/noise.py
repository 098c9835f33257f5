"""Frequency of alerts: incidents and messages per series and week, on recordings, calm weeks and volatile ones.

Run as `python -m bench noise`. The model that nights train, on the same stretches and with the same cuts as in
`bench.models`, judges the weeks that follow at the default budget. What it finds is described as the pipeline does,
with other exchanges where they were recorded too; and messages are planned as they would have been: minute by minute,
as if live, and once a day, as a daily load brings them. All alerts have one route.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.models import Found as Fits
from bench.models import out, train_all
from bench.recordings import DATA, GROUPS, Group, Training, read, read_all, volatility
from bench.tables import markdown
from etl.alerting import Alerting, ChannelSettings, Route
from etl.alerts.past import Decided, Past, Told
from etl.alerts.routing import plan
from etl.incidents import Detector, Found, Incident, IncidentState, Severity
from etl.messages import Alert, MessageState
from etl.series import Series, TimeRange, symbol_from_path
from etl.timeframe import EPOCH, Timeframe, from_ms
from models.artifact import Artifact
from models.describing import AROUND, Scene, describe
from models.features import Track, to_track
from models.fitting import recalibrate
from models.incidents import find_incidents, lull
from models.scorers import LEARNED
from models.scorers.scorer import Parts
from models.scoring import Scores, score_track
from models.shares import shares_of
from models.siblings import siblings_of
from models.spreads import find_spreads

ALERTING = Alerting(channels={"people": ChannelSettings()}, routes=(Route(channels=("people",)),))
_DAY, _WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Heard:
    """An incident as it stood when something was to be said of it: when it opened, or became more severe, or was over.

    Attributes:
        number: Of the incident.
        at: When that was known.
    """

    number: int
    found: Found
    at: datetime


@dataclass(slots=True)
class Week:
    """Result of one week of one series. A message that tells of several series counts a part for each."""

    series: Series
    volatility: float
    weeks: float
    severities: Counter[Severity] = field(default_factory=Counter)
    spreads: int = 0
    live: float = 0.0
    daily: float = 0.0


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[group.name for group in GROUPS], help="only this group")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        out.print(f"noise: no {DATA}; set CHANDLER_DATA to a folder with candles/<exchange>/<SYMBOL>/1m.parquet")
        return
    begun = time.perf_counter()
    found = {group.name: list(judge_group(group)) for group in GROUPS if arguments.only in {None, group.name}}
    out.print(write(found))
    out.print(f"{time.perf_counter() - begun:.0f} s")


def judge_group(group: Group) -> Iterator[Week]:
    """Yield the weeks of all trainings."""
    fits, taught = Fits(), dict[str, Parts]()
    for training in group.trainings:
        tracks = read_all(group, training)[1]
        others = {series: recorded_elsewhere(series, training) for series in tracks}
        artifact = train_all([LEARNED], training, tracks, taught, fits)[LEARNED]
        for step in training.steps:
            artifact = recalibrate(artifact, tracks, step.calm)
            for week in step.weeks:
                own = list(judge_week(artifact, tracks, others, week))
                yield from own
                told = ", ".join(f"{sum(one.severities.values())} of {one.series}" for one in own)
                out.print(f"{group.name} {week}: incidents {told}; {sum(one.live for one in own):.0f} messages")


def recorded_elsewhere(series: Series, training: Training) -> dict[Series, Track]:
    """Return what other exchanges' recordings show of the same asset at that time."""
    known = {
        Series(path.parts[-3], symbol_from_path(path.parts[-2]), Timeframe(path.stem)): path
        for path in DATA.glob("*/*/*.parquet")
    }
    found = {}
    for one in siblings_of(series, known):
        times = np.asarray(pq.read_table(known[one], columns=["open_time"]).column(0).cast(pa.int64()))
        if ((times >= training.span.start_ms) & (times < training.span.end_ms)).any():
            found[one] = to_track(read(one, training.span), one.timeframe, training.span)
    return found


def judge_week(
    artifact: Artifact,
    tracks: Mapping[Series, Track],
    others: Mapping[Series, Mapping[Series, Track]],
    week: TimeRange,
) -> Iterator[Week]:
    """Yield what a week brought on each series, with its part of the messages about all of them."""
    weeks, live, whole = {}, list[Heard](), list[Heard]()
    for series, track in tracks.items():
        scores = score_track(track, artifact, series, week)
        length = float((~np.isnan(scores.joined)).sum() * track.timeframe.delta / _WEEK)
        weeks[series] = Week(series, volatility(track, week), length)
        view = TimeRange(week.start - _DAY - AROUND * track.timeframe.delta, week.end)
        own, near = track.cut(view), {one: each.cut(view) for one, each in others[series].items()}
        for scenes in [*by_model(series, own, near, scores), *by_spread(series, own, near, week)]:
            heard = [hear(len(whole), scene) for scene in scenes]
            whole.append(heard[-1])
            live += {one.found.severity: one for one in reversed(heard)}.values()
            last = heard[-1].found
            weeks[series].severities[last.severity] += last.detector is Detector.MODEL
            weeks[series].spreads += last.detector is Detector.SPREAD
    for told in plan_all([(one, one.at) for one in live]):
        for series in told:
            weeks[series].live += 1 / len(told)
    # A daily load brings the whole incident, with the rest of its day.
    for told in plan_all([(one, EPOCH + ((one.at - EPOCH) // _DAY + 1) * _DAY) for one in whole]):
        for series in told:
            weeks[series].daily += 1 / len(told)
    yield from weeks.values()


def by_model(series: Series, track: Track, others: Mapping[Series, Track], scores: Scores) -> Iterator[list[Scene]]:
    """Yield the incidents that a model found, each as it grew, anomaly by anomaly."""
    offset = (int(scores.open_time_ms[0]) - track.start_ms) // track.timeframe.ms
    for first, end in find_incidents(scores.is_anomaly, lull(scores.series.timeframe)):
        grown = []
        for last in first + np.flatnonzero(scores.is_anomaly[first : end + 1]):
            peak = first + int(np.nanargmax(scores.joined[first : last + 1]))
            [shares] = shares_of(scores.channels, scores.by_channel[[peak]])
            place = (int(first) + offset, int(peak) + offset, int(last) + offset)
            score = float(scores.joined[peak])
            grown.append(Scene(series, track, others, *place, shares=shares, score=score, threshold=scores.threshold))
        yield grown


def by_spread(series: Series, track: Track, others: Mapping[Series, Track], week: TimeRange) -> Iterator[list[Scene]]:
    """Yield where the price was too far from other venues'."""
    for gap in find_spreads(series, track, others, ALERTING.spread):
        if track.start_ms + gap.first * track.timeframe.ms >= week.start_ms:
            place = (gap.first, gap.peak, gap.last)
            yield [Scene(series, track, others, *place, detector=Detector.SPREAD, gap=gap)]


def hear(number: int, scene: Scene) -> Heard:
    """Return an incident as it stands when its last candle closes."""
    told, width = describe(scene), scene.track.timeframe.ms
    first, peak, last = (scene.track.start_ms + slot * width for slot in (scene.first, scene.peak, scene.last))
    found = Found(
        series=scene.series,
        detector=scene.detector,
        time_range=TimeRange.from_ms(first, last + width),
        peak=from_ms(peak),
        kind=told.kind,
        scope=told.scope,
        severity=told.severity,
        evidence=told.evidence,
        is_over=False,
        score=scene.score,
        once_in_days=told.once_in_days,
    )
    return Heard(number, found, found.time_range.end)


def plan_all(heard: Sequence[tuple[Heard, datetime]]) -> Iterator[set[Series]]:
    """Yield whose series each message tells of, where alerts are put into the outbox at those times."""
    alerts = [to_alert(number, one, at) for number, (one, at) in enumerate(sorted(heard, key=lambda each: each[1]), 1)]
    told, decided = list[Told](), list[Decided]()
    gather = timedelta(seconds=ALERTING.gather_s)
    for now in sorted({alert.created_at + gather for alert in alerts}):
        seen = {one.alert.id for one in decided}
        waiting = [alert for alert in alerts if alert.created_at <= now and alert.id not in seen]
        planned = plan(waiting, Past(tuple(told), tuple(decided)), ALERTING, now)
        by_id = {alert.id: alert for alert in waiting}
        decided += [Decided(by_id[one], now) for one in planned.outcomes]
        for draft in planned.drafts:
            own = tuple(by_id[one] for one in draft.alerts)
            told.append(Told(len(told), draft.channel, draft.identity, own, False, MessageState.SENT, now))
            yield {alert.incident.found.series for alert in own if alert.incident is not None}


def to_alert(number: int, heard: Heard, at: datetime) -> Alert:
    """Return what waits in the outbox from then on."""
    incident = Incident(
        id=heard.number,
        found=heard.found,
        state=IncidentState.OPEN,
        reason="",
        model=None,
        is_history=False,
        opened_at=at,
        updated_at=at,
        acknowledged_at=None,
        is_false=None,
        note="",
        opinion=None,
    )
    found = heard.found
    identity = f"incident:{heard.number}:{found.severity}"
    return Alert(number, identity, found.kind, found.severity, found.time_range.start, at, incident, None)


def write(found: Mapping[str, Sequence[Week]]) -> str:
    """Return a table: by recording and in all, calm weeks and volatile ones apart, each number per series and week."""
    every = [week for own in found.values() for week in own]
    usual = {
        series: float(np.median([one.volatility for one in every if one.series == series]))
        for series in {one.series for one in every}
    }
    rows = []
    for name, own in [*found.items(), ("all", every)]:
        calm = [one for one in own if one.volatility <= usual[one.series]]
        wild = [one for one in own if one.volatility > usual[one.series]]
        rows += [(f"{name}, {half}", *_rates(weeks)) for half, weeks in (("calm", calm), ("volatile", wild)) if weeks]
    heads = ("", "weeks", "incidents", *(f"of them {one}" for one in Severity), "spreads", "messages, live", "by day")
    return f"### Per series and week, asked for 1 incident\n\n{markdown(heads, rows)}"


def _rates(weeks: Sequence[Week]) -> tuple[str, ...]:
    length = sum(one.weeks for one in weeks)
    severities = sum((one.severities for one in weeks), Counter[Severity]())
    counts = (
        severities.total(),
        *(severities[one] for one in Severity),
        sum(one.spreads for one in weeks),
        sum(one.live for one in weeks),
        sum(one.daily for one in weeks),
    )
    return f"{length:.0f}", *(f"{count / length:.2f}" for count in counts)


if __name__ == "__main__":
    main()
