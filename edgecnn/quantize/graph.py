"""An ONNX graph with an index: who makes a tensor, who reads it, which tensors are constants."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper


class Graph:
    """A read-only index over `model.graph`, made anew after each change of the graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._initializers[node.output[0]] = node.attribute[0].t
        self._producers = {name: node for node in self.nodes for name in node.output if name}
        self._consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self._consumers[name].append(node)

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node that makes a tensor; None for inputs and constants."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a tensor, in the graph's order."""
        return self._consumers.get(tensor, [])

    def is_constant(self, tensor: str) -> bool:
        """Return whether a tensor is an initializer or what a Constant node makes."""
        return tensor in self._initializers

    def constant(self, tensor: str) -> npt.NDArray[np.float32]:
        """Return the value of a constant tensor."""
        return numpy_helper.to_array(self._initializers[tensor])

    def set_constant(self, tensor: str, value: npt.NDArray[np.float32]) -> None:
        """Give an initializer another value, in the model itself."""
        self._initializers[tensor].CopyFrom(numpy_helper.from_array(value, tensor))

    @property
    def types(self) -> dict[str, int]:
        """Element types of the tensors whose types the model states."""
        values = (*self.model.graph.input, *self.model.graph.value_info, *self.model.graph.output)
        return {value.name: value.type.tensor_type.elem_type for value in values}

    def only_consumer(self, tensor: str) -> onnx.NodeProto | None:
        """Return the single reader of a tensor that is no output of the graph; None if there are more."""
        readers = self.consumers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return an integer attribute of a node."""
    for item in node.attribute:
        if item.name == name:
            return int(item.i)
    return default


def attribute_list(node: onnx.NodeProto, name: str) -> list[int]:
    """Return a list of integers that is an attribute of a node; empty if it has none."""
    return next((list(item.ints) for item in node.attribute if item.name == name), [])


def attribute_text(node: onnx.NodeProto, name: str, default: str) -> str:
    """Return a text attribute of a node."""
    return next((item.s.decode() for item in node.attribute if item.name == name), default)


def inferred_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shapes of the tensors whose rank can be inferred; 0 stands for an unknown size."""
    inferred = onnx.shape_inference.infer_shapes(model)
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    }


_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def macs_by_node(model: onnx.ModelProto) -> dict[str, int]:
    """Return the multiply-accumulates of each weighted node for one image, by node name.

    As `zoo.cost` counts them. Needs a model whose shapes can be inferred, with the batch first.
    """
    shapes = inferred_shapes(model)
    graph = Graph(model)
    macs = {}
    for node in graph.nodes:
        if node.op_type not in _WEIGHTED or not graph.is_constant(node.input[1]):
            continue
        weight = graph.constant(node.input[1]).shape
        if node.op_type == "ConvTranspose":  # each input value meets one filter per output channel
            macs[node.name] = int(np.prod(shapes[node.input[0]][1:])) * int(np.prod(weight[1:]))
            continue
        outputs = int(np.prod(shapes[node.output[0]][1:]))
        if node.op_type == "Conv":
            macs[node.name] = outputs * int(np.prod(weight[1:]))
        else:
            inputs = weight[1] if attribute(node, "transB", 0) else weight[0]
            macs[node.name] = outputs * int(inputs)
    return macs
