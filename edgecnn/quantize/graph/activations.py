"""Activations that a tool spelled out in arithmetic, written as the operators that they are.

PaddlePaddle and TensorFlow write x * clip(x + 3, 0, 6) / 6 for HardSwish, and its gate alone for HardSigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from edgecnn.quantize.graph.edit import Editor, replace_nodes
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.patterns import clip_bounds

#: Scalar arithmetic on one tensor.
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")
#: How near a factor must come to the inverse of a clip's upper end.
_NEAR = 1e-4


@dataclass(frozen=True)
class _Affine:
    """`factor * x + shift` of the tensor `source`, and the nodes that compute it."""

    source: str
    factor: float
    shift: float
    nodes: list[onnx.NodeProto]


def name_activations(model: onnx.ModelProto) -> None:
    """Write, in place, clip(a x + b, 0, c) / c as HardSigmoid; times x it is a HardSwish."""
    changed = True
    while changed:
        graph = Graph(model)
        changed = any(_write(model, graph, node) for node in graph.nodes if node.op_type == "Clip")


def name_clips(model: onnx.ModelProto) -> None:
    """Write, in place, the larger or the lesser of a tensor and a number as Relu or Clip.

    TensorFlow has min(relu(x), 6): that is one Clip.
    """
    editor = Editor(model)
    graph, joined = editor.graph, set[str]()
    for node in model.graph.node:
        number = _bound(graph, node)
        if number is None:
            continue
        source = next(name for name in node.input if not graph.is_constant(name))
        before = graph.producer(source)
        after_relu = (
            before is not None and before.op_type == "Relu" and graph.only_consumer(source) is not None
        )
        ends = (number, np.inf) if node.op_type == "Max" else (-np.inf, number)
        if before is not None and after_relu and number > 0 and node.op_type == "Min":
            joined.add(source)
            source, ends = before.input[0], (0.0, number)
        node.op_type, node.input[:] = "Clip", [source]
        if ends == (0, np.inf):
            node.op_type = "Relu"
            continue
        for name, end in zip(("low", "high"), ends, strict=True):
            known = np.isfinite(end)
            node.input.append(
                editor.add_constant(f"{node.output[0]}_{name}", np.float32(end)) if known else ""
            )
    replace_nodes(model, [node for node in model.graph.node if node.output[0] not in joined])


def _bound(graph: Graph, node: onnx.NodeProto) -> float | None:
    """Return the number that bounds the one other input of a Max or Min; None for any other node."""
    constants = [graph.constant(name) for name in node.input if graph.is_constant(name)]
    if node.op_type not in ("Max", "Min") or len(node.input) != 2 or len(constants) != 1:
        return None
    alone = constants[0].size == 1 and constants[0].ndim <= 1 and constants[0].dtype == np.float32
    return float(constants[0].reshape(())) if alone and np.isfinite(constants[0]) else None


def _write(model: onnx.ModelProto, graph: Graph, clip: onnx.NodeProto) -> bool:
    """Replace one clip and what belongs to it; returns whether it was one of these."""
    low, high = clip_bounds(graph, clip) or (1.0, 1.0)
    before = _affine(graph, clip.input[0])
    if low != 0 or not 0 < high < np.inf or not before.nodes:
        return False
    gate = [*before.nodes, clip]
    product, tail = None, graph.only_consumer(clip.output[0])
    if high == 1:
        result = clip.output[0]
    elif tail is not None and _scales_by(graph, tail, clip.output[0], 1 / high):
        gate.append(tail)
        result = tail.output[0]
    elif tail is not None and tail.op_type == "Mul" and before.source in tail.input:
        last = graph.only_consumer(tail.output[0])
        if last is None or not _scales_by(graph, last, tail.output[0], 1 / high):
            return False
        gate += [tail, last]
        product = last.output[0]
        result = clip.output[0]
    else:
        return False
    alpha, beta = before.factor / high, before.shift / high
    written = [
        helper.make_node("HardSigmoid", [before.source], [result], name=clip.name, alpha=alpha, beta=beta)
    ]
    if product is not None:
        written.append(helper.make_node("Mul", [before.source, result], [product], name=gate[-1].name))
    _replace(model, gate, written)
    return True


def _affine(graph: Graph, tensor: str) -> _Affine:
    """Return what a tensor is of the first one that no scalar arithmetic makes."""
    factor, shift, nodes = 1.0, 0.0, list[onnx.NodeProto]()
    while (node := graph.producer(tensor)) is not None and graph.only_consumer(tensor) is not None:
        other = _scalar(graph, node)
        if other is None or (node.op_type in ("Sub", "Div") and not graph.is_constant(node.input[1])):
            break
        if node.op_type in ("Add", "Sub"):
            shift += factor * (other if node.op_type == "Add" else -other)
        elif other:
            factor *= other if node.op_type == "Mul" else 1 / other
        else:
            break
        nodes.insert(0, node)
        tensor = next(name for name in node.input if not graph.is_constant(name))
    return _Affine(tensor, factor, shift, nodes)


def _scalar(graph: Graph, node: onnx.NodeProto) -> float | None:
    """Return the one number that a node combines a tensor with; None for any other node."""
    if node.op_type not in _ARITHMETIC:
        return None
    constants = [graph.constant(name) for name in node.input if graph.is_constant(name)]
    alone = len(constants) == 1 and constants[0].size == 1 and constants[0].dtype.kind == "f"
    return float(constants[0].reshape(())) if alone else None


def _scales_by(graph: Graph, node: onnx.NodeProto, tensor: str, factor: float) -> bool:
    """Return whether a node multiplies a tensor by this number."""
    other = _scalar(graph, node)
    if other is None or node.op_type not in ("Mul", "Div") or not other:
        return False
    if node.op_type == "Div":
        return node.input[0] == tensor and abs(1 / other - factor) < _NEAR * factor
    return abs(other - factor) < _NEAR * factor


def _replace(model: onnx.ModelProto, old: list[onnx.NodeProto], new: list[onnx.NodeProto]) -> None:
    """Put nodes in the place of the last of those that they stand for."""
    gone = {node.output[0] for node in old}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.output[0] == old[-1].output[0]:
            nodes += new
        elif node.output[0] not in gone:
            nodes.append(node)
    replace_nodes(model, nodes)
