"""A bias of its own for every weighted layer that can have one: what repairs it needs a place to put it."""

from __future__ import annotations

import numpy as np
import onnx

from edgecnn.quantize.graph.edit import Editor, copy_of
from edgecnn.quantize.graph.weighted_layer import is_weighted, view_of


def with_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which each Conv and Gemm with constant weights has a bias that no other node reads."""
    editor = Editor(copy_of(model))
    graph = editor.graph
    for node in graph.nodes:
        if node.op_type not in ("Conv", "Gemm") or not is_weighted(graph, node):
            continue
        if len(node.input) < 3 or not node.input[2]:
            value = np.zeros(view_of(graph, node).outputs, np.float32)
        elif graph.is_constant(node.input[2]) and len(graph.consumers(node.input[2])) > 1:
            value = graph.constant(node.input[2])
        else:
            continue
        del node.input[2:]
        node.input.append(editor.add_constant(f"{node.name}/own_bias", value))
    return editor.model
