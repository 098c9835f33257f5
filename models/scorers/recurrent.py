"""Training of the LSTM in TensorFlow; its result is plain weights. Only a training imports TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etl.errors import InsufficientHistoryError
from models.blocks import STEPS
from models.scorers.foretelling import GIVEN, HEADS, SEEN, aim, give, places_given, see
from models.scorers.local import NEAR, localise
from models.scorers.scorer import Floats, Lesson, Progress, Study
from models.scorers.starting import start_tensorflow

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

UNITS = 64
HIDDEN = 24
"""Units between the LSTM's state and one foretold distribution."""
NARROWEST = -4.0
"""The least log of a scale: where the same value comes always, a hair's breadth off is no wonder."""
Weights = Mapping[str, NDArray[Any]]

_LSTM = "lstm"
_CONTEXT = 64  # steps of a row that are seen and not learned; the row before has learned them
_SHORTEST = 128  # steps of a row, where the history has few candles
_FEW_ROWS = 16  # so few rows are cut into shorter ones
_BATCH = 32
_BATCHES = 6  # in an epoch at least, by smaller batches where there are few rows
_SHARE_KEPT_BACK = 0.1  # of the rows, the latest: they say whether anything is gained
_PATIENCE = 3
_RATE, _RATE_LATER = 3e-3, 1e-3  # of learning from nothing, and from what was learned before
_LIGHTEST_TAIL = 1.5  # degrees of freedom, at the least
_Batch = tuple[Floats, Floats, Floats, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class _Row:
    """Consecutive steps of one lesson, by its number, from `start` to before `stop`."""

    lesson: int
    start: int
    stop: int


def shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights, by name: the LSTM's, by head those of its two layers, and the tails'."""
    named: dict[str, tuple[int, ...]] = {
        "kernel": (len(SEEN), 4 * UNITS),
        "recurrent": (UNITS, 4 * UNITS),
        "bias": (4 * UNITS,),
    }
    for head in HEADS:
        given = len(places_given(head))
        named |= {f"{head.channel}_kernel": (UNITS + given, HIDDEN), f"{head.channel}_bias": (HIDDEN,)}
        named |= {f"{head.channel}_out_kernel": (HIDDEN, 2), f"{head.channel}_out_bias": (2,)}
    return named | {"tails": (len(HEADS),)}


def learn(lessons: Sequence[Lesson], study: Study, begin_with: Weights | None) -> dict[str, NDArray[Any]]:
    """Return weights by name, of `shapes`.

    Each epoch goes through all rows once, at a rate that falls; it ends when the rows kept back are foretold no better,
    and what foretold them best is returned.

    Raises:
        InsufficientHistoryError: The lessons are shorter than two of the shortest rows.
    """
    rows = _rows(lessons)
    kept_back = max(int(len(rows) * _SHARE_KEPT_BACK), 1)
    if len(rows) <= kept_back:
        least = 2 * _SHORTEST - _CONTEXT
        raise InsufficientHistoryError(f"too little to learn from: {least} candles of one series are needed at least")
    learned, checked = rows[:-kept_back], rows[-kept_back:]
    batch_size = min(_BATCH, max(len(learned) // _BATCHES, 1))
    steps = study.epochs * math.ceil(len(learned) / batch_size)
    network = _Network(study.seed, begin_with, steps, row_length=rows[0].stop - rows[0].start)
    order = np.random.default_rng(study.seed)
    best, best_loss, stale = network.weights(), math.inf, 0
    for epoch in range(study.epochs):
        shuffled = [learned[i] for i in order.permutation(len(learned))]
        for number, batch in enumerate(_batches(lessons, shuffled, batch_size)):
            network.step(batch)
            done = epoch + (number + 1) * batch_size / len(learned)
            study.watch(Progress(epoch + 1, study.epochs, min(done, epoch + 1) / study.epochs, _known(best_loss)))
        loss = network.loss(_batches(lessons, checked, _BATCH))
        if loss < best_loss:
            best, best_loss, stale = network.weights(), loss, 0
        else:
            stale += 1
        study.watch(Progress(epoch + 1, study.epochs, (epoch + 1) / study.epochs, _known(best_loss)))
        if stale == _PATIENCE:
            break
    return best


class _Network:
    """Network in training: one LSTM, a small layer for each head, and how heavy the tails are."""

    def __init__(self, seed: int, begin_with: Weights | None, steps: int, row_length: int) -> None:
        start_tensorflow()
        import keras
        import tensorflow as tf

        keras.utils.clear_session()  # gradients are summed in the order of layers' names, which count on otherwise
        keras.utils.set_random_seed(seed)
        self._model = _model(row_length)
        # Keras has its own order of layers; ours is that of `shapes`.
        self._layers = [self._model.get_layer(name) for name in _layer_names()]
        self._tails = tf.Variable(np.full(len(HEADS), 2.0, np.float32))
        if begin_with is not None:
            *weights, tails = (begin_with[name] for name in shapes())
            for layer in self._layers:
                layer.set_weights([weights.pop(0) for _ in layer.weights])
            self._tails.assign(tails)
        self._variables = [*self._model.trainable_variables, self._tails]
        rate = keras.optimizers.schedules.CosineDecay(_RATE if begin_with is None else _RATE_LATER, steps)
        self._optimizer = keras.optimizers.Adam(rate, clipnorm=1.0)
        self._optimizer.build(self._variables)
        shape = [tf.TensorSpec([None, row_length, n]) for n in (len(SEEN), len(GIVEN), len(HEADS))]
        shape.append(tf.TensorSpec([None, row_length, len(HEADS)], tf.bool))
        self._step = tf.function(self._descend, input_signature=shape)
        self._measure = tf.function(self._losses, input_signature=shape)

    def step(self, batch: _Batch) -> None:
        """Learn a batch."""
        self._step(*batch)

    def loss(self, batches: Iterator[_Batch]) -> float:
        """Return by how much too improbable candles are, in the mean of all that is foretold."""
        sums = np.zeros((2, len(HEADS)))
        for batch in batches:
            sums += [part.numpy() for part in self._measure(*batch)]
        return float((sums[0] / np.maximum(sums[1], 1)).sum())

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return a copy."""
        weights = [values for layer in self._layers for values in layer.get_weights()]
        return dict(zip(shapes(), [*weights, self._tails.numpy()], strict=True))

    def _descend(self, seen: tf.Tensor, given: tf.Tensor, aims: tf.Tensor, counts: tf.Tensor) -> None:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            sums, known = self._losses(seen, given, aims, counts)
            loss = tf.reduce_sum(sums / tf.maximum(known, 1.0))
        gradients = tape.gradient(loss, self._variables)
        self._optimizer.apply_gradients(zip(gradients, self._variables, strict=True))

    def _losses(
        self, seen: tf.Tensor, given: tf.Tensor, aims: tf.Tensor, counts: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return, by head, the sum of the negative log likelihoods under Student's distribution, and their count."""
        import tensorflow as tf

        foretold = tf.stack(self._model([seen[:, :-1], given[:, 1:]]), axis=2)
        mean, scale = foretold[..., 0], tf.maximum(foretold[..., 1], NARROWEST)
        freedom = tf.nn.softplus(self._tails) + _LIGHTEST_TAIL
        off = (aims[:, 1:] - mean) * tf.exp(-scale)
        constant = tf.math.lgamma((freedom + 1) / 2) - tf.math.lgamma(freedom / 2) - tf.math.log(freedom * math.pi) / 2
        losses = scale + (freedom + 1) / 2 * tf.math.log1p(off * off / freedom) - constant
        counted = tf.cast(counts[:, 1:], tf.float32)
        return tf.reduce_sum(losses * counted, (0, 1)), tf.reduce_sum(counted, (0, 1))


def _model(row_length: int) -> keras.Model:
    """Return the network: of steps 0 to n - 1 and what is given at 1 to n, the distributions at 1 to n."""
    import keras

    seen, given = keras.Input((row_length - 1, len(SEEN))), keras.Input((row_length - 1, len(GIVEN)))
    states = keras.layers.LSTM(UNITS, return_sequences=True, name=_LSTM)(seen)
    foretold = []
    for head in HEADS:
        own = keras.ops.take(given, places_given(head), axis=2)
        both = keras.layers.Concatenate()([states, own])
        hidden = keras.layers.Dense(HIDDEN, activation="tanh", name=head.channel)(both)
        foretold.append(keras.layers.Dense(2, name=f"{head.channel}_out")(hidden))
    return keras.Model([seen, given], foretold)


def _layer_names() -> list[str]:
    return [_LSTM, *(name for head in HEADS for name in (head.channel, f"{head.channel}_out"))]


def _rows(lessons: Sequence[Lesson]) -> list[_Row]:
    """Cut lessons into rows of STEPS, or of fewer steps where that gives few rows; the latest row comes last."""
    length = STEPS
    while len(rows := _rows_of(lessons, length)) < _FEW_ROWS and length > _SHORTEST:
        length //= 2
    # By how far it lies from its lesson's end, since lessons may begin at different times.
    return sorted(rows, key=lambda row: (row.start - len(lessons[row.lesson].values), row.lesson))


def _rows_of(lessons: Sequence[Lesson], length: int) -> list[_Row]:
    """Return the rows of one length that hold anything to learn."""
    return [
        _Row(number, start, start + length)
        for number, lesson in enumerate(lessons)
        for start in range(0, len(lesson.values) - length + 1, length - _CONTEXT)
        if lesson.is_clean[start + _CONTEXT : start + length].any()
    ]


def _batches(lessons: Sequence[Lesson], rows: Sequence[_Row], size: int) -> Iterator[_Batch]:
    for first in range(0, len(rows), size):
        here = rows[first : first + size]
        values = np.stack([lessons[row.lesson].values[row.start : row.stop] for row in here])
        local = localise(values, NEAR)
        is_clean = np.stack([lessons[row.lesson].is_clean[row.start : row.stop] for row in here])
        is_clean[:, :_CONTEXT] = False
        aims = aim(local)
        counts = is_clean[..., np.newaxis] & ~np.isnan(aims)
        yield see(local), give(local), np.nan_to_num(aims, nan=0.0), counts


def _known(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None
