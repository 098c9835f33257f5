"""Isolation forest: candles that few random cuts set apart from all others are strange.

A point is the candle's own features and how it compares with its short past. scikit-learn grows the trees; they are
kept as an ONNX ensemble, whose scores are scikit-learn's (without its sign), and need it no more.

Source: Liu, Ting and Zhou, Isolation forest (ICDM 2008); their 100 trees of 256 candles each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models import graphs
from models.blocks import BLOCK, ROWS
from models.scorers.reading import take_graph
from models.scorers.scorer import Floats, Judge, Lesson, Parts, Scorer, Study
from models.scorers.windows import columns_of, draw_windows, fill, windows_of

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest

CHANNEL = "isolation"
PAST = 16
"""Candles of a point: the one that is judged, and those before."""
_OWN = columns_of(["return", "range", "body", "place", "volume", "trades", "taker_share"])
_AGAINST_PAST = columns_of(["range", "volume", "trades"])
_RETURN = columns_of(["return"])
_POINTS = len(_OWN) + len(_AGAINST_PAST) + len(_RETURN)
_TREES = 100
_SAMPLES = 256  # candles that one tree sees
_MOST = 100_000  # candles that they are drawn from
_CANDLES = ROWS * BLOCK


def fit(lessons: Sequence[Lesson], study: Study) -> Parts:
    """Grow the trees on a sample of clean candles."""
    windows, _ = draw_windows(lessons, PAST, _MOST, np.random.default_rng(study.seed))
    forest = grow(to_points(np.moveaxis(fill(windows), 1, 2)), study.seed)
    return Parts(graph=to_graph(forest))


def load(parts: Parts) -> Judge:
    """Return what judges by these trees."""
    run = graphs.run(take_graph(parts), [(_CANDLES, _POINTS)], [(_CANDLES, 1)])

    def judge(rows: Floats) -> Floats:
        points = to_points(windows_of(fill(rows), PAST).reshape(_CANDLES, rows.shape[-1], PAST))
        scores = np.exp2(run(points)[0]).reshape(len(rows), BLOCK, 1)
        return np.where(np.isnan(rows[:, -BLOCK:]).all(axis=-1, keepdims=True), np.float32(np.nan), scores)

    return judge


SCORER = Scorer("isolation_forest", "how few random cuts set a candle apart", (CHANNEL,), fit, load)


def to_points(windows: Floats) -> Floats:
    """Return what the trees see of the last candle of each window.

    Args:
        windows: (n, len(FEATURES), PAST), filled.

    Returns:
        (n, _POINTS) float32.
    """
    own = windows[:, _OWN, -1]
    against_past = windows[:, _AGAINST_PAST, -1] - windows[:, _AGAINST_PAST, :-1].mean(axis=-1)
    moved = windows[:, _RETURN].sum(axis=-1) / np.float32(np.sqrt(PAST))
    return np.ascontiguousarray(np.concatenate([own, against_past, moved], axis=1), dtype=np.float32)


def grow(points: Floats, seed: int) -> IsolationForest:
    """Return scikit-learn's forest."""
    from sklearn.ensemble import IsolationForest

    samples = min(_SAMPLES, len(points))
    return IsolationForest(n_estimators=_TREES, max_samples=samples, random_state=seed).fit(points)


def to_graph(forest: IsolationForest) -> bytes:
    """Return the graph that gives the log2 of how strange points are: (_CANDLES, _POINTS) -> (_CANDLES, 1)."""
    graph = graphs.Graph()
    points = graph.input((_CANDLES, _POINTS))
    return graph.to_bytes(graph.node("TreeEnsembleRegressor", points, domain=graphs.ML, **_to_ensemble(forest)))


def _to_ensemble(forest: IsolationForest) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {name: [] for name in (*_NODE, *_LEAF)}
    whole = len(forest.estimators_) * float(_path(np.array([forest.max_samples_]))[0])
    for number, estimator in enumerate(forest.estimators_):
        tree = estimator.tree_
        is_leaf = tree.children_left < 0
        nodes = np.arange(tree.node_count)
        leaves = nodes[is_leaf]
        # A split takes the value that it is given in 64 bits, and points have 32: cut below it, never above.
        cuts = tree.threshold.astype(np.float32)
        cuts = np.where(cuts > tree.threshold, np.nextafter(cuts, np.float32(-np.inf)), cuts)
        lengths = _depths(tree.children_left, tree.children_right) + _path(tree.n_node_samples)
        found = {
            "nodes_treeids": np.full(len(nodes), number),
            "nodes_nodeids": nodes,
            "nodes_featureids": np.where(is_leaf, 0, tree.feature),
            "nodes_values": np.where(is_leaf, 0.0, cuts),
            "nodes_modes": np.where(is_leaf, "LEAF", "BRANCH_LEQ"),
            "nodes_truenodeids": np.where(is_leaf, 0, tree.children_left),
            "nodes_falsenodeids": np.where(is_leaf, 0, tree.children_right),
            "target_treeids": np.full(len(leaves), number),
            "target_nodeids": leaves,
            "target_ids": np.zeros(len(leaves), dtype=np.int64),
            "target_weights": -lengths[leaves] / whole,
        }
        for name, values in found.items():
            columns[name] += values.tolist()
    return {**columns, "n_targets": 1, "aggregate_function": "SUM", "post_transform": "NONE"}


_NODE = tuple(
    f"nodes_{name}" for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
)
_LEAF = ("target_treeids", "target_nodeids", "target_ids", "target_weights")


def _depths(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how deep each node lies; scikit-learn puts children behind their parents."""
    depths = np.zeros(len(left))
    for node in np.flatnonzero(left >= 0):
        depths[left[node]] = depths[right[node]] = depths[node] + 1
    return depths


def _path(count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how many cuts it takes on average to set one of so many apart (equation 1)."""
    many = np.maximum(count, 3).astype(np.float64)
    path = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(count > 2, path, np.where(count == 2, 1.0, 0.0))
