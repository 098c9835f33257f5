"""Calibration of scores: how seldom one is exceeded, and where the cut lies that an alert budget asks for.

Whatever a scorer's numbers are, each channel of each series is measured by its own scores on held-out candles: by their
quantiles, and beyond these by the tail that peaks over threshold fit. So channels and scorers become comparable, and a
score can be told to a person: it is the log10 of "once in so many candles".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etl.timeframe import Timeframe
from models.incidents import find_incidents, merge_at

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

KNOTS = 32
LEAST = 200
"""The fewest scores that a tail is fitted to."""

_TAIL = 0.01  # the share of scores beyond which the tail is fitted ...
_LEAST_PEAKS = 20  # ... or more of them, where that is fewer peaks than this
_SHORTEST_TAIL = 0.05  # of the way from the median to where the tail begins; a normal distribution's is thrice as long
_LEAST_STEP = 0.05  # of the score at which the tail begins: of scores that hardly differ none is strange
_CLUSTERS = 5  # scores in the tail for each incident that is asked for: they come in clusters
_EACH, _SELDOM = 3, 0.01  # anomalies for each incident that is asked for, at most; or that share of all candles
_WEEK_MS = 7 * 86_400_000
_USUAL_SHAPE, _USUAL_COUNTS = 0.2, 300  # what is known of tails before a score was seen, and for how many it counts
_WIDEST_SHAPE = 0.9  # beyond, the distribution has hardly a mean, and one wild week would push the cut out of reach


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of one series' scores, under one model.

    Attributes:
        knots: (channels, KNOTS) float64 ascending: what a share of 1 to the tail's share of a channel's scores exceed,
            in even steps of its log; NaN in a channel that says nothing of this series.
        tails: (channels, 3) float64: log10 of one over the tail's share, and shape and scale of the generalised Pareto
            distribution beyond the last knot.
        cut: The joined score at and above which a candle is an anomaly.
    """

    knots: Floats
    tails: Floats
    cut: float


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores of a range of one series.

    Attributes:
        raw: (n, channels) one for each slot.
        is_held: (n,) whether there is a candle.
    """

    raw: NDArray[np.float32]
    is_held: Mask

    def channels(self) -> list[Floats]:
        """Return the scores of candles, by channel."""
        return [channel[self.is_held & ~np.isnan(channel)] for channel in np.asarray(self.raw, np.float64).T]


def calibrate(
    held_out: Judged, budget_per_week: float, timeframe: Timeframe, learned: Judged | None = None
) -> Calibration:
    """Find what scores mean by those of held-out candles.

    Args:
        budget_per_week: How many incidents a week the cut is to give.
        learned: Candles before, of years that may have been wilder: each channel is measured by the range in which it
            goes farther, and the cut keeps the budget in both. A scorer finds calm what it has learned, so such candles
            can tell that less is strange, and never that more is.
    """
    ranges = [held_out] if learned is None else [held_out, learned]
    fitted = [
        max(map(_fit_channel, each), key=_extent) for each in zip(*(one.channels() for one in ranges), strict=True)
    ]
    knots = np.array([knots for knots, _ in fitted])
    tails = np.array([tail for _, tail in fitted])
    cuts = []
    for one in ranges:
        joined = join(one.raw, Calibration(knots, tails, np.inf))[1]
        joined[~one.is_held] = np.nan
        cuts.append(find_cut(joined, budget_per_week, timeframe))
    # Of what a model has learned its tracks may hold little by now: then the held-out candles alone count.
    return Calibration(knots, tails, max(cuts[:1] + [cut for cut in cuts[1:] if cut < np.inf]))


def join(raw: NDArray[np.float32], calibration: Calibration) -> tuple[Floats, Floats]:
    """Return how seldom scores are exceeded: log10 of once in so many candles.

    Args:
        raw: (n, channels) as a scorer gives them.

    Returns:
        By channel, (n, channels), and joined, (n,): the strangest channel's. NaN where nothing can be said.
    """
    columns = zip(np.asarray(raw, np.float64).T, calibration.knots, calibration.tails, strict=True)
    by_channel = np.stack([_to_level(*column) for column in columns], axis=1)
    return by_channel, np.fmax.reduce(by_channel, axis=1)


def find_cut(joined: Floats, budget_per_week: float, timeframe: Timeframe) -> float:
    """Return the cut that gives as many incidents a week as the budget allows, by the tail of incidents' peaks.

    Anomalies come in clusters, and a budget counts incidents: so the peaks of clusters are what the tail is fitted to.
    Where months are one cluster the budget is kept and every candle is an anomaly: so these are counted too.

    Args:
        joined: (n,) by slot, NaN where no candle is held.

    Source: peaks over threshold for anomaly detection: Siffer et al., Anomaly Detection in Streams with Extreme Value
        Theory, KDD 2017, https://doi.org/10.1145/3097983.3098144; of clusters' maxima: Coles, An Introduction to
        Statistical Modeling of Extreme Values, 2001, chapter 5.3, https://doi.org/10.1007/978-1-4471-3675-0
    """
    known = joined[~np.isnan(joined)]
    if len(known) < LEAST:
        return np.inf
    weeks = len(known) * timeframe.ms / _WEEK_MS
    asked = weeks * budget_per_week
    start = float(np.quantile(known, 1 - min(max(_tail_share(len(known)), _CLUSTERS * asked / len(known)), 0.5)))
    clusters = find_incidents(joined > start, merge_at(timeframe))
    peaks = np.array([np.nanmax(joined[first : last + 1]) for first, last in clusters])
    if not len(peaks):
        return float(np.nextafter(start, np.inf))
    excess = len(peaks) / asked
    shape, scale = _fit_pareto(peaks - start)
    cut = start + (scale * math.log(excess) if shape == 0 else scale / shape * (excess**shape - 1))
    most = int(max(min(_EACH, merge_at(timeframe)) * asked, _SELDOM * len(known), 1))
    return max(cut, float(np.nextafter(np.sort(known)[-most - 1], np.inf)))


def _tail_share(count: int) -> float:
    return min(max(_TAIL, 2 * _LEAST_PEAKS / count), 0.5)


def _fit_channel(scores: Floats) -> tuple[Floats, tuple[float, float, float]]:
    """Return the knots of a channel and its tail."""
    if len(scores) < LEAST or scores.min() == scores.max():
        return np.full(KNOTS, np.nan), (np.nan, np.nan, np.nan)
    share = _tail_share(len(scores))
    knots = np.quantile(scores, 1 - share ** np.linspace(0, 1, KNOTS))
    shape, scale = _fit_pareto(scores[scores > knots[-1]] - knots[-1])
    # Scores in steps, as those of prices in coarse ticks, or with a bound end soon: what is barely beyond is no wonder.
    end = float(knots[-1])
    shortest = max(_SHORTEST_TAIL * (end - float(np.median(scores))), _LEAST_STEP * abs(end))
    return knots, (-np.log10(share), shape, max(scale, shortest))


def _extent(fitted: tuple[Floats, tuple[float, float, float]]) -> float:
    """Return the score at which a tail begins; -inf where a channel says nothing."""
    return float(np.nan_to_num(fitted[0][-1], nan=-np.inf))


def _to_level(scores: Floats, knots: Floats, tail: Floats) -> Floats:
    if np.isnan(knots[0]):
        return np.full(len(scores), np.nan)
    most, shape, scale = tail
    # Of equal knots the first counts: a score is no stranger than the commonest that equals it.
    values, places = np.unique(knots, return_index=True)
    levels: Floats = np.interp(scores, values, np.linspace(0, most, KNOTS)[places])
    beyond = scores > knots[-1]
    excess = (scores[beyond] - knots[-1]) / scale
    levels[beyond] = most + (excess if shape == 0 else np.log1p(shape * excess) / shape) / math.log(10)
    return levels


def _fit_pareto(excesses: Floats) -> tuple[float, float]:
    """Return shape and scale of a generalised Pareto distribution, by probability-weighted moments.

    A few hundred excesses say little of a shape, and of several channels the one whose tail looks shortest by chance
    would raise the alarms: so the shape is drawn towards one that is usual in markets. It is never negative: such a
    distribution ends, and beyond its end nothing could be told from anything else.

    Source: Hosking and Wallis, Parameter and Quantile Estimation for the Generalized Pareto Distribution, 1987,
        https://doi.org/10.1080/00401706.1987.10488243; of a prior for the shape: Martins and Stedinger, Generalized
        maximum-likelihood generalized extreme-value quantile estimators, 2000, https://doi.org/10.1029/1999WR900330
    """
    ordered = np.sort(excesses)
    if not len(ordered) or ordered[-1] <= 0:
        return 0.0, 1.0
    mean = float(ordered.mean())
    above = (len(ordered) - np.arange(len(ordered)) - 0.65) / len(ordered)
    weighted = float((above * ordered).mean())
    found = 2 - mean / (mean - 2 * weighted) if mean > 2 * weighted else _WIDEST_SHAPE
    drawn = (len(ordered) * found + _USUAL_COUNTS * _USUAL_SHAPE) / (len(ordered) + _USUAL_COUNTS)
    shape = min(max(drawn, 0.0), _WIDEST_SHAPE)
    return shape, mean * (1 - shape)
