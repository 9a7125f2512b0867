"""Activations of straight pieces as the sums and products that an engine has integer kernels for.

ONNX Runtime computes HardSwish and PRelu in floats: between two quantized tensors that is a DequantizeLinear,
two slow operators and a QuantizeLinear. Sums and products of codes it has; clips come with a QuantizeLinear.

- HardSigmoid after a layer, clip(a x + b, 0, 1), is a clip of that layer, a in its weights, b in its bias.
- HardSwish after a layer, x clip(a x + b, 0, 1), is z clip(z + b / sqrt(a), 0, 1 / sqrt(a)) of z = sqrt(a) x:
  that factor is the layer's, too.
- PRelu with the slopes s is x + relu((s - 1) x) where none is above 1, else x + (1 - s) relu(-x). A slope
  that is above 1 by no more than the rounding of s - 1 to eight bits counts as 1.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from edgecnn.quantize.graph.edit import Editor, copy_of, drop_unread, replace_nodes
from edgecnn.quantize.graph.index import Graph, attribute, is_standard
from edgecnn.quantize.graph.weighted_layer import is_weighted, view_of

#: Of HardSwish: clip(x / 6 + 1 / 2, 0, 1).
_HARD_SWISH = (1 / 6, 0.5)


@dataclass(frozen=True)
class _Gate:
    """clip(alpha x + beta, 0, 1) of a layer's output, times that output if there is a product."""

    layer: onnx.NodeProto
    alpha: float
    beta: float
    #: The node that computes it.
    node: onnx.NodeProto
    #: Of a HardSwish in two nodes, the second.
    product: onnx.NodeProto | None
    #: Whether it is multiplied by what it is made of.
    swish: bool


def integer_activations(model: onnx.ModelProto, kept: Collection[str] = ()) -> onnx.ModelProto:
    """Return a float model that computes the same, with these activations as sums, products and clips.

    Nodes whose names are in `kept` stay as they are. HardSigmoid and HardSwish are rewritten where a layer
    with constant weights makes what they read, and nothing else reads it.
    """
    result = copy_of(model)
    writer = _Writer(result, kept)
    writer.gates()
    writer.slopes()
    writer.write()
    return result


def swish_floor(graph: Graph, product: onnx.NodeProto) -> float | None:
    """Return below what x the product x clip(x + c, 0, u) is zero; None for any other node."""
    for tensor, other in zip(product.input, reversed(product.input), strict=True):
        clip = graph.producer(tensor)
        addition = graph.producer(clip.input[0]) if clip is not None and clip.op_type == "Clip" else None
        if addition is None or addition.op_type != "Add" or other not in addition.input:
            continue
        constants = [name for name in addition.input if graph.is_constant(name)]
        low = graph.is_constant(clip.input[1]) if clip is not None and len(clip.input) > 1 else False
        if clip is not None and low and not graph.constant(clip.input[1]).any() and constants:
            value = graph.constant(constants[0])
            return -float(value.reshape(-1)[0]) if value.size == 1 else None
    return None


def is_slope(graph: Graph, product: onnx.NodeProto) -> bool:
    """Return whether a product by a constant is what a PRelu adds to what it reads, as it is written here.

    Its factors may differ as they like: what their rounding changes is little beside the sum.
    """
    after = graph.only_consumer(product.output[0])
    clipped = after is not None and after.op_type == "Relu"
    total = graph.only_consumer(after.output[0]) if after is not None and clipped else after
    source = product.input[0]
    if not clipped:
        relu = graph.producer(source)
        turned = graph.producer(relu.input[0]) if relu is not None and relu.op_type == "Relu" else None
        source = turned.input[0] if turned is not None and turned.op_type == "Mul" else ""
    return total is not None and total.op_type == "Add" and source in total.input


