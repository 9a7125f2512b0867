"""Write a placement into the graph: QuantizeLinear and DequantizeLinear pairs, int8 weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edgecnn.quantize.graph.edit import Editor, copy_of, drop_unread, replace_nodes
from edgecnn.quantize.graph.index import is_standard
from edgecnn.quantize.graph.weighted_layer import view_of
from edgecnn.quantize.placement.integer_weights import (
    QuantizedWeight,
    make_room_for_bias,
    quantize_bias,
    quantize_weight,
)
from edgecnn.quantize.placement.place import Placement
from edgecnn.quantize.ranges.range_methods import Range
from edgecnn.schemes import CLIPS, Scheme

#: Whose weights ONNX Runtime's WeightBiasQuantization rounds.
_ROUNDED = ("Conv", "ConvTranspose", "Gemm")


def scale_and_zero(low: float, high: float, scheme: Scheme) -> tuple[np.float32, npt.NDArray[np.integer]]:
    """Return scale and zero point of a range: int8 around 0, or uint8 with the range's own zero."""
    if scheme.symmetric:
        return np.float32(max(-low, high) / 127), np.array(0, np.int8)
    scale = np.float32((high - low) / 255)
    return scale, np.array(np.clip(np.rint(-low / scale), 0, 255), np.uint8)


def insert(
    model: onnx.ModelProto,
    placement: Placement,
    ranges: Mapping[str, Range],
    scheme: Scheme,
    weights: Mapping[str, QuantizedWeight] | None = None,
) -> onnx.ModelProto:
    """Return a copy of a float model with Q/DQ pairs by `placement` and the rules of `scheme`.

    `ranges` holds at least those of the placement's tensors; `weights` are the integer weights of nodes for
    which rounding to nearest is not wanted.

    A weighted layer that `placement` leaves float, between a DequantizeLinear and a QuantizeLinear, would
    not stay float in ONNX Runtime: its WeightBiasQuantization rounds such weights to int8, with one scale
    for all of them, and does so for a Conv, ConvTranspose or Gemm with constant weights whose input has a
    scalar scale, if only Relu and Clip stand before the QuantizeLinear. Such a layer reads something else:
    by `scheme.float_reads_codes` the same codes with that scale repeated for each channel, which ONNX
    Runtime lets be, or the tensor before its QuantizeLinear.
    """
    result = copy_of(model)
    placed = {name: ranges[name] for name in placement.tensors}
    writer = _Writer(result, scheme, placed, weights or {})
    computed = {node.name for node in placement.compute}
    nodes: list[onnx.NodeProto] = []
    for name in (name for name in writer.graph.inputs if name in writer.ranges):
        nodes += writer.pair(name)
    for node in writer.graph.nodes:
        if node.name in computed:
            nodes += writer.weights(node)
        elif node.name in placement.constants:
            nodes.append(writer.constant(node, placement.constants[node.name]))
        elif node.name in placement.aside:
            nodes += writer.aside(node)
        elif writer.would_be_rounded(node):
            nodes += writer.shield(node)
        node.input[:] = [writer.read(node, name) for name in node.input]
        nodes.append(node)
        for name in node.output:
            if name in writer.ranges:
                nodes += writer.pair(name)
    replace_nodes(result, nodes)
    drop_unread(result)
    _forget_shapes(result)
    return result


