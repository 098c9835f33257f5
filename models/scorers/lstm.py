"""The LSTM: it foretells each candle's features as distributions, and a candle is as strange as it is improbable.

From the candles before, it tells mean and scale of the next one's range, volume and return; and besides from what else
is known of the candle itself, what its volume, its trades and its return should be. So a wild hour widens what counts
as normal, volume that moves the price is less strange than volume that moves nothing, and a price that leaps between
two candles shows though each of them looks calm. What lasts shows by sums: a price that stands still while volume goes
on. The distributions have heavy tails (Student's), since those of markets do.

One pass over a row foretells all its candles: learning and judging cost as much as candles, not as windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import graphs
from models.blocks import BLOCK, CONTEXT, ROWS, STEPS
from models.scorers.foretelling import GIVEN, HEADS, SEEN, aim, give, places_given, see
from models.scorers.local import FAR, NEAR, localise
from models.scorers.reading import take_graph, take_numbers
from models.scorers.recurrent import NARROWEST, learn, shapes
from models.scorers.scorer import Floats, Judge, Lesson, Parts, Scorer, Study

_LASTING = ("move", "frozen", "wash", "burst")
CHANNELS = (*(head.channel for head in HEADS), *_LASTING)
"""Those of the heads; then what lasts: move, returns that add up within three candles; frozen, ranges that are too
small for six; wash, volume that is too great for them; burst, the same within three."""

_HIGH_ONLY = frozenset({"range", "volume", "effort"})
"""Where little is nothing strange; of the others either side is."""
_LONG, _SHORT = 6, 3  # candles that a sum goes over
_WIDEST = 4.0  # in deviations: what lasts is made of many candles, not of one
_PLAIN = 0.5  # the part in a sum, in deviations, that a candle must have for it to count


def fit(lessons: Sequence[Lesson], study: Study) -> Parts:
    """Train on all lessons, from what was learned before where that is given."""
    before = study.begin_with
    begin_with = None if before is None else {n: take_numbers(before, n, shape) for n, shape in shapes().items()}
    weights = learn(lessons, study, begin_with)
    return Parts(numbers=weights, graph=to_graph(weights))


def load(parts: Parts) -> Judge:
    """Return what judges by these weights."""
    takes = [(ROWS, STEPS, len(SEEN)), (ROWS, BLOCK, len(GIVEN))]
    run = graphs.run(take_graph(parts), takes, [(ROWS, BLOCK, 2 * len(HEADS))])

    def judge(rows: Floats) -> Floats:
        local = localise(rows, NEAR)
        foretold = run(see(local), give(local)[:, CONTEXT:])[0]
        mean, scale = foretold[..., 0::2], np.maximum(foretold[..., 1::2], np.float32(NARROWEST))
        off: Floats = (aim(local)[:, CONTEXT:] - mean) * np.exp(-scale)
        is_sided = np.array([head.channel in _HIGH_ONLY for head in HEADS])
        return np.concatenate(
            [np.where(is_sided, off, np.abs(off)), _lasting(localise(rows, FAR))], axis=-1, dtype=np.float32
        )

    return judge


SCORER = Scorer("lstm", "an LSTM that foretells the next candle as distributions", CHANNELS, fit, load)


def to_graph(weights: dict[str, NDArray[Any]]) -> bytes:
    """Return the graph that foretells.

    It takes what is seen, (ROWS, STEPS, len(SEEN)), and what is given, (ROWS, BLOCK, len(GIVEN)), and gives by head the
    mean and the log of the scale, (ROWS, BLOCK, 2 * len(HEADS)).
    """
    graph = graphs.Graph()
    seen, given = graph.input((ROWS, STEPS, len(SEEN))), graph.input((ROWS, BLOCK, len(GIVEN)))
    states = graph.lstm(seen, *(weights[name] for name in ("kernel", "recurrent", "bias")))
    bounds = (np.array([step]) for step in (CONTEXT - 1, STEPS - 1, 1))
    before = graph.node("Slice", states, *(graph.constant(bound) for bound in bounds))
    foretold = []
    for head in HEADS:
        own = graph.node("Gather", given, graph.constant(np.array(places_given(head))), axis=2)
        both = graph.node("Concat", before, own, axis=2)
        name = head.channel
        hidden = graph.node("Tanh", graph.dense(both, weights[f"{name}_kernel"], weights[f"{name}_bias"]))
        foretold.append(graph.dense(hidden, weights[f"{name}_out_kernel"], weights[f"{name}_out_bias"]))
    return graph.to_bytes(graph.node("Concat", *foretold, axis=2))


def _lasting(local: Mapping[str, Floats]) -> Floats:
    """Return (rows, BLOCK, len(_LASTING)): sums over the last candles, each over the root of their count."""
    size, volume = (np.clip(local[name], -_WIDEST, _WIDEST) for name in ("range", "volume"))
    calm, effort = np.nan_to_num(-size, nan=0.0), np.nan_to_num(volume - size, nan=0.0)
    move = np.abs(_sum(np.nan_to_num(local["return"], nan=0.0), _SHORT))
    frozen, wash = (_where_part(_sum(values, _LONG), values) for values in (calm, effort))
    burst = _where_part(_sum(effort, _SHORT), effort)
    return np.stack([move, frozen, wash, burst], axis=-1)[:, CONTEXT:]


def _sum(values: Floats, count: int) -> Floats:
    # Step by step: a running sum would round otherwise with what came before.
    sums = values.copy()
    for back in range(1, count):
        sums[:, back:] += values[:, :-back]
    sums /= np.float32(np.sqrt(count))
    return sums


def _where_part(sums: Floats, values: Floats) -> Floats:
    """Return the sums where the candle itself has a part in them, none above zero elsewhere: what is over, is over."""
    return np.where(values > np.float32(_PLAIN), sums, np.minimum(sums, np.float32(0)))
