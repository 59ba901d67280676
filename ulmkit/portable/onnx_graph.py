"""A classifier as an ONNX graph, of operators that every runtime has.

Inputs:
    ids (B, T) int64, T >= 1: the next token ids of each document, padded with any id
    lengths (B,) int64, 0 <= length <= T: how many of them are valid
    state (B, S) float32: zeros before the first token, else the state that the call before returned
Outputs:
    prediction: (B, C) probabilities, calibrated; (B,) for a number
    logits (B, C): the head's outputs; not for a number
    state (B, S) float32
"""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor, nn

from ulmkit.errors import ConfigError, MissingPackageError
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.document_norm import DocumentNorm
from ulmkit.model.heads import Head, MultiLabelHead, NumberHead
from ulmkit.model.lstm_layer import LSTMLayer
from ulmkit.portable.state import StateLayout

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8
"""Version of the file format that belongs to the opset: onnxruntime 1.13 and later read both."""

_LARGEST_BYTES = 2**31 - 1_000_000
"""Largest size of a file; protobuf's limit, with room for the graph."""


def check_packages() -> None:
    """Raise MissingPackageError unless onnx and onnxruntime are installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            f"export: ONNX needs the package {error.name}, which is not installed; run: pip install 'ulmkit[onnx]'"
        ) from None


def build_onnx(model: AWDLSTMClassifier, temperature: float) -> "onnx.ModelProto":
    """Build the graph of a classifier with concat pooling and LSTM layers; see the module for inputs and outputs.

    Args:
        model: The classifier, with float weights; they are not changed.
        temperature: Divides the logits before the softmax.

    Raises:
        ConfigError: If the weights are more than an ONNX file can hold.
    """
    import onnx
    from onnx import TensorProto, helper

    size = 4 * sum(parameter.numel() for parameter in model.parameters())
    if size > _LARGEST_BYTES:
        raise ConfigError(f"export: expected at most 2 GB of weights for ONNX, got {size / 1e9:.1f} GB; use torch")
    graph = _Graph()
    layout = StateLayout.of(model.config)
    features = _encode_and_pool(graph, model, layout)
    logits = _head(graph, model.head, features)
    answers = {"prediction": _prediction(graph, model.head, logits, temperature)}
    if not isinstance(model.head, NumberHead):
        answers["logits"] = logits
    for name, value in answers.items():
        graph.add("Identity", value, output=name)
    info = helper.make_tensor_value_info
    classes = [] if isinstance(model.head, NumberHead) else [model.head.config.classes]
    made = helper.make_graph(
        graph.nodes,
        "classifier",
        [
            info("ids", TensorProto.INT64, ["documents", "tokens"]),
            info("lengths", TensorProto.INT64, ["documents"]),
            info("state", TensorProto.FLOAT, ["documents", layout.total]),
        ],
        [
            *(info(name, TensorProto.FLOAT, ["documents", *classes]) for name in answers),
            info("new_state", TensorProto.FLOAT, ["documents", layout.total]),
        ],
        graph.constants,
    )
    opset = helper.make_opsetid("", OPSET)
    built = helper.make_model(made, opset_imports=[opset], ir_version=IR_VERSION, producer_name="ulmkit")
    onnx.checker.check_model(built)
    return built


class _Graph:
    """Nodes and constants of a graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Add an array."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add an operator with one output, and return the output's name."""
        (name,) = self.add_many(operator, inputs, 1, output=output, **attributes)
        return name

    def add_many(
        self, operator: str, inputs: tuple[str, ...], outputs: int, *, output: str | None = None, **attributes: Any
    ) -> list[str]:
        """Add an operator, and return the names of its outputs."""
        from onnx import helper

        number = len(self.nodes)
        names = [output or f"{operator.lower()}_{number}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names


def _encode_and_pool(graph: _Graph, model: AWDLSTMClassifier, layout: StateLayout) -> str:
    """Add the encoder and concat pooling; returns the features (B, 3E), and adds the output `new_state`."""
    from onnx import TensorProto

    first, second, third = (graph.constant([axis], np.int64) for axis in range(3))
    sizes = graph.constant(list(layout.sizes.values()), np.int64)
    parts = graph.add_many("Split", ("state", sizes), len(layout.sizes), axis=1)
    before = dict(zip(layout.sizes, parts, strict=True))  # (B, H) each, and (B, 1)
    after: dict[str, str] = {}
    lengths = graph.add("Cast", "lengths", to=TensorProto.INT32)
    goes_on = graph.add("Unsqueeze", graph.add("Greater", "lengths", graph.constant(0, np.int64)), second)  # (B, 1)
    table = graph.constant(_array(cast(Tensor, model.encoder.embedding.weight))[: model.encoder.vocab_size])
    x = graph.add("Gather", table, graph.add("Transpose", "ids", perm=[1, 0]))  # (T, B, E)
    for number, layer in enumerate(model.encoder.layers):
        x, hidden, cell = _lstm(graph, cast(LSTMLayer, layer), number, x, lengths, before, first, second)
        after[f"hidden_{number}"] = graph.add("Where", goes_on, hidden, before[f"hidden_{number}"])
        after[f"cell_{number}"] = graph.add("Where", goes_on, cell, before[f"cell_{number}"])
    after |= _pool(graph, x, before, (first, second, third))
    graph.add("Concat", *(after[name] for name in layout.sizes), axis=1, output="new_state")
    steps = graph.add("Max", after["count"], graph.constant(1.0))
    last = after[f"hidden_{len(layout.hidden_sizes) - 1}"]
    return graph.add("Concat", last, after["maximum"], graph.add("Div", after["total"], steps), axis=1)


def _lstm(
    graph: _Graph, layer: LSTMLayer, number: int, x: str, lengths: str, before: dict[str, str], first: str, second: str
) -> tuple[str, str, str]:
    """Add a layer: y (T, B, H), zero beyond a length, and its hidden and cell state (B, H)."""
    states = [graph.add("Unsqueeze", before[f"{part}_{number}"], first) for part in ("hidden", "cell")]  # (1, B, H)
    bias = _onnx_gates(layer.bias())
    y, hidden, cell = graph.add_many(
        "LSTM",
        (
            x,
            graph.constant(_onnx_gates(layer.weight_ih)[None]),
            graph.constant(_onnx_gates(layer.weight_hh)[None]),
            graph.constant(np.concatenate([bias, np.zeros_like(bias)])[None]),
            lengths,
            *states,
        ),
        3,
        hidden_size=layer.weight_hh.shape[1],
    )
    return graph.add("Squeeze", y, second), graph.add("Squeeze", hidden, first), graph.add("Squeeze", cell, first)


def _onnx_gates(weight: Tensor) -> np.ndarray:
    """Rows of the gates i, f, g, o in the order of ONNX: i, o, f, g (which it calls c)."""
    i, f, g, o = np.split(_array(weight), 4)
    return np.concatenate([i, o, f, g])


def _pool(graph: _Graph, x: str, before: dict[str, str], axes: tuple[str, str, str]) -> dict[str, str]:
    """Add concat pooling over the valid steps of x (T, B, E), which is zero at the others; see `PoolingState`."""
    from onnx import TensorProto

    first, second, third = axes
    tokens = graph.add("Squeeze", graph.add("Shape", "ids", start=1, end=2))
    steps = graph.add("Range", graph.constant(0, np.int64), tokens, graph.constant(1, np.int64))
    valid = graph.add("Less", graph.add("Unsqueeze", steps, second), graph.add("Unsqueeze", "lengths", first))
    nothing = graph.constant(-np.inf)
    newest = graph.add("Where", graph.add("Unsqueeze", valid, third), x, nothing)  # (T, B, E)
    was_read = graph.add("Greater", before["count"], graph.constant(0.0))
    larger = graph.add(
        "Max",
        graph.add("Where", was_read, before["maximum"], nothing),
        graph.add("ReduceMax", newest, axes=[0], keepdims=0),
    )
    new_steps = graph.add("Cast", graph.add("Unsqueeze", "lengths", second), to=TensorProto.FLOAT)
    count = graph.add("Add", before["count"], new_steps)
    is_read = graph.add("Greater", count, graph.constant(0.0))
    return {
        "maximum": graph.add("Where", is_read, larger, graph.constant(0.0)),
        "total": graph.add("Add", before["total"], graph.add("ReduceSum", x, first, keepdims=0)),
        "count": count,
    }


def _head(graph: _Graph, head: Head, x: str) -> str:
    """Add the head's layers, without what a subclass does to their output."""
    for layer in head.layers:
        if isinstance(layer, DocumentNorm):
            arrays = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
            constants = (graph.constant(_array(tensor)) for tensor in arrays)
            x = graph.add("BatchNormalization", x, *constants, epsilon=layer.eps)
        elif isinstance(layer, nn.Linear):
            x = graph.add("Gemm", x, graph.constant(_array(layer.weight)), graph.constant(_array(layer.bias)), transB=1)
        elif isinstance(layer, nn.ReLU):
            x = graph.add("Relu", x)
        else:
            assert isinstance(layer, nn.Dropout), layer
    return x


def _prediction(graph: _Graph, head: Head, logits: str, temperature: float) -> str:
    """Add what becomes of the logits: probabilities, or the number."""
    if isinstance(head, NumberHead):
        scale, shift = head.config.number_deviation, head.config.number_mean
        number = graph.add("Squeeze", logits, graph.constant([1], np.int64))
        if head.config.value_range is not None:
            lowest, highest = head.config.value_range
            scale, shift = highest - lowest, lowest
            number = graph.add("Sigmoid", number)
        return graph.add("Add", graph.add("Mul", number, graph.constant(scale)), graph.constant(shift))
    if isinstance(head, MultiLabelHead):
        return graph.add("Sigmoid", logits)
    return graph.add("Softmax", graph.add("Div", logits, graph.constant(temperature)), axis=1)


def _array(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().float().cpu().numpy())