class _Writer:
    """Makes nodes and constants; remembers which tensor a reader should read instead."""

    def __init__(
        self,
        model: onnx.ModelProto,
        scheme: Scheme,
        ranges: Mapping[str, Range],
        weights: Mapping[str, QuantizedWeight],
    ) -> None:
        self._editor = Editor(model)
        self.graph = self._editor.graph
        self.scheme = scheme
        self.ranges = ranges
        self.rounded = weights
        self.dequantized: dict[str, str] = {}
        self._codes: dict[str, str] = {}
        self._tensors, self._nodes = self._editor.tensors, self._editor.nodes
        #: Node that must stay float: what it reads in place of its input.
        self._shielded: dict[str, str] = {}
        self._scales = {name: scale_and_zero(*ends, scheme) for name, ends in ranges.items()}

    def pair(self, tensor: str) -> list[onnx.NodeProto]:
        """Return QuantizeLinear and DequantizeLinear for a tensor, and send its readers to the latter."""
        scale, zero = self._scales[tensor]
        names = [self._constant(f"{tensor}_scale", np.array(scale)), self._constant(f"{tensor}_zero", zero)]
        self._codes[tensor] = self._tensors.fresh(f"{tensor}_quantized")
        self.dequantized[tensor] = self._tensors.fresh(f"{tensor}_dequantized")
        return [
            self._node("QuantizeLinear", [tensor, *names], self._codes[tensor], f"{tensor}/quantize"),
            self._node(
                "DequantizeLinear",
                [self._codes[tensor], *names],
                self.dequantized[tensor],
                f"{tensor}/dequantize",
            ),
        ]

    def _node(
        self, op: str, inputs: list[str], output: str, name: str, axis: int | None = None
    ) -> onnx.NodeProto:
        made = helper.make_node(op, inputs, [output], name=self._nodes.fresh(name))
        if axis is not None:
            made.attribute.append(helper.make_attribute("axis", axis))
        return made

    def read(self, node: onnx.NodeProto, tensor: str) -> str:
        """Return what a node reads in place of one of the float model's tensors."""
        if tensor == node.input[0] and node.name in self._shielded:
            return self._shielded[node.name]
        return self.dequantized.get(tensor, tensor)

    def would_be_rounded(self, node: onnx.NodeProto) -> bool:
        """Return whether ONNX Runtime would quantize the weights of a node that is to stay float."""
        if node.op_type not in _ROUNDED or node.input[0] not in self.ranges:
            return False
        if not self.graph.is_constant(node.input[1]):
            return False
        tensor = node.output[0]
        while tensor not in self.ranges:
            readers = self.graph.consumers(tensor)
            if len(readers) != 1 or readers[0].op_type not in CLIPS:
                return False
            tensor = readers[0].output[0]
        return True

    def shield(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Let a node that must stay float read something that ONNX Runtime's optimizer does not look for."""
        source = node.input[0]
        if not self.scheme.float_reads_codes:
            self._shielded[node.name] = source
            return []
        count = view_of(self.graph, node).inputs
        scale, zero = self._scales[source]
        self._shielded[node.name] = self._tensors.fresh(f"{node.name}/input_dequantized")
        inputs = [
            self._codes[source],
            self._constant(f"{node.name}/input_scale", np.full(count, scale)),
            self._constant(f"{node.name}/input_zero", np.full(count, zero)),
        ]
        shielded, name = self._shielded[node.name], f"{node.name}/input/dequantize"
        return [self._node("DequantizeLinear", inputs, shielded, name, axis=1)]

    def aside(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Let a node that only moves values do so in float: by its integer kernel both scales are the same.

        So what it reads has a scale of the next larger number.
        """
        source = node.input[0]
        if source not in self._codes:
            return []
        scale, zero = self._scales[source]
        read = self._shielded[node.name] = self._tensors.fresh(f"{node.name}/input_dequantized")
        constants = [
            self._constant(f"{node.name}/input_scale", np.nextafter(scale, np.float32(np.inf))),
            self._constant(f"{node.name}/input_zero", zero),
        ]
        return [
            self._node(
                "DequantizeLinear", [self._codes[source], *constants], read, f"{node.name}/input/dequantize"
            )
        ]

    def weights(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Turn a node's weight, and its bias if the scheme says so, into integers and DequantizeLinears."""
        weight, layer = self.graph.constant(node.input[1]), view_of(self.graph, node)
        axis = layer.output_axis
        input_scale = float(self._scales[node.input[0]][0])
        bias = self._bias(node, layer.outputs)
        quantized = self.rounded.get(node.name) or quantize_weight(
            weight, axis, bias, input_scale, self.scheme.weight_limit
        )
        if bias is not None:
            # Whatever the scheme: ONNX Runtime makes an int32 of a float bias, too, and does not look
            # whether it fits.
            quantized = make_room_for_bias(quantized, bias, input_scale)
        zero = np.zeros(quantized.scale.shape, np.int8)
        nodes = [self._stored(node, 1, quantized.values, quantized.scale, zero, axis, "weight")]
        if bias is not None and self.scheme.quantize_bias:
            values, scale = quantize_bias(bias, input_scale, quantized.scale)
            nodes.append(self._stored(node, 2, values, scale, np.zeros(scale.shape, np.int32), 0, "bias"))
        return nodes

    def constant(self, node: onnx.NodeProto, name: str) -> onnx.NodeProto:
        """Turn the constant of a sum or a product into codes of the scheme's activations, with one scale."""
        value = self.graph.constant(name)
        low, high = min(0.0, float(value.min())), max(0.0, float(value.max()))
        if value.size == 1:  # a code of one step is exact
            scale, zero = np.float32(high - low), np.array(int(low < 0), self.scheme.activation)
        else:
            scale, zero = scale_and_zero(low, high, self.scheme)
        limits = np.iinfo(zero.dtype)
        codes = np.clip(np.rint(value / scale) + zero, limits.min, limits.max).astype(zero.dtype)
        position = list(node.input).index(name)
        return self._stored(node, position, codes, np.array(scale), zero, None, "constant")

    def _bias(self, node: onnx.NodeProto, channels: int) -> npt.NDArray[np.float32] | None:
        """Return a constant bias of one value per channel; None if the node has no such bias."""
        if len(node.input) < 3 or not self.graph.is_constant(node.input[2]):
            return None
        bias = self.graph.constant(node.input[2])
        return bias if bias.shape == (channels,) else None

    def _stored(
        self,
        node: onnx.NodeProto,
        position: int,
        values: npt.NDArray[np.integer],
        scale: npt.NDArray[np.float32],
        zero: npt.NDArray[np.integer],
        axis: int | None,
        what: str,
    ) -> onnx.NodeProto:
        # Named by the reading node: two nodes may read one weight and scale its bias differently.
        tensor = f"{node.name}/{what}"
        inputs = [
            self._constant(f"{tensor}_quantized", values),
            self._constant(f"{tensor}_scale", scale),
            self._constant(f"{tensor}_zero", zero),
        ]
        node.input[position] = self._tensors.fresh(f"{tensor}_dequantized")
        return self._node("DequantizeLinear", inputs, node.input[position], f"{tensor}/dequantize", axis=axis)

    def _constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        return self._editor.add_constant(name, np.ascontiguousarray(value).reshape(value.shape))


def _forget_shapes(model: onnx.ModelProto) -> None:
    """Drop what the graph declares of its tensors' shapes, which can be inferred and may be out of date.

    What operators from elsewhere make cannot be inferred.
    """
    foreign = {name for node in model.graph.node if not is_standard(node) for name in node.output}
    declared = [value for value in model.graph.value_info if value.name in foreign]
    del model.graph.value_info[:]
    model.graph.value_info.extend(declared)
