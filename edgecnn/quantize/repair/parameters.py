"""Scale and shift what weighted layers read and write, by changing their weights and biases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edgecnn.quantize.graph.edit import Editor
from edgecnn.quantize.graph.index import Graph, attribute
from edgecnn.quantize.graph.weighted_layer import is_weighted, view_of

Array = npt.NDArray[np.float64]
#: Operators of the layers that are changed here.
LAYERS = ("Conv", "Gemm")


def is_layer(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node is a Conv or Gemm whose weights and bias are constants, one bias per output."""
    if node.op_type not in LAYERS or not is_weighted(graph, node):
        return False
    if graph.is_constant(node.input[0]) or (node.op_type == "Gemm" and attribute(node, "transA", 0)):
        return False
    if len(node.input) < 3 or not node.input[2]:
        return True
    if not graph.is_constant(node.input[2]):
        return False
    bias = graph.constant(node.input[2])
    fits = bias.size in (1, view_of(graph, node).outputs) and np.isfinite(bias).all()
    return bool(fits) and (not bias.ndim or bias.size == bias.shape[-1])


def by_channel(graph: Graph, node: onnx.NodeProto) -> Array:
    """Return a layer's weights as (groups, outputs per group, inputs per group, taps)."""
    return view_of(graph, node).by_channel(graph.constant(node.input[1]).astype(np.float64))


def bias_of(graph: Graph, node: onnx.NodeProto) -> Array:
    """Return what a layer adds to each of its output channels, (outputs,); zeros if it has no bias."""
    bias = np.zeros(view_of(graph, node).outputs)
    if len(node.input) > 2 and node.input[2]:
        bias += graph.constant(node.input[2]).astype(np.float64).reshape(-1)
        if node.op_type == "Gemm":
            bias *= attribute(node, "beta", 1.0)
    return bias


class LayerEditor:
    """Changes the layers of a model in place. A constant that others read too is copied first."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._editor = Editor(model)
        self.graph, self.add_constant = self._editor.graph, self._editor.add_constant

    def scale_outputs(self, node: onnx.NodeProto, factors: Array) -> None:
        """Multiply a layer's output by `factors`, (outputs,)."""
        weight = by_channel(self.graph, node)
        bias = bias_of(self.graph, node) * factors
        self._set_weight(node, weight * factors.reshape(*weight.shape[:2], 1, 1))
        if bias.any():
            self._set_bias(node, bias)

    def unscale_inputs(self, node: onnx.NodeProto, factors: Array) -> None:
        """Make a layer do to an input that comes multiplied by `factors`, (inputs,), what it did before."""
        weight = by_channel(self.graph, node)
        self._set_weight(node, weight / factors.reshape(len(weight), 1, -1, 1))

    def lower_outputs(self, node: onnx.NodeProto, offsets: Array) -> None:
        """Subtract `offsets`, (outputs,), from a layer's output."""
        self._set_bias(node, bias_of(self.graph, node) - offsets)

    def take_in(self, node: onnx.NodeProto, offsets: Array) -> None:
        """Make a layer do to an input that comes lowered by `offsets`, (inputs,), what it did before.

        Exact for layers that do not pad.
        """
        weight = by_channel(self.graph, node)
        gain = attribute(node, "alpha", 1.0) if node.op_type == "Gemm" else 1.0
        added = gain * np.einsum("goit,gi->go", weight, offsets.reshape(len(weight), -1)).reshape(-1)
        self._set_bias(node, bias_of(self.graph, node) + added)

    def _set_weight(self, node: onnx.NodeProto, weight: Array) -> None:
        self._set(node, 1, view_of(self.graph, node).from_matrix(weight.reshape(*weight.shape[:2], -1)))

    def _set_bias(self, node: onnx.NodeProto, bias: Array) -> None:
        self._set(node, 2, bias)
        for item in [item for item in node.attribute if item.name == "beta"]:
            # It is in the new values.
            node.attribute.remove(item)
            node.attribute.append(helper.make_attribute("beta", 1.0))

    def _set(self, node: onnx.NodeProto, position: int, value: Array) -> None:
        dtype = self.graph.constant(node.input[1]).dtype
        name = f"{node.output[0]}_{'weight' if position == 1 else 'bias'}"
        self._editor.set_constant(node, position, name, np.ascontiguousarray(value.astype(dtype)))