class _Writer:
    """Collects what stands in the place of each node."""

    def __init__(self, model: onnx.ModelProto, kept: Collection[str]) -> None:
        self._model, self._kept = model, kept
        self._editor = Editor(model)
        self._graph = self._editor.graph
        #: By the output of the node that they stand for.
        self._instead: dict[str, list[onnx.NodeProto]] = {}

    def write(self) -> None:
        """Put all that was collected into the model."""
        nodes: list[onnx.NodeProto] = []
        for node in self._graph.nodes:
            nodes += self._instead.get(node.output[0], [node])
        replace_nodes(self._model, nodes)
        drop_unread(self._model)

    def gates(self) -> None:
        """Rewrite HardSigmoid and HardSwish, and scale the layers before them."""
        for node in self._graph.nodes:
            gate = self._gate(node)
            if gate is None:
                continue
            if gate.swish:
                self._scale(gate.layer, math.sqrt(gate.alpha), 0.0)
                self._instead.update(self._swish(gate))
            else:
                self._scale(gate.layer, gate.alpha, gate.beta)
                source, result = gate.layer.output[0], gate.node.output[0]
                self._instead[result] = [self._clip(source, result, 1.0, gate.node.name)]

    def _gate(self, node: onnx.NodeProto) -> _Gate | None:
        if node.op_type not in ("HardSigmoid", "HardSwish") or not is_standard(node):
            return None
        source = node.input[0]
        layer, readers = self._graph.producer(source), self._graph.consumers(source)
        others = [reader for reader in readers if reader is not node]
        product = others[0] if len(others) == 1 and set(others[0].input) == {source, node.output[0]} else None
        if product is not None and (product.op_type != "Mul" or node.op_type == "HardSwish"):
            return None
        if product is not None and self._graph.only_consumer(node.output[0]) is not product:
            return None
        if (others and product is None) or source in self._graph.outputs or layer is None:
            return None
        parts = (layer, node, product or node)
        if not self._scalable(layer) or any(part.name in self._kept for part in parts):
            return None
        alpha, beta = attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
        if node.op_type == "HardSwish":
            alpha, beta = _HARD_SWISH
        swish = product is not None or node.op_type == "HardSwish"
        return _Gate(layer, alpha, beta, node, product, swish) if alpha > 0 else None

    def _scalable(self, layer: onnx.NodeProto) -> bool:
        """Return whether a layer has weights of its own, and a bias of one value for each channel or none."""
        if layer.op_type not in ("Conv", "Gemm") or not is_weighted(self._graph, layer):
            return False
        factors = (attribute(layer, "alpha", 1.0), attribute(layer, "beta", 1.0))
        bias = layer.input[2] if len(layer.input) > 2 else ""
        if bias and not self._graph.is_constant(bias):
            return False
        outputs = (view_of(self._graph, layer).outputs,)
        return factors == (1.0, 1.0) and (not bias or self._graph.shape(bias) == outputs)

    def _scale(self, layer: onnx.NodeProto, factor: float, shift: float) -> None:
        """Scale and shift what a layer gives."""
        weight = self._graph.constant(layer.input[1]).astype(np.float64) * factor
        has_bias = len(layer.input) > 2 and bool(layer.input[2])
        zeros = np.zeros(view_of(self._graph, layer).outputs)
        bias = self._graph.constant(layer.input[2]).astype(np.float64) * factor if has_bias else zeros
        for position, name, value in ((1, "weight", weight), (2, "bias", bias + shift)):
            if position == 1 or has_bias or shift:
                self._editor.set_constant(layer, position, f"{layer.name}/{name}", value.astype(np.float32))

    def _swish(self, gate: _Gate) -> dict[str, list[onnx.NodeProto]]:
        """Return what stands for a HardSwish whose layer is scaled."""
        source, name = gate.layer.output[0], gate.node.name
        last = gate.product or gate.node
        summed = self._tensors(f"{last.output[0]}_sum")
        clipped = gate.node.output[0] if gate.product else self._tensors(f"{last.output[0]}_gate")
        shift = self._editor.add_constant(f"{name}/shift", np.float32(gate.beta / math.sqrt(gate.alpha)))
        addition = helper.make_node("Add", [source, shift], [summed], name=self._node(f"{name}/sum"))
        clip_name = name if gate.product else self._node(f"{name}/gate")
        clip = self._clip(summed, clipped, 1 / math.sqrt(gate.alpha), clip_name)
        product = helper.make_node("Mul", [source, clipped], [last.output[0]], name=last.name)
        if gate.product is None:
            return {last.output[0]: [addition, clip, product]}
        return {gate.node.output[0]: [addition, clip], last.output[0]: [product]}

    def _clip(self, source: str, result: str, high: float, name: str) -> onnx.NodeProto:
        ends = [self._editor.add_constant(f"{result}_{key}", np.float32(value))
                for key, value in (("low", 0.0), ("high", high))]  # fmt: skip
        return helper.make_node("Clip", [source, *ends], [result], name=name)

    def slopes(self) -> None:
        """Rewrite PRelu."""
        for node in self._graph.nodes:
            constant = node.op_type == "PRelu" and self._graph.is_constant(node.input[1])
            if constant and is_standard(node) and node.name not in self._kept:
                self._instead[node.output[0]] = self._leak(node, self._graph.constant(node.input[1]))

    def _leak(self, node: onnx.NodeProto, slope: np.ndarray) -> list[onnx.NodeProto]:
        """Return what stands for a PRelu."""
        source, result, name = node.input[0], node.output[0], node.name
        # Two steps of the codes that the factors get are no more than what rounding does to them.
        below = slope.max() <= 1 + 2 * (1 - slope.min()) / 255
        factor = np.minimum(slope - 1, 0) if below else np.float32(-1)
        factor = self._editor.add_constant(f"{name}/factor", factor)
        parts = [("Mul", [source, factor], "times"), ("Relu", [], "below")]
        if not below:
            parts.append(("Mul", [self._editor.add_constant(f"{name}/slope", 1 - slope)], "slope"))
        nodes, tensor = [], ""
        for op, inputs, what in parts:
            made = self._tensors(f"{result}_{what}")
            read = inputs if inputs[:1] == [source] else [tensor, *inputs]
            nodes.append(helper.make_node(op, read, [made], name=self._node(f"{name}/{what}")))
            tensor = made
        return [*nodes, helper.make_node("Add", [source, tensor], [result], name=name)]

    def _tensors(self, name: str) -> str:
        return self._editor.tensors.fresh(name)

    def _node(self, name: str) -> str:
        return self._editor.nodes.fresh(name)
