"""One view of the operators that multiply by weights: which axis of a weight means what."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.quantize.graph.index import Graph, attribute, is_standard, sizes

#: Operators that multiply their first input by a weight, their second.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class WeightedLayer:
    """A node that multiplies by weights of a shape.

    A Conv's are (outputs, inputs / groups, height, width), a ConvTranspose's (inputs, outputs / groups,
    height, width), a Gemm's or MatMul's (inputs, outputs), and a Gemm's with transB (outputs, inputs).
    """

    node: onnx.NodeProto
    shape: tuple[int, ...]

    @property
    def groups(self) -> int:
        """Number of groups of channels that do not meet; 1 for matrices."""
        return attribute(self.node, "group", 1) if self._convolves else 1

    @property
    def output_axis(self) -> int:
        """Axis of the weight that counts output channels; of a grouped ConvTranspose, those of one group."""
        if self.node.op_type == "MatMul":
            return len(self.shape) - 1
        return 0 if self.node.op_type == "Conv" or self._transposed else 1

    @property
    def input_axis(self) -> int:
        """Axis of the weight that counts input channels; of a grouped Conv, those of one group."""
        if self.node.op_type == "MatMul":
            return max(0, len(self.shape) - 2)
        return 1 - self.output_axis

    @property
    def outputs(self) -> int:
        """Number of output channels of all groups."""
        return self.shape[self.output_axis] * (self.groups if self.node.op_type == "ConvTranspose" else 1)

    @property
    def inputs(self) -> int:
        """Number of input channels of all groups."""
        return self.shape[self.input_axis] * (self.groups if self.node.op_type == "Conv" else 1)

    def by_output(self, values: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Return a value per output channel, (outputs,), so that it broadcasts to the weight."""
        return along(values, self.output_axis, len(self.shape))

    def by_channel(self, weight: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Return a weight as (groups, outputs per group, inputs per group, taps)."""
        groups, outputs, inputs = self.groups, self.outputs // self.groups, self.inputs // self.groups
        if self.node.op_type == "Conv":
            return weight.reshape(groups, outputs, inputs, -1)
        if self.node.op_type == "ConvTranspose":
            return weight.reshape(groups, inputs, outputs, -1).swapaxes(1, 2)
        return (weight if self._transposed else weight.T)[None, :, :, None]

    def as_matrix(self, weight: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Return a weight as (groups, outputs per group, inputs per output): inputs of the group by taps."""
        by_channel = self.by_channel(weight)
        return by_channel.reshape(*by_channel.shape[:2], -1)

    def from_matrix(self, matrix: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Undo `as_matrix`."""
        if self.node.op_type == "Conv":
            return matrix.reshape(self.shape)
        if self.node.op_type == "ConvTranspose":
            turned = matrix.reshape(*matrix.shape[:2], self.inputs // self.groups, -1).swapaxes(1, 2)
            return turned.reshape(self.shape)
        return np.ascontiguousarray(matrix[0] if self._transposed else matrix[0].T)

    @property
    def counted(self) -> str:
        """Tensor each of whose values costs `macs_per_value`: a ConvTranspose's input, the others' output."""
        return str(self.node.input[0] if self.node.op_type == "ConvTranspose" else self.node.output[0])

    @property
    def macs_per_value(self) -> int:
        """Multiply-accumulates for each value of the tensor `counted`."""
        return math.prod(self.shape[1:]) if self._convolves else self.inputs

    @property
    def _convolves(self) -> bool:
        return self.node.op_type in ("Conv", "ConvTranspose")

    @property
    def _transposed(self) -> bool:
        return self.node.op_type == "Gemm" and bool(attribute(self.node, "transB", 0))


def is_weighted(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node is one of these operators, of ONNX itself, with a constant weight."""
    return node.op_type in WEIGHTED and is_standard(node) and graph.is_constant(node.input[1])


def view_of(graph: Graph, node: onnx.NodeProto) -> WeightedLayer:
    """Return the view of a node for which `is_weighted` holds."""
    return WeightedLayer(node, graph.shape(node.input[1]))


def along(values: npt.NDArray[Number], axis: int, rank: int) -> npt.NDArray[Number]:
    """Return a vector so that it broadcasts along one axis of an array of some rank."""
    return values.reshape([-1 if index == axis else 1 for index in range(rank)])


def macs_by_node(model: onnx.ModelProto) -> dict[str, int]:
    """Return the multiply-accumulates of each weighted node for one image, by node name.

    As `zoo.cost` counts them. A node whose output's shape cannot be inferred is left out.
    """
    values, graph = sizes(model), Graph(model)
    layers = [view_of(graph, node) for node in graph.nodes if is_weighted(graph, node)]
    return {
        layer.node.name: values[layer.counted] * layer.macs_per_value
        for layer in layers
        if layer.counted in values
    }
