"""ONNX graphs: written from plain weights, checked, and run without TensorFlow.

Written by hand rather than exported, so that nothing stands in a graph but what is named here. Read with suspicion, as
whatever comes from a blob: standard operators on tensors that lie within, and nothing that leads out of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etl.errors import ArtifactError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

Floats = NDArray[np.float32]
Shapes = Sequence[tuple[int, ...]]
Run = Callable[..., tuple[Floats, ...]]
"""Takes the inputs in their order, returns the outputs in theirs. Safe to call from several threads."""

OPSET = 17
ML = "ai.onnx.ml"  # the domain of trees
_ML_OPSET = 3
_IR_VERSION = 8
_DOMAINS = frozenset({"", "ai.onnx", ML})
_KERAS_TO_ONNX = (0, 3, 1, 2)  # gates: Keras has input, forget, cell, output; ONNX input, output, forget, cell


class Graph:
    """A graph while it is written. Each method adds to it, and returns the name of what comes out there.

    The same calls give the same bytes.
    """

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._tensors: list[TensorProto] = []
        self._inputs: list[tuple[str, tuple[int, ...]]] = []

    def input(self, shape: Sequence[int]) -> str:
        """Add an input of float32; its shape is fixed."""
        name = f"input_{len(self._inputs)}"
        self._inputs.append((name, tuple(shape)))
        return name

    def constant(self, values: NDArray[Any]) -> str:
        """Add numbers."""
        from onnx import numpy_helper

        name = f"constant_{len(self._tensors)}"
        self._tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, *sources: str, at: int = 0, outputs: int = 1, **attributes: Any) -> str:
        """Add an operator of ONNX.

        Args:
            at: Which of its outputs goes on from here.
            outputs: How many it has.
        """
        from onnx import helper

        names = [f"{operator.lower()}_{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(sources), names, **attributes))
        return names[at]

    def dense(self, source: str, kernel: Floats, bias: Floats) -> str:
        """Add a dense layer over the last axis, with weights as Keras has them: (n_in, n_out) and (n_out,)."""
        return self.node("Add", self.node("MatMul", source, self.constant(kernel)), self.constant(bias))

    def lstm(self, source: str, kernel: Floats, recurrent: Floats, bias: Floats, *, is_sequence: bool = True) -> str:
        """Add an LSTM with weights as Keras has them: (n_in, 4 * units), (units, 4 * units) and (4 * units,).

        Args:
            source: (rows, steps, n_in).
            is_sequence: Return (rows, steps, units), all states; else the last alone, (rows, units).
        """
        units = len(recurrent)
        both = np.concatenate([_to_onnx(bias[np.newaxis]), np.zeros((1, 4 * units, 1), np.float32)], axis=1)[..., 0]
        weights = [self.constant(part) for part in (_to_onnx(kernel), _to_onnx(recurrent), both)]
        by_step = self.node("Transpose", source, perm=[1, 0, 2])
        at, axis = (0, 1) if is_sequence else (1, 0)
        states = self.node("LSTM", by_step, *weights, at=at, outputs=2, hidden_size=units)
        alone = self.node("Squeeze", states, self.constant(np.array([axis], np.int64)))
        return self.node("Transpose", alone, perm=[1, 0, 2]) if is_sequence else alone

    def to_bytes(self, *outputs: str) -> bytes:
        """Return the model, whose outputs are these."""
        from onnx import TensorProto, helper, shape_inference

        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self._inputs]
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self._nodes, "scorer", inputs, given, self._tensors)
        opset = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, _ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name="chandler")
        known = shape_inference.infer_shapes(model, strict_mode=True)
        del known.graph.value_info[:]
        return bytes(known.SerializeToString(deterministic=True))


def run(graph: bytes, takes: Shapes | None = None, gives: Shapes | None = None) -> Run:
    """Return what runs a model: on one thread, so that its numbers do not depend on the machine's load.

    Args:
        takes: The shapes that its inputs must have, in their order.
        gives: The same of its outputs.

    Raises:
        ArtifactError: It is no valid ONNX model, or one that leads out of its own bytes, or has other shapes.
    """
    import onnxruntime

    check(graph)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what fails is raised
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no class of their own
        raise ArtifactError(f"the graph cannot be run: {_first_line(error)}") from error
    for wanted, entries in ((takes, session.get_inputs()), (gives, session.get_outputs())):
        shapes = [tuple(entry.shape) for entry in entries if entry.type == "tensor(float)"]
        if wanted is not None and shapes != [tuple(shape) for shape in wanted]:
            raise ArtifactError(f"the graph has the shapes {shapes} where {list(wanted)} are read")
    names = [entry.name for entry in session.get_inputs()]

    def call(*inputs: Floats) -> tuple[Floats, ...]:
        return tuple(session.run(None, dict(zip(names, inputs, strict=True))))

    return call


def check(graph: bytes) -> None:
    """Refuse what is not a plain ONNX model.

    Raises:
        ArtifactError: Says why.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(graph)
        reason = _why_not(model)
        if reason is None:
            onnx.checker.check_model(model, full_check=True)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ArtifactError(f"the graph is no valid ONNX model: {_first_line(error)}") from error
    if reason is not None:
        raise ArtifactError(f"the graph is refused: {reason}")


def _why_not(model: ModelProto) -> str | None:
    """Return why a model is refused that may be valid otherwise."""
    from onnx import AttributeProto, TensorProto

    domains = [entry.domain for entry in model.opset_import] + [node.domain for node in model.graph.node]
    strange = sorted(set(domains) - _DOMAINS)
    if strange:
        return f"operators of {', '.join(strange)}, which is not ONNX's own"
    if model.functions:
        return "it brings functions of its own"
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    if any(attribute.type in {AttributeProto.GRAPH, AttributeProto.GRAPHS} for attribute in attributes):
        return "it has a graph within a graph"
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in _tensors_of(model.graph)):
        return "it keeps data outside of itself"
    return None


def _tensors_of(graph: GraphProto) -> list[TensorProto]:
    tensors = list(graph.initializer)
    sparse = list(graph.sparse_initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            sparse += [attribute.sparse_tensor, *attribute.sparse_tensors]
    for tensor in sparse:
        tensors += [tensor.values, tensor.indices]
    return tensors


def _to_onnx(weights: Floats) -> Floats:
    """Turn (n, 4 * units) of Keras into (1, 4 * units, n) of ONNX."""
    gates = np.split(np.asarray(weights, np.float32), 4, axis=1)
    return np.concatenate([gates[gate] for gate in _KERAS_TO_ONNX], axis=1).T[np.newaxis]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
