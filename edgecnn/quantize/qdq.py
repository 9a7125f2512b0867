"""Write a placement into the graph: QuantizeLinear and DequantizeLinear pairs, int8 weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgecnn.quantize.graph import Graph
from edgecnn.quantize.patterns import output_axis
from edgecnn.quantize.placement import Placement
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.weights import QuantizedWeight, quantize_bias, quantize_weight
from edgecnn.targets import Scheme


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
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    placed = {name: ranges[name] for name in placement.tensors}
    writer = _Writer(Graph(result), scheme, placed, weights or {})
    computed = {node.name for node in placement.compute}
    nodes: list[onnx.NodeProto] = []
    for name in (name for name in writer.graph.inputs if name in writer.ranges):
        nodes += writer.pair(name)
    for node in writer.graph.nodes:
        if node.name in computed:
            nodes += writer.weights(node)
        node.input[:] = [writer.dequantized.get(name, name) for name in node.input]
        nodes.append(node)
        for name in node.output:
            if name in writer.ranges:
                nodes += writer.pair(name)
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    writer.finish(result)
    return result


class _Writer:
    """Makes nodes and constants; remembers which tensor a reader should read instead."""

    def __init__(
        self,
        graph: Graph,
        scheme: Scheme,
        ranges: Mapping[str, Range],
        weights: Mapping[str, QuantizedWeight],
    ) -> None:
        self.graph = graph
        self.scheme = scheme
        self.ranges = ranges
        self.rounded = weights
        self.dequantized: dict[str, str] = {}
        self._constants: dict[str, onnx.TensorProto] = {}
        self._scales = {name: scale_and_zero(*ends, scheme) for name, ends in ranges.items()}

    def pair(self, tensor: str) -> list[onnx.NodeProto]:
        """Return QuantizeLinear and DequantizeLinear for a tensor, and send its readers to the latter."""
        scale, zero = self._scales[tensor]
        names = [self._constant(f"{tensor}_scale", np.array(scale)), self._constant(f"{tensor}_zero", zero)]
        self.dequantized[tensor] = f"{tensor}_dequantized"
        return [
            helper.make_node(
                "QuantizeLinear", [tensor, *names], [f"{tensor}_quantized"], name=f"{tensor}/quantize"
            ),
            helper.make_node(
                "DequantizeLinear",
                [f"{tensor}_quantized", *names],
                [self.dequantized[tensor]],
                name=f"{tensor}/dequantize",
            ),
        ]

    def weights(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Turn a node's weight, and its bias if the scheme says so, into integers and DequantizeLinears."""
        weight = self.graph.constant(node.input[1])
        axis = output_axis(node) % weight.ndim
        has_bias = len(node.input) > 2 and bool(node.input[2])
        bias = self.graph.constant(node.input[2]) if has_bias and self.scheme.quantize_bias else None
        input_scale = float(self._scales[node.input[0]][0])
        quantized = self.rounded.get(node.name) or quantize_weight(weight, axis, bias, input_scale)
        nodes = [
            self._stored(
                node, 1, quantized.values, quantized.scale, np.zeros(quantized.scale.shape, np.int8), axis
            )
        ]
        if bias is not None:
            values, scale = quantize_bias(bias, input_scale, quantized.scale)
            nodes.append(self._stored(node, 2, values, scale, np.zeros(scale.shape, np.int32), 0))
        return nodes

    def _stored(
        self,
        node: onnx.NodeProto,
        position: int,
        values: npt.NDArray[np.integer],
        scale: npt.NDArray[np.float32],
        zero: npt.NDArray[np.integer],
        axis: int,
    ) -> onnx.NodeProto:
        # Named by the reading node: two nodes may read one weight and scale its bias differently.
        tensor = f"{node.name}/{'weight' if position == 1 else 'bias'}"
        inputs = [
            self._constant(f"{tensor}_quantized", values),
            self._constant(f"{tensor}_scale", scale),
            self._constant(f"{tensor}_zero", zero),
        ]
        node.input[position] = f"{tensor}_dequantized"
        return helper.make_node(
            "DequantizeLinear", inputs, [node.input[position]], name=f"{tensor}/dequantize", axis=axis
        )

    def _constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self._constants[name] = numpy_helper.from_array(
            np.ascontiguousarray(value).reshape(value.shape), name
        )
        return name

    def finish(self, model: onnx.ModelProto) -> None:
        """Store the new constants and drop those that nothing reads any more, and stale shapes."""
        model.graph.initializer.extend(self._constants.values())
        read = {name for node in model.graph.node for name in node.input}
        kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        del model.graph.value_info[:]
