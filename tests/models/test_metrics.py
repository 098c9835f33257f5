from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics import BUFFER, average_precision, event_scores, match, soft_labels, vus_pr

SEEDS = st.integers(0, 10_000)
RANGES = np.array([[20, 24], [60, 60], [90, 97]], dtype=np.int64)


def noisy(seed: int, strength: float = 1.0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return 120 scores that tell something of RANGES."""
    return np.random.default_rng(seed).normal(size=120) + strength * soft_labels(120, RANGES, 0)


def test_labels_fade_by_the_root_of_the_distance() -> None:
    """A buffer of 4 labels two slots on either side, the nearer the more; edges of the range are no trouble."""
    labels = soft_labels(8, np.array([[0, 0], [5, 5]]), 4)
    near, far = math.sqrt(3 / 4), math.sqrt(2 / 4)
    assert labels == pytest.approx([1, near, far, far, near, 1, near, far])


def test_a_tiny_case_by_hand() -> None:
    """Four candles, one anomaly, ranked second: without a buffer 1/2; with one of 2, as computed by hand."""
    scores, ranges = np.array([4.0, 3.0, 2.0, 1.0]), np.array([[1, 1]])
    assert vus_pr(scores, ranges, 0) == pytest.approx(1 / 2)
    # Labels s, 1, s, 0 with s = sqrt(1/2); half of what is labelled besides counts as anomalous.
    s = math.sqrt(1 / 2)
    most = (1 + 1 + 2 * s) / 2
    recalls = [min(found / most, 1) for found in (s, 1 + s, 1 + 2 * s)]
    by_hand = recalls[0] * s + (recalls[1] - recalls[0]) * (1 + s) / 2 + (recalls[2] - recalls[1]) * (1 + 2 * s) / 3
    # A buffer of 1 has nothing beside the anomaly: it is as none.
    assert vus_pr(scores, ranges, 2) == pytest.approx((1 / 2 + 1 / 2 + by_hand) / 3)


def test_recall_counts_for_the_share_of_anomalies_that_are_reached() -> None:
    """Of two anomalies of two candles, one whole and nothing of the other: half the recall, half the anomalies."""
    scores = np.array([0.0, 9.0, 8.0, 0.0, -1.0, -1.0])
    # Precision is 1 up to a recall of 1/2, counted half; then the other comes last, with all the rest.
    assert vus_pr(scores, np.array([[1, 2], [4, 5]]), 0) == pytest.approx(1 / 4 + 3 / 4 * 4 / 6)


@settings(max_examples=30)
@given(SEEDS, st.booleans())
def test_average_precision_is_what_everybody_calls_so(seed: int, is_coarse: bool) -> None:
    """Ours equals scikit-learn's, ties or none; and VUS-PR without buffers equals it where there is one anomaly."""
    from sklearn.metrics import average_precision_score

    scores = np.round(noisy(seed), 0) if is_coarse else noisy(seed)
    labels = soft_labels(len(scores), RANGES, 0)
    assert average_precision(scores, RANGES) == pytest.approx(average_precision_score(labels, scores))
    labels = soft_labels(len(scores), RANGES[:1], 0)
    assert vus_pr(scores, RANGES[:1], 0) == pytest.approx(average_precision_score(labels, scores))


@settings(max_examples=30)
@given(SEEDS, st.integers(0, BUFFER))
def test_only_the_order_of_scores_counts(seed: int, buffer: int) -> None:
    """A transform that keeps the order changes nothing, and neither do slots without a score."""
    scores = noisy(seed)
    told = vus_pr(scores, RANGES, buffer)
    assert 0 < told <= 1
    assert vus_pr(np.exp(3 * scores) + 5, RANGES, buffer) == pytest.approx(told)
    widened = np.insert(scores, 50, np.full(7, np.nan))
    moved = np.where(RANGES >= 50, RANGES + 7, RANGES)
    assert vus_pr(widened, moved, buffer) == pytest.approx(told)
    assert average_precision(widened, moved) == pytest.approx(average_precision(scores, RANGES))


def test_a_perfect_score_has_one_and_noise_hardly_any() -> None:
    """Labels as scores have 1 without buffers; noise has about the share of labelled candles; nothing has NaN."""
    ranges = np.array([[first, first + 4] for first in range(100, 49_900, 200)])
    labels, noise = soft_labels(50_000, ranges, 0), np.random.default_rng(1).normal(size=50_000)
    assert vus_pr(labels, ranges, 0) == 1
    assert vus_pr(labels, ranges) > 0.8
    share = np.mean([soft_labels(50_000, ranges, width).mean() for width in range(BUFFER + 1)])
    assert vus_pr(noise, ranges) == pytest.approx(share, rel=0.3)
    assert math.isnan(vus_pr(noise, ranges[:0]))
    assert math.isnan(average_precision(noise, ranges[:0]))


def test_few_cuts_are_enough() -> None:
    """Of many scores only some are cuts, which changes next to nothing: without buffers it is average precision."""
    scores = np.random.default_rng(2).normal(size=30_000)
    scores[1000:1400] += 2.5
    ranges = np.array([[1000, 1399]])
    assert vus_pr(scores, ranges, 0) == pytest.approx(average_precision(scores, ranges), abs=0.005)


def test_where_a_model_says_nothing_it_has_found_nothing() -> None:
    """-inf is the lowest of scores: an anomaly that a model is silent about is missed, and no tie is broken."""
    scores = np.array([1.0, -np.inf, -np.inf, 0.5, -np.inf, -np.inf])
    assert average_precision(scores, np.array([[1, 1]])) == pytest.approx(1 / 6)
    assert vus_pr(scores, np.array([[1, 1]]), 0) == pytest.approx(1 / 6)


def test_what_is_left_out_counts_for_nothing() -> None:
    """A stranger candle that is left out does no harm, and an anomaly that is left out is none."""
    scores, leave_out = noisy(1), np.zeros(120, dtype=np.bool_)
    told = vus_pr(scores, RANGES[:1])
    scores[[70, 71]], leave_out[[70, 71]] = 99.0, True
    assert vus_pr(scores, RANGES[:1]) < told
    leave_out[90:98] = True
    assert vus_pr(scores, RANGES[[0, 2]], leave_out=leave_out) == vus_pr(scores, RANGES[:1], leave_out=leave_out)


def test_incidents_and_what_was_planted_meet() -> None:
    """An incident tells of an anomaly from its first slot to five behind its last, and of none that is to come."""
    planted = np.array([[100, 104], [200, 200]])
    incidents = np.array([[90, 99], [98, 100], [109, 120], [194, 199], [206, 206]])
    events = match(incidents, planted)
    assert events.is_found.tolist() == [True, False]
    assert events.is_hit.tolist() == [False, True, True, False, False]
    assert match(np.array([[205, 205]]), planted).is_found.tolist() == [False, True]
    assert match(incidents[:0], planted).is_found.tolist() == [False, False]
    assert match(incidents, planted[:0]).is_hit.tolist() == [False] * 5


def test_precision_and_recall_of_nothing_are_zero() -> None:
    """No incident has no precision, and the harmonic mean of 1/2 and 1/4 is 1/3."""
    assert event_scores(0, 0, 5, 0) == (0.0, 0.0, 0.0)
    assert event_scores(4, 2, 8, 2) == pytest.approx((0.5, 0.25, 1 / 3))
