"""Judging ranges of a series: scores, and what follows from them: anomalies, incidents, alerts.

A range is judged piece by piece, each in one transaction with all that follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise

import numpy as np
from sqlalchemy import Connection

from etl.alerting import Alerting
from etl.incidents import Found
from etl.learning import Learning
from etl.series import Series, TimeRange, clip
from etl.settings import Settings
from etl.spelling import counted
from etl.timeframe import Timeframe, from_ms
from etl.warehouse import Warehouse, loads_within, lock_scores
from etl.warehouse.scorings import Anomaly, replace_anomalies
from models.blocks import BLOCK, ROWS, context_of
from models.reconciling import News, Tally
from models.registry import Era, Model, can_judge, champion, era_of, eras_of, model_of, read_good
from models.scoring import Scores, score
from models.shares import shares_of
from models.sighting import Watchman
from models.targets import Target
from models.tracking import Candles

_PIECE = 8 * ROWS * BLOCK  # slots judged in one transaction: six weeks of minutes, a second or two
Watch = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Round:
    """Result of a round for one series.

    Attributes:
        candles: That were judged.
        anomalies: Among them.
        opened, changed, withdrawn: Incidents, of this series and of the same asset on other exchanges.
        alerts: Put into the outbox.
        waiting: Why nothing could be judged; None if it could. Nothing is lost: it is judged once it can be.
    """

    series: Series
    candles: int = 0
    anomalies: int = 0
    opened: int = 0
    changed: int = 0
    withdrawn: int = 0
    alerts: int = 0
    waiting: str | None = None

    @property
    def gist(self) -> str:
        """One line for a log."""
        if self.waiting is not None:
            return f"{self.series}: not scored yet: {self.waiting}"
        return (
            f"{self.series}: {counted(self.candles, 'candle')} scored, anomalies: {self.anomalies:,}; incidents: "
            f"{self.opened:,} new, {self.changed:,} changed, {self.withdrawn:,} withdrawn; alerts: {self.alerts:,}"
        )


@dataclass(frozen=True, slots=True)
class RangeJudge:
    """Judge of ranges of one series.

    Attributes:
        run: What to call this in the warehouse.
        now: What closed longer than `alerting.news` before it is history.
        news: The ranges of whose incidents people are told.
        watch: Told what share is done.
        model: Who judges, instead of the champions of the time.
    """

    warehouse: Warehouse
    settings: Settings
    alerting: Alerting
    series: Series
    run: str
    now: datetime
    news: Sequence[TimeRange]
    watch: Watch
    model: Model | None = None

    def over(self, ranges: Sequence[TimeRange]) -> Round:
        """Judge all of them."""
        with self.warehouse.begin() as connection:
            eras = [era for span in ranges for era in self._eras(connection, span)]
            waiting = None if eras or not ranges else waits_for(connection, self.series, self.settings.models)
        if waiting is not None:
            return Round(self.series, waiting=waiting)
        pieces = [(era, piece) for era in eras for piece in self._pieces(era.time_range)]
        candles = anomalies = 0
        tally = Tally()
        for number, (era, piece) in enumerate(pieces, 1):
            scores, done = self._judge(era, piece)
            candles += int((~np.isnan(scores.joined)).sum())
            anomalies += int(scores.is_anomaly.sum())
            tally += done
            self.watch(number / (len(pieces) + 1))
        for span in ranges:
            tally += self._tell_siblings(span)
        self.watch(1.0)
        return Round(self.series, candles, anomalies, tally.opened, tally.changed, tally.withdrawn, tally.alerts)

    def _pieces(self, time_range: TimeRange) -> list[TimeRange]:
        """Cut a range into what is judged in one transaction, and where the symbol became another coin's."""
        splits = [from_ms(at) for at in self.settings.splits_of(self.series)]
        inside = [at for at in splits if time_range.start < at < time_range.end]
        bounds = pairwise([time_range.start, *inside, time_range.end])
        return [piece for bound in bounds for piece in _pieces(TimeRange(*bound), self.series.timeframe)]

    def _eras(self, connection: Connection, span: TimeRange) -> list[Era]:
        learning = self.settings.models
        if self.model is not None:
            return [era_of(connection, self.series, span, self.model, learning)]
        return eras_of(connection, self.series, span, learning)

    def _judge(self, era: Era, piece: TimeRange) -> tuple[Scores, Tally]:
        """Score a piece, and write all that follows from it, in one transaction."""
        model, artifact = era.judging.model, era.judging.artifact
        with self.warehouse.begin() as connection:
            series_id = lock_scores(connection, self.series)
            candles = Candles.of(connection, self.settings)
            read = candles.read(self.series, context_of(self.series.timeframe, piece))
            scores = score(read, artifact, self.series, piece)
            changed = replace_anomalies(
                connection,
                series_id,
                piece,
                list(_anomalies(scores, model.id)),
                model_id=model.id,
                is_hindsight=era.is_hindsight,
                run=self.run,
            )
            watchman = self._watchman(candles, self.series, series_id)
            fresh = sorted(at for at in changed if any(span.start <= at < span.end for span in self.news))
            by_model = News(partial(_has, fresh), self._is_recent)
            by_spread = News(partial(_is_within, self.news), self._is_recent)
            return scores, watchman.look(piece, by_model, by_spread)

    def _tell_siblings(self, span: TimeRange) -> Tally:
        """Look again at the same asset elsewhere: this series bears witness to its incidents now."""
        with self.warehouse.begin() as connection:
            siblings = Candles.of(connection, self.settings).siblings(self.series)
        tally = Tally()
        for sibling in siblings:
            for piece in _pieces(span, sibling.timeframe):
                with self.warehouse.begin() as connection:
                    series_id = lock_scores(connection, sibling)
                    candles = Candles.of(connection, self.settings)
                    live = [load.time_range for load in loads_within(connection, sibling, piece) if not load.is_history]
                    news = [both for one in live for other in self.news if (both := clip(one, other)) is not None]
                    # What its own candles say was told of when they came; only a distance between the two is new.
                    by_model = News(lambda _: False, self._is_recent)
                    by_spread = News(partial(_is_within, news), self._is_recent)
                    tally += self._watchman(candles, sibling, series_id).look(piece, by_model, by_spread)
        return tally

    def _watchman(self, candles: Candles, series: Series, series_id: int) -> Watchman:
        budget_of = partial(self._budget_of, candles.connection)
        return Watchman(candles, series, series_id, self.alerting.spread, budget_of, self.run)

    def _budget_of(self, connection: Connection, model_id: int) -> float:
        """Return the budget that a model's cuts were made for; the present one, if its blob is gone."""
        model = model_of(connection, model_id)
        artifact = read_good(connection, model, self.settings.models.max_artifact_bytes) if model.has_blob else None
        return self.settings.models.budget_at(self.series.timeframe) if artifact is None else artifact.budget

    def _is_recent(self, found: Found) -> bool:
        return found.time_range.end > self.now - self.alerting.news


