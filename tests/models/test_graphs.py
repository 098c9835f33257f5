"""Graphs: what Keras has learned gives the same numbers without it, and no graph leads out of its own bytes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from etl.errors import ArtifactError
from models import graphs

if TYPE_CHECKING:
    from onnx import ModelProto

ROWS, STEPS, INPUTS, UNITS = 4, 9, 3, 5


def layers() -> bytes:
    """Return an LSTM with a dense layer behind it: all of its states, and another's last one."""
    rng = np.random.default_rng(3)
    lstm = [
        rng.normal(size=size).astype(np.float32) for size in ((INPUTS, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,))
    ]
    dense = [rng.normal(size=size).astype(np.float32) for size in ((UNITS, 2), (2,))]
    graph = graphs.Graph()
    values = graph.input((ROWS, STEPS, INPUTS))
    return graph.to_bytes(graph.dense(graph.lstm(values, *lstm), *dense), graph.lstm(values, *lstm, is_sequence=False))


def test_a_graph_gives_what_keras_gives() -> None:
    """An LSTM and a dense layer that are written from Keras' weights agree with Keras to 1e-5."""
    import keras

    keras.utils.set_random_seed(5)
    inputs = keras.Input((STEPS, INPUTS))
    states = keras.layers.LSTM(UNITS, return_sequences=True, bias_initializer="random_normal")(inputs)
    last = keras.layers.LSTM(UNITS, bias_initializer="random_normal")(states)
    dense = keras.layers.Dense(2, bias_initializer="random_normal")(states)
    model = keras.Model(inputs, [dense, last])
    graph = graphs.Graph()
    values = graph.input((ROWS, STEPS, INPUTS))
    all_states = graph.lstm(values, *model.layers[1].get_weights())
    weights = {type(layer).__name__: layer.get_weights() for layer in model.layers[2:]}
    outputs = (
        graph.dense(all_states, *weights["Dense"]),
        graph.lstm(all_states, *weights["LSTM"], is_sequence=False),
    )
    given = np.random.default_rng(1).normal(size=(ROWS, STEPS, INPUTS)).astype(np.float32)

    here = graphs.run(graph.to_bytes(*outputs))(given)

    for ours, theirs in zip(here, model(given), strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-5)


def test_the_same_weights_give_the_same_bytes_and_numbers_from_any_thread() -> None:
    """A graph is repeatable, as bytes and when it is run by several threads at once."""
    assert layers() == layers()
    call = graphs.run(layers())
    given = np.random.default_rng(1).normal(size=(ROWS, STEPS, INPUTS)).astype(np.float32)
    once = call(given)
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(call, [given] * 64):
            assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))


def to_external(model: ModelProto) -> None:
    """Let a weight lie in a file."""
    tensor = model.graph.initializer[0]
    tensor.data_location = tensor.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def to_foreign_operator(model: ModelProto) -> None:
    """Use an operator that only ONNX Runtime has."""
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.add(domain="com.microsoft", version=1)


def to_function(model: ModelProto) -> None:
    """Bring an operator along."""
    model.functions.add(name="F", domain="").opset_import.add(domain="", version=graphs.OPSET)


def to_inner_graph(model: ModelProto) -> None:
    """Branch."""
    from onnx import helper

    inner = helper.make_graph([helper.make_node("Neg", ["input_0"], ["z"])], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["input_0"], ["w"], then_branch=inner, else_branch=inner))


def to_loose_end(model: ModelProto) -> None:
    """Read what nothing writes."""
    model.graph.node[0].input[0] = "nowhere"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (to_external, "outside of itself"),
        (to_foreign_operator, "com.microsoft"),
        (to_function, "functions"),
        (to_inner_graph, "within a graph"),
        (to_loose_end, "no valid ONNX model"),
    ],
)
def test_a_graph_that_leads_out_of_itself_is_refused(change: Callable[[ModelProto], None], reason: str) -> None:
    """Data elsewhere, operators and functions of others, graphs within and loose ends are refused by name."""
    import onnx

    model = onnx.load_model_from_string(layers())
    change(model)
    with pytest.raises(ArtifactError, match=reason):
        graphs.run(model.SerializeToString())


@pytest.mark.parametrize("blob", [b"", b"PK\x03\x04", layers()[:-7], b"\x80\x04."])
def test_what_is_no_graph_is_refused(blob: bytes) -> None:
    """Bytes that are no ONNX model are an ArtifactError and nothing else."""
    with pytest.raises(ArtifactError):
        graphs.run(blob)
