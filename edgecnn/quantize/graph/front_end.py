"""The part of a graph that turns raw frames into the network's input; it is never quantized."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from edgecnn.quantize.graph.edit import copy_of, drop_unread, replace_nodes

#: Its nodes are known by this, in the files that edgecnn writes.
PREFIX = "normalize/"


@dataclass(frozen=True)
class FrontEnd:
    """Nodes from a uint8 (N, H, W, C) input to a float32 (N, C, H, W) tensor."""

    #: In the graph's order.
    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]

    @property
    def output(self) -> str:
        """The tensor that the network reads in place of its input."""
        return str(self.nodes[-1].output[0])


def attach(model: onnx.ModelProto, front: FrontEnd) -> onnx.ModelProto:
    """Return a copy of a model with float (N, C, H, W) input that takes uint8 (N, H, W, C) frames."""
    result = copy_of(model)
    graph = result.graph
    (old,) = graph.input
    for node in graph.node:
        node.input[:] = [front.output if name == old.name else name for name in node.input]
    batch, channels, height, width = _shape(old)
    replace_nodes(result, [*front.nodes, *graph.node])
    del graph.input[:]
    graph.input.append(
        helper.make_tensor_value_info(old.name, TensorProto.UINT8, [batch, height, width, channels])
    )
    graph.initializer.extend(front.constants)
    return result


def detach(model: onnx.ModelProto) -> tuple[onnx.ModelProto, FrontEnd | None]:
    """Return a copy of the model as it was before `attach`, and what was attached; None if nothing was."""
    result = copy_of(model)
    graph = result.graph
    first = [node for node in model.graph.node if node.name.startswith(PREFIX)]
    types = {value.type.tensor_type.elem_type for value in graph.input}
    if not first or types != {TensorProto.UINT8}:
        return result, None
    read = {name for node in first for name in node.input}
    front = FrontEnd(first, [tensor for tensor in model.graph.initializer if tensor.name in read])
    (old,) = graph.input
    nodes = [node for node in graph.node if not node.name.startswith(PREFIX)]
    for node in nodes:
        node.input[:] = [old.name if name == front.output else name for name in node.input]
    replace_nodes(result, nodes)
    drop_unread(result)
    batch, height, width, channels = _shape(old)
    value = helper.make_tensor_value_info(old.name, TensorProto.FLOAT, [batch, channels, height, width])
    del graph.input[:]
    graph.input.append(value)
    return result, front


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