def _anomalies(scores: Scores, model_id: int) -> Iterator[Anomaly]:
    slots = np.flatnonzero(scores.is_anomaly)
    shares = shares_of(scores.channels, scores.by_channel[slots])
    for slot, share in zip(slots, shares, strict=True):
        at = from_ms(int(scores.open_time_ms[slot]))
        yield Anomaly(at, model_id, float(scores.joined[slot]), scores.threshold, share)


def _pieces(time_range: TimeRange, timeframe: Timeframe) -> list[TimeRange]:
    """Cut a range into what is judged in one transaction."""
    return list(time_range.windows(_PIECE * timeframe.ms))


def _has(times: Sequence[datetime], found: Found) -> bool:
    return any(found.time_range.start <= at < found.time_range.end for at in times)


def _is_within(ranges: Iterable[TimeRange], found: Found) -> bool:
    return any(clip(found.time_range, span) is not None for span in ranges)


def waits_for(connection: Connection, series: Series, learning: Learning) -> str | None:
    """Return why nobody can judge a series; None if somebody can."""
    targets = (Target(series.timeframe, series), Target(series.timeframe))
    champions = [one for target in targets if (one := champion(connection, target)) is not None]
    if not champions:
        return f"no model judges {series.timeframe} candles so far; train_models makes one at night, or chandler train"
    if can_judge(connection, series, learning):
        return None
    return f"the champion {champions[0].name} has never seen this series; the next training looks at it"
