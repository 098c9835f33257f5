"""Finding incidents: in the anomalies that are stored, and in the prices of other venues; described, and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from etl.alerting import Spread
from etl.incidents import Detector, Found, Incident
from etl.series import Series, TimeRange, clip
from etl.timeframe import from_ms, to_ms
from etl.warehouse import incidents_within
from etl.warehouse.scorings import Anomaly, read_anomalies_within
from models.describing import AROUND, Scene, describe
from models.features import Track
from models.incidents import find_incidents, lull
from models.reconciling import News, Tally, reconcile
from models.spreads import find_spreads
from models.tracking import Candles, slots_around

_DAY = timedelta(days=1)  # how far back the usual difference between venues is looked at


@dataclass(frozen=True, slots=True)
class Watchman:
    """Finder of the incidents of one series.

    Attributes:
        series_id: Its number; whoever is here holds it by `lock_scores`.
        budget_of: Returns the incidents a week that the cuts of a model, by its number, were made for.
    """

    candles: Candles
    series: Series
    series_id: int
    spread: Spread
    budget_of: Callable[[int], float]
    run: str

    def look(self, time_range: TimeRange, by_model: News, by_spread: News) -> Tally:
        """Find the incidents in and around a range again, and make those that are stored what was found."""
        known = {detector: self._known(detector, time_range) for detector in Detector}
        zone = _hull(time_range, known[Detector.MODEL])
        anomalies = read_anomalies_within(self.candles.connection, self.series_id, zone)
        siblings = self.candles.siblings(self.series)
        if not (anomalies or siblings or any(known.values())):
            return Tally()
        before = AROUND + _DAY // self.series.timeframe.delta
        wide = slots_around(self.series, _hull(zone, known[Detector.SPREAD]), before, lull(self.series.timeframe))
        track, others = self.candles.track(self.series, wide), self.candles.others(siblings, wide)
        held = np.flatnonzero(track.is_held)
        view = _View(self.series, track, others, int(held[-1]) if len(held) else 0)
        found = list(view.by_model(anomalies, self.budget_of))
        spreads = [
            one
            for one in view.by_spread(self.spread)
            if clip(one.time_range, _hull(time_range, known[Detector.SPREAD])) is not None
        ]
        tally = self._write(known[Detector.MODEL], found, by_model)
        return tally + self._write(known[Detector.SPREAD], spreads, _unless_known(by_spread, known[Detector.SPREAD]))

    def _known(self, detector: Detector, time_range: TimeRange) -> list[Incident]:
        pause = lull(self.series.timeframe)
        near = slots_around(self.series, time_range, pause, pause)
        return incidents_within(self.candles.connection, self.series_id, detector, near)

    def _write(self, known: Sequence[Incident], found: Sequence[Found], news: News) -> Tally:
        return reconcile(self.candles.connection, self.series_id, known, found, news, self.run)


@dataclass(frozen=True, slots=True)
class _View:
    """A series and its siblings, slot by slot; `last_held` is the last slot of the series that has a candle."""

    series: Series
    track: Track
    others: Mapping[Series, Track]
    last_held: int

    def by_model(self, anomalies: Sequence[Anomaly], budget_of: Callable[[int], float]) -> list[Found]:
        """Return the incidents that anomalies make."""
        at = {self._slot(one.open_time): one for one in anomalies}
        flagged = np.zeros(len(self.track), dtype=np.bool_)
        flagged[list(at)] = True
        spans = find_incidents(flagged, lull(self.series.timeframe))
        return [self._by_model(int(first), int(last), at, budget_of) for first, last in spans]

    def _by_model(self, first: int, last: int, at: Mapping[int, Anomaly], budget_of: Callable[[int], float]) -> Found:
        inside = [slot for slot in range(first, last + 1) if slot in at]
        peak = max(inside, key=lambda slot: at[slot].score)
        anomaly = at[peak]
        scene = Scene(
            self.series,
            self.track,
            self.others,
            first,
            peak,
            last,
            detector=Detector.MODEL,
            shares=anomaly.shares,
            score=anomaly.score,
            threshold=anomaly.threshold,
            budget=budget_of(anomaly.model_id),
        )
        return replace(self._found(scene), score=anomaly.score, model_id=anomaly.model_id)

    def by_spread(self, spread: Spread) -> list[Found]:
        """Return where the price was too far from other venues'."""
        gaps = find_spreads(self.series, self.track, self.others, spread)
        return [
            self._found(
                Scene(self.series, self.track, self.others, gap.first, gap.peak, gap.last, Detector.SPREAD, gap=gap)
            )
            for gap in gaps
        ]

    def _found(self, scene: Scene) -> Found:
        told = describe(scene)
        return Found(
            series=self.series,
            detector=scene.detector,
            time_range=TimeRange(self._opens(scene.first), self._opens(scene.last + 1)),
            peak=self._opens(scene.peak),
            kind=told.kind,
            scope=told.scope,
            severity=told.severity,
            evidence=told.evidence,
            is_over=self.last_held - scene.last >= lull(self.series.timeframe),
            once_in_days=told.once_in_days,
        )

    def _slot(self, moment: datetime) -> int:
        return (to_ms(moment) - self.track.start_ms) // self.track.timeframe.ms

    def _opens(self, slot: int) -> datetime:
        return from_ms(self.track.start_ms + slot * self.track.timeframe.ms)


def _unless_known(news: News, known: Sequence[Incident]) -> News:
    """Return the same, but that what is known already is not new: nobody can say which candle brought a spread."""

    def is_new(found: Found) -> bool:
        overlaps = (clip(found.time_range, one.found.time_range) for one in known)
        return news.is_new(found) and all(both is None for both in overlaps)

    return News(is_new, news.is_recent)


def _hull(time_range: TimeRange, known: Sequence[Incident]) -> TimeRange:
    """Return the range that spans a range and the incidents that touch it."""
    spans = [time_range, *(one.found.time_range for one in known)]
    return TimeRange(min(span.start for span in spans), max(span.end for span in spans))
