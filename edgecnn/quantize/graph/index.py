"""An ONNX graph with an index: who makes a tensor, who reads it, which tensors are constants."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgecnn.artifact import TensorSpec
from edgecnn.runtime.engine_inputs import layout_of
from edgecnn.runtime.samples import image_spec

T = TypeVar("T")


class Graph:
    """An index over `model.graph`, made anew after each change of its nodes."""

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

    def set_constant(self, tensor: str, value: npt.NDArray[Any]) -> None:
        """Give an initializer another value, in the model itself."""
        self._initializers[tensor].CopyFrom(numpy_helper.from_array(value, tensor))

    def add_constant(self, tensor: onnx.TensorProto) -> None:
        """Add an initializer to the model itself."""
        self.model.graph.initializer.append(tensor)
        self._initializers[tensor.name] = self.model.graph.initializer[-1]

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return the shape of a constant tensor."""
        return tuple(self._initializers[tensor].dims)

    @property
    def types(self) -> dict[str, int]:
        """Element types of the tensors whose types the model states."""
        values = (*self.model.graph.input, *self.model.graph.value_info, *self.model.graph.output)
        return {value.name: value.type.tensor_type.elem_type for value in values}

    def only_consumer(self, tensor: str) -> onnx.NodeProto | None:
        """Return the single reader of a tensor that is no output of the graph; None if there are more."""
        readers = self.consumers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None


def is_standard(node: onnx.NodeProto) -> bool:
    """Return whether a node's operator is one of ONNX itself, and no other of the same name."""
    return node.domain in ("", "ai.onnx")


def attribute(node: onnx.NodeProto, name: str, default: T) -> T:
    """Return an attribute of a node, of the type of `default`: an int, float, str or a list of numbers."""
    for item in node.attribute:
        if item.name == name:
            return cast(T, _VALUES[type(default)](item))
    return default


_VALUES: dict[type, Callable[[onnx.AttributeProto], Any]] = {
    int: lambda item: int(item.i),
    float: lambda item: float(item.i if item.type == onnx.AttributeProto.INT else item.f),
    str: lambda item: item.s.decode(errors="replace"),
    list: lambda item: [*item.ints, *item.floats],
}


#: Values of a constant that can stand for a shape; what has more is a weight.
_MOST_SIZES = 64


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which weights are further inputs: inferring shapes copies all that a model holds."""
    probe = onnx.ModelProto(ir_version=model.ir_version)
    probe.opset_import.extend(model.opset_import)
    probe.functions.extend(model.functions)
    graph, given = probe.graph, model.graph
    graph.name = given.name
    for copied in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(graph, copied).extend(getattr(given, copied))
    inputs = {value.name for value in given.input}
    for tensor in given.initializer:
        if math.prod(tensor.dims) <= _MOST_SIZES:
            graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return probe


def inferred_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shapes of the tensors whose rank can be inferred; 0 stands for an unknown size."""
    inferred = onnx.shape_inference.infer_shapes(without_weights(model))
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*inferred.graph.value_info, *_inputs(inferred, model), *inferred.graph.output]
    }


def input_specs(model: onnx.ModelProto) -> list[TensorSpec]:
    """Return what a model takes, in the graph's order."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [spec_of(value) for value in model.graph.input if value.name not in constants]


def spec_of(value: onnx.ValueInfoProto) -> TensorSpec:
    """Return what is declared of an input or output."""
    dims = value.type.tensor_type.shape.dim
    shape = tuple(
        dim.dim_value or dim.dim_param or (f"size{axis}" if axis else "batch")
        for axis, dim in enumerate(dims)
    )
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return TensorSpec(value.name, shape, str(dtype), layout_of(shape))


def _inputs(inferred: onnx.ModelProto, model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are a model's own: those that stand for its weights come after them."""
    return list(inferred.graph.input[: len(model.graph.input)])


def batch_of(model: onnx.ModelProto) -> int | None:
    """Return the fixed batch of a model; None if it takes any number of images."""
    shape = image_spec(input_specs(model)).shape
    return shape[0] if shape and isinstance(shape[0], int) else None


def sizes(model: onnx.ModelProto) -> dict[str, int]:
    """Return how many values of one image each tensor holds, whichever of its axes counts the images.

    Tensors whose shapes cannot be inferred are left out. A fixed batch is divided by.
    """
    probe = without_weights(model)
    graph, batch = probe.graph, batch_of(model)
    dims = [value.type.tensor_type.shape.dim for value in graph.input]
    free = {dim[0].dim_param for dim in dims if dim and dim[0].dim_param}
    for value in (*graph.input, *graph.value_info, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in free:
                dim.dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(probe, data_prop=True)
    found = {}
    for value in (*_inputs(inferred, model), *inferred.graph.value_info, *inferred.graph.output):
        shape = value.type.tensor_type.shape
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in shape.dim):
            found[value.name] = math.prod(dim.dim_value for dim in shape.dim) // (batch or 1)
    return found
