"""Fold what scales and shifts a layer's channels into the layer's own weights and bias."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.quantize.graph.edit import Editor, drop_unread, replace_nodes
from edgecnn.quantize.graph.index import Graph, attribute, inferred_shapes, is_standard
from edgecnn.quantize.graph.weighted_layer import is_weighted, view_of

Array = npt.NDArray[np.float64]
#: y = factor * x + shift, each with one entry per channel.
Affine = tuple[Array, Array]


def fold_affine(model: onnx.ModelProto) -> None:
    """Fold, in place, per-channel Add, Mul, Sub, Div and BatchNormalization into what comes before them.

    That is a Conv or Gemm with constant weights, or else a BatchNormalization (a network that normalizes
    before it convolves). onnxsim folds a BatchNormalization into a Conv and some of the factors;
    this does the rest. Exact but for rounding: the arithmetic is float64.
    """
    weights = _Weights(model)
    outputs = {value.name for value in model.graph.output}
    readers = Counter(name for node in model.graph.node for name in node.input)
    made_by: dict[str, onnx.NodeProto] = {}
    kept = []
    for node in model.graph.node:
        source = _folded_input(node, made_by)
        before = made_by.get(source)
        affine = None
        if before is not None and readers[source] == 1 and source not in outputs:
            affine = weights.affine(node, before, source)
        if before is not None and affine is not None and weights.scale(before, affine):
            before.output[0] = node.output[0]
            made_by[node.output[0]] = before
            continue
        kept.append(node)
        made_by.update(dict.fromkeys(node.output, node))
    if len(kept) < len(model.graph.node):
        replace_nodes(model, kept)
        drop_unread(model)


def join_gemms(model: onnx.ModelProto) -> None:
    """Write, in place, a matrix product of (N, inputs) and the bias added to it as one Gemm.

    ONNX Runtime joins the two, too, but by then the bias is a float, and a Gemm with int8 weights and a float
    bias is computed in floats, its weights turned into floats at each inference.
    """
    graph, ranks = Graph(model), {name: len(shape) for name, shape in inferred_shapes(model).items()}
    joined: set[str] = set()
    for node in graph.nodes:
        after = graph.only_consumer(node.output[0]) if is_weighted(graph, node) else None
        if node.op_type != "MatMul" or ranks.get(node.input[0]) != 2 or after is None:
            continue
        bias = next((name for name in after.input if graph.is_constant(name)), None)
        outputs = graph.shape(node.input[1])[-1:]
        one_matrix = len(graph.shape(node.input[1])) == 2 and after.op_type == "Add"
        if one_matrix and bias is not None and graph.shape(bias) in (outputs, (1, *outputs)):
            joined.add(after.output[0])
            node.op_type = "Gemm"
            node.input.append(bias)
            node.output[0] = after.output[0]
    kept = [node for node in graph.nodes if node.op_type != "Add" or node.output[0] not in joined]
    replace_nodes(model, kept)


def plain_gemms(model: onnx.ModelProto) -> None:
    """Fold, in place, a Gemm's factors into its weights and bias, and make the bias one value per output.

    A bias that differs from row to row stays as it is.
    """
    weights = _Weights(model)
    for node in model.graph.node:
        if node.op_type == "Gemm":
            weights.plain(node)
    drop_unread(model)


def _folded_input(node: onnx.NodeProto, made_by: dict[str, onnx.NodeProto]) -> str:
    """Return the tensor that a node would scale and shift; empty if it does something else."""
    if node.op_type == "BatchNormalization" and len(node.output) == 1:
        return str(node.input[0])
    if node.op_type in ("Add", "Mul"):
        return next((str(name) for name in node.input if name in made_by), "")
    return str(node.input[0]) if node.op_type in ("Sub", "Div") else ""


class _Weights:
    """The constants of a graph, as float64, and what is folded into them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._editor = Editor(model)
        self._graph = self._editor.graph

    def affine(self, node: onnx.NodeProto, before: onnx.NodeProto, source: str) -> Affine | None:
        """Return factor and shift per output channel of `before`, or None if it is no such node."""
        channels = self._channels(before)
        if not channels:
            return None
        if node.op_type == "BatchNormalization":
            return self._normalization(node)
        others = [name for name in node.input if name != source]
        value = self._value(others[0]) if len(others) == 1 else None
        if value is None:
            return None
        # A Gemm's output is (N, channels), the others' (N, channels, height, width).
        rank = 2 if before.op_type == "Gemm" else 4
        shape = (1,) * (rank - value.ndim) + value.shape
        if len(shape) != rank or shape[1] not in (1, channels) or value.size != shape[1]:
            return None
        value = np.broadcast_to(value.reshape(-1), channels).copy()
        ones, zeros = np.ones(channels), np.zeros(channels)
        if node.op_type == "Div":
            return (1 / value, zeros) if np.all(value) else None
        return {"Add": (ones, value), "Sub": (ones, -value), "Mul": (value, zeros)}[node.op_type]

    def scale(self, node: onnx.NodeProto, affine: Affine) -> bool:
        """Scale and shift what a layer gives; returns whether that can be done."""
        factor, shift = affine
        if node.op_type == "BatchNormalization":
            own = self._normalization(node)
            if own is None or attribute(node, "training_mode", 0):
                return False
            # Scale and bias alone: mean and variance stay what they are.
            scale, bias = self._value(node.input[1]), self._value(node.input[2])
            assert scale is not None and bias is not None  # _normalization read them
            self._replace(node, 1, scale * factor)
            self._replace(node, 2, bias * factor + shift)
            return True
        weight = self._value(node.input[1])
        bias = self._value(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
        if weight is None or bias is None or bias.size not in (1, len(factor)):
            return False
        beta = attribute(node, "beta", 1.0)
        if not beta:  # a Gemm that ignores its bias
            return False
        self._replace(node, 1, weight * view_of(self._graph, node).by_output(factor))
        if np.any(bias) or np.any(shift):
            self._replace(node, 2, bias.reshape(-1) * factor + shift / beta)
        return True

    def plain(self, node: onnx.NodeProto) -> None:
        """Fold a Gemm's factors, and give its bias the shape (outputs,), where its constants allow that."""
        channels, weight = self._channels(node), self._value(node.input[1])
        has_bias = len(node.input) > 2 and bool(node.input[2])
        bias = self._value(node.input[2]) if has_bias else np.zeros(())
        if not channels or weight is None or bias is None:
            return
        if (bias.ndim == 2 and len(bias) > 1) or bias.ndim > 2 or bias.size not in (1, channels):
            return
        alpha, beta = (attribute(node, name, 1.0) for name in ("alpha", "beta"))
        if alpha != 1:
            self._replace(node, 1, weight * alpha)
        if has_bias and (beta != 1 or bias.shape != (channels,)):
            self._replace(node, 2, np.broadcast_to(beta * bias.reshape(-1), channels))
        for item in [item for item in node.attribute if item.name in ("alpha", "beta")]:
            node.attribute.remove(item)

    def _channels(self, node: onnx.NodeProto) -> int:
        """Return the output channels of a layer that can be scaled, 0 of any other node."""
        known = node.op_type in ("Conv", "Gemm", "BatchNormalization") and is_standard(node)
        if not known or len(node.output) != 1 or not self._graph.is_constant(node.input[1]):
            return 0
        weight = self._graph.constant(node.input[1])
        # Convolutions of images only: a factor's shape is read as that of four dimensions.
        if weight.dtype != np.float32 or (node.op_type == "Conv" and weight.ndim != 4):
            return 0
        return len(weight) if node.op_type == "BatchNormalization" else view_of(self._graph, node).outputs

    def _normalization(self, node: onnx.NodeProto) -> Affine | None:
        values = [self._value(name) for name in node.input[1:5]]
        scale, bias, mean, variance = values if len(values) == 4 else (None,) * 4
        if scale is None or bias is None or mean is None or variance is None:
            return None
        factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        return factor, bias - mean * factor

    def _value(self, name: str) -> Array | None:
        return self._graph.constant(name).astype(np.float64) if self._graph.is_constant(name) else None

    def _replace(self, node: onnx.NodeProto, position: int, value: Array) -> None:
        name = f"{node.output[0]}_folded_{position}"
        self._editor.set_constant(node, position, name, np.ascontiguousarray(value, np.float32))
