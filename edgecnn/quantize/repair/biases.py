"""A bias of its own for every weighted layer that can have one: what repairs it needs a place to put it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from edgecnn.quantize.graph.free_names import Names
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.patterns import output_axis


def with_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which each Conv and Gemm with constant weights has a bias that no other node reads."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph, names = Graph(result), Names.of_tensors(result)
    for node in graph.nodes:
        if node.op_type not in ("Conv", "Gemm") or not graph.is_constant(node.input[1]):
            continue
        channels = graph.constant(node.input[1]).shape[output_axis(node)]
        if len(node.input) < 3 or not node.input[2]:
            value = np.zeros(channels, np.float32)
        elif graph.is_constant(node.input[2]) and len(graph.consumers(node.input[2])) > 1:
            value = graph.constant(node.input[2])
        else:
            continue
        del node.input[2:]
        node.input.append(names.fresh(f"{node.name}/own_bias"))
        result.graph.initializer.append(numpy_helper.from_array(value, node.input[2]))
    return result
