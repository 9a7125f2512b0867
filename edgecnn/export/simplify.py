"""Fold and clean a graph, and write it with the operators that every parser knows best."""

from __future__ import annotations

import onnx
import onnxsim

from edgecnn.errors import EdgecnnError
from edgecnn.quantize.graph import Graph, attribute


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model simplified by onnxsim, with global pooling as one operator."""
    try:
        simplified, checked = onnxsim.simplify(_with_global_pooling(model))
    except Exception as error:  # onnxsim raises bare RuntimeErrors and the checker's own kind
        raise EdgecnnError(f"onnxsim cannot simplify this graph: {error}") from error
    if not checked:
        raise EdgecnnError("onnxsim changed what the graph computes", hint="report the network to onnxsim")
    result: onnx.ModelProto = simplified
    return result


def _with_global_pooling(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write a mean over height and width as GlobalAveragePool.

    PyTorch exports adaptive pooling as ReduceMean, for which ONNX Runtime has no int8 kernel.
    """
    graph = Graph(model)
    for node in model.graph.node:
        if node.op_type != "ReduceMean" or not attribute(node, "keepdims", 1):
            continue
        axes = [axis % 4 for axis in graph.constant(node.input[1])] if len(node.input) > 1 else []
        if sorted(axes) == [2, 3]:
            node.op_type = "GlobalAveragePool"
            del node.attribute[:]
            del node.input[1:]
    return model
