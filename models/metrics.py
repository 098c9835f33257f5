"""Metrics of scores and incidents against what was planted: by ranks, and by events. None is point-adjusted.

Point adjustment (all of an anomaly counts as found if one candle of it is) makes noise look good.
Source: Kim et al., Towards a Rigorous Evaluation of Time-series Anomaly Detection, AAAI 2022, https://arxiv.org/abs/2109.05257
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 5
"""How many candles late an incident may begin and still tell of an anomaly."""
BUFFER = 4
"""The widest buffer of VUS-PR: two candles before an anomaly and two behind.

The wider the buffers, the more a scorer gains that stays strange long after a candle that was. Many anomalies last for
one candle, so buffers are narrow; even so no score reaches 1, for the candles beside an anomaly are labelled too.
"""

_CUTS = 512

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Ranges = NDArray[np.int64]


def vus_pr(scores: Floats, ranges: Ranges, buffer: int = BUFFER, leave_out: Mask | None = None) -> float:
    """Return the volume under the surface of precision, recall and buffer: VUS-PR, between 0 and 1.

    For each buffer from 0 to `buffer` slots, the labels fade over half of it on either side of an anomaly, and the area
    under precision against recall is taken; recall counts for the share of anomalies that anything was found of. The
    cuts are all scores, or some hundreds that lie the closer the higher the scores. NaN is left out.

    Args:
        scores: (n,) higher is stranger; -inf where a model could say nothing.
        ranges: (k, 2) first and last slot of each anomaly.
        leave_out: (n,) slots that count for nothing.

    Returns:
        The mean area over the buffers; NaN if no anomaly is left.

    Source: Paparrizos et al., Volume Under the Surface: A New Accuracy Evaluation Measure for Time-Series Anomaly
        Detection, PVLDB 15(11), 2022, https://www.vldb.org/pvldb/vol15/p2774-paparrizos.pdf
    """
    is_judged = ~np.isnan(scores) if leave_out is None else ~np.isnan(scores) & ~leave_out
    place = np.cumsum(is_judged) - 1  # of a slot, among those that are judged
    ranges = np.array([r for r in ranges if is_judged[r[0] : r[1] + 1].any()], dtype=np.int64).reshape(-1, 2)
    judged = scores[is_judged]
    if not len(ranges):
        return float("nan")
    order = np.argsort(-judged, kind="stable")
    ends = _cut_ends(judged[order])
    hard = soft_labels(len(scores), ranges, 0)[is_judged]
    areas = []
    for width in range(buffer + 1):
        soft = soft_labels(len(scores), ranges, width)[is_judged]
        found = np.cumsum(soft[order])[ends - 1]
        recall = np.minimum(found / ((hard.sum() + soft.sum()) / 2), 1.0)
        reached = _best(judged, place, is_judged, ranges, width // 2)
        recall = recall * (np.searchsorted(np.sort(-reached), -judged[order[ends - 1]], side="right") / len(ranges))
        areas.append(float(np.diff(recall, prepend=0.0) @ (found / ends)))
    return float(np.mean(areas))


def soft_labels(count: int, ranges: Ranges, width: int) -> Floats:
    """Return (count,) labels: 1 within a range, fading by the root of the distance over half of `width` beside it."""
    labels = np.zeros(count)
    steps = np.arange(1, width // 2 + 1)
    fading = np.sqrt(1 - steps / max(width, 1))
    for first, last in ranges:
        labels[first : last + 1] = 1.0
        for slots in (first - steps, last + steps):
            inside = (slots >= 0) & (slots < count)
            labels[slots[inside]] = np.maximum(labels[slots[inside]], fading[inside])
    return labels


def average_precision(scores: Floats, ranges: Ranges) -> float:
    """Return the area under precision against recall, candle by candle; NaN if no anomaly is left."""
    is_judged = ~np.isnan(scores)
    judged, labels = scores[is_judged], soft_labels(len(scores), ranges, 0)[is_judged]
    if not labels.any():
        return float("nan")
    order = np.argsort(-judged, kind="stable")
    ends = _tie_ends(judged[order])
    found = np.cumsum(labels[order])[ends - 1]
    return float(np.diff(found / labels.sum(), prepend=0.0) @ (found / ends))


@dataclass(frozen=True, slots=True)
class Events:
    """Matches of incidents with what was planted.

    Attributes:
        is_found: (k,) whether an incident tells of the anomaly.
        is_hit: (m,) whether the incident tells of any.
    """

    is_found: Mask
    is_hit: Mask


def match(incidents: Ranges, ranges: Ranges, tolerance: int = TOLERANCE) -> Events:
    """Say which anomalies are told of, and which incidents tell of one.

    An incident tells of an anomaly if they share a slot, or it begins no more than `tolerance` slots behind it. What
    ends before an anomaly begins cannot have been about it: a scorer sees nothing of the future.

    Args:
        incidents: (m, 2) first and last slot.
        ranges: (k, 2) as well.
    """
    starts_in_time = incidents[:, None, 0] <= ranges[None, :, 1] + tolerance
    reaches_it = incidents[:, None, 1] >= ranges[None, :, 0]
    tells = starts_in_time & reaches_it
    return Events(np.logical_or.reduce(tells, axis=0), np.logical_or.reduce(tells, axis=1))


def event_scores(incidents: int, hits: int, planted: int, found: int) -> tuple[float, float, float]:
    """Return precision (of the incidents that are hits), recall (of what was planted) and F1; 0 where there is none."""
    precision = hits / incidents if incidents else 0.0
    recall = found / planted if planted else 0.0
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def _cut_ends(descending: Floats) -> NDArray[np.int64]:
    """Return how many scores lie at or above each cut, ascending; equal scores lie on the same side."""
    ends = _tie_ends(descending)
    return ends if len(ends) <= _CUTS else ends[np.unique(np.geomspace(1, len(ends), _CUTS).astype(np.int64) - 1)]


def _tie_ends(descending: Floats) -> NDArray[np.int64]:
    return np.append(np.flatnonzero(descending[1:] != descending[:-1]) + 1, len(descending)).astype(np.int64)


def _best(judged: Floats, place: NDArray[np.int64], is_judged: Mask, ranges: Ranges, beside: int) -> Floats:
    """Return the highest score within each range and `beside` slots of it."""
    last = len(is_judged) - 1
    best = []
    for first, end in np.clip(ranges + np.array([-beside, beside]), 0, last):
        begin = place[first] if is_judged[first] else place[first] + 1
        best.append(judged[begin : place[end] + 1].max())
    return np.array(best)
