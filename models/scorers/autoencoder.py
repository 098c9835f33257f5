"""The tutorial's LSTM autoencoder: how badly the last 30 closes are drawn again from 64 numbers.

What people come from, kept as the tutorials have it, to be compared with: the close alone, scaled by its mean and
deviation, windows of 30, an LSTM of 64 that writes and one that reads, dropout of 0.2, mean absolute error. They cut
at a constant 0.65. One thing differs: the error is stamped on the last candle of its window, not on the one after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models import graphs
from models.blocks import BLOCK
from models.scorers.reading import take_graph, take_numbers
from models.scorers.scorer import Floats, Judge, Lesson, Parts, Progress, Scorer, Study
from models.scorers.starting import start_tensorflow
from models.scorers.windows import columns_of, draw_windows, fill, windows_of

if TYPE_CHECKING:
    import keras

CHANNEL = "close"
TUTORIAL_CUT = 0.65
LENGTH = 30
UNITS = 64
_DROPOUT = 0.2
_COLUMN = columns_of([CHANNEL])
_MOST = 30_000  # windows to learn from
_BATCH = 256
_PATIENCE = 2  # epochs without gain
_HELD_OUT = 0.1  # the latest windows, to see when to stop
_SHAPES = {
    "write_kernel": (1, 4 * UNITS),
    "write_recurrent": (UNITS, 4 * UNITS),
    "write_bias": (4 * UNITS,),
    "read_kernel": (UNITS, 4 * UNITS),
    "read_recurrent": (UNITS, 4 * UNITS),
    "read_bias": (4 * UNITS,),
    "draw_kernel": (UNITS, 1),
    "draw_bias": (1,),
}
"""The weights, in the order in which Keras has them."""


def fit(lessons: Sequence[Lesson], study: Study) -> Parts:
    """Train on a sample of windows of clean candles, the latest of which say when to stop."""
    windows, ages = draw_windows(lessons, LENGTH, _MOST, np.random.default_rng(study.seed))
    closes = windows[np.argsort(ages, kind="stable")][..., _COLUMN]
    model = _model(study)
    _train(model, closes, study)
    weights = dict(zip(_SHAPES, model.get_weights(), strict=True))
    return Parts(numbers=weights, graph=to_graph(weights))


def load(parts: Parts) -> Judge:
    """Return what judges by these weights."""
    run = graphs.run(take_graph(parts), [(BLOCK, LENGTH, 1)], [(BLOCK,)])

    def judge(rows: Floats) -> Floats:
        is_known = ~np.isnan(rows[..., _COLUMN])
        closes = fill(rows)[..., _COLUMN]
        scores = np.full((len(rows), BLOCK, 1), np.nan, dtype=np.float32)
        # Row by row, always as many windows: those that hold no candle cost nothing.
        for number in np.flatnonzero(is_known[:, -BLOCK:].any(axis=(1, 2))):
            windows = windows_of(closes[number : number + 1], LENGTH)[0]
            scores[number, :, 0] = run(np.ascontiguousarray(windows.transpose(0, 2, 1)))[0]
        is_begun = np.maximum.accumulate(is_known, axis=1)[:, -BLOCK - LENGTH + 1 : 1 - LENGTH]
        return np.where(is_known[:, -BLOCK:] & is_begun, scores, np.float32(np.nan))

    return judge


SCORER = Scorer("autoencoder", "the tutorial's LSTM autoencoder of closes", (CHANNEL,), fit, load)


def to_graph(weights: dict[str, NDArray[Any]]) -> bytes:
    """Return the graph that gives the mean absolute error of windows: (BLOCK, LENGTH, 1) -> (BLOCK,)."""
    write, read, draw = (
        [weights[name] for name in _SHAPES if name.startswith(part)] for part in ("write", "read", "draw")
    )
    graph = graphs.Graph()
    closes = graph.input((BLOCK, LENGTH, 1))
    code = graph.lstm(closes, *write, is_sequence=False)
    repeated = graph.node("Unsqueeze", code, graph.constant(np.array([1])))
    repeated = graph.node("Expand", repeated, graph.constant(np.array([BLOCK, LENGTH, UNITS])))
    drawn = graph.dense(graph.lstm(repeated, *read), *draw)
    error = graph.node("Abs", graph.node("Sub", closes, drawn))
    return graph.to_bytes(graph.node("ReduceMean", error, axes=[1, 2], keepdims=0))


def _model(study: Study) -> keras.Model:
    start_tensorflow()
    import keras

    keras.utils.clear_session()  # sums are taken in the order of layers' names, which count on otherwise
    keras.utils.set_random_seed(study.seed)
    model = keras.Sequential(
        [
            keras.Input((LENGTH, 1)),
            keras.layers.LSTM(UNITS),
            keras.layers.Dropout(_DROPOUT),
            keras.layers.RepeatVector(LENGTH),
            keras.layers.LSTM(UNITS, return_sequences=True),
            keras.layers.Dropout(_DROPOUT),
            keras.layers.Dense(1),  # what TimeDistributed around it gives, a little sooner
        ]
    )
    if study.begin_with is not None:
        model.set_weights([take_numbers(study.begin_with, name, shape) for name, shape in _SHAPES.items()])
    model.compile(optimizer="adam", loss="mae")
    return model


def _train(model: keras.Model, closes: Floats, study: Study) -> None:
    """Train until the latest windows are drawn no better; keep what drew them best."""
    import keras

    def tell(epoch: int, logs: dict[str, float]) -> None:
        study.watch(Progress(epoch + 1, study.epochs, (epoch + 1) / study.epochs, logs["val_loss"]))

    learned = len(closes) - max(1, int(len(closes) * _HELD_OUT))
    model.fit(
        closes[:learned],
        closes[:learned],
        validation_data=(closes[learned:], closes[learned:]),
        epochs=study.epochs,
        batch_size=_BATCH,
        verbose=0,
        callbacks=[
            keras.callbacks.EarlyStopping(patience=_PATIENCE, restore_best_weights=True),
            keras.callbacks.LambdaCallback(on_epoch_end=tell),
        ],
    )
