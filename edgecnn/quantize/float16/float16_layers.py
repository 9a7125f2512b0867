"""Layers that mixed precision leaves out of int8 compute in float16 on a GPU: a cast before, a cast after."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgecnn.quantize.graph.edit import Editor, copy_of, drop_unread, replace_nodes

_LARGEST = float(np.finfo(np.float16).max)
#: How the names of the two casts of a layer end.
_BEFORE, _AFTER = "/to_float16", "/to_float32"


def with_float16(model: onnx.ModelProto, layers: Iterable[str]) -> onnx.ModelProto:
    """Return a copy in which the weighted nodes called `layers` compute in float16.

    A node with a constant beyond float16's range stays float32.
    """
    chosen = set(layers)
    result = copy_of(model)
    editor = Editor(result)
    graph, tensors, names = editor.graph, editor.tensors, editor.nodes
    nodes: list[onnx.NodeProto] = []

    def cast(source: str, output: str, name: str, to: int) -> None:
        nodes.append(helper.make_node("Cast", [source], [output], name=names.fresh(name), to=to))

    for node in graph.nodes:
        constants = [name for name in node.input[1:] if name]
        if node.name not in chosen or any(
            not graph.is_constant(name) or np.abs(graph.constant(name)).max(initial=0) > _LARGEST
            for name in constants
        ):
            nodes.append(node)
            continue
        half, output = tensors.fresh(f"{node.name}/input_half"), node.output[0]
        cast(node.input[0], half, f"{node.name}{_BEFORE}", TensorProto.FLOAT16)
        for index, name in enumerate(node.input[1:], start=1):
            if name:
                value = graph.constant(name).astype(np.float16)
                node.input[index] = editor.add_constant(f"{node.name}/constant_{index}_half", value)
        node.input[0] = half
        node.output[0] = tensors.fresh(f"{node.name}/output_half")
        nodes.append(node)
        cast(node.output[0], output, f"{node.name}{_AFTER}", TensorProto.FLOAT)
    replace_nodes(result, nodes)
    drop_unread(result)
    return result


def without_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Undo `with_float16`, but for what its constants lost."""
    result = copy_of(model)
    editor = Editor(result)
    graph = editor.graph
    sources, sinks = {}, {}
    nodes = []
    for node in graph.nodes:
        if node.op_type == "Cast" and node.name.rstrip("_").endswith(_BEFORE):
            sources[node.output[0]] = node.input[0]
        elif node.op_type == "Cast" and node.name.rstrip("_").endswith(_AFTER):
            sinks[node.input[0]] = node.output[0]
        else:
            nodes.append(node)
    for node in nodes:
        if node.input and node.input[0] in sources:
            node.input[0] = sources[node.input[0]]
            node.output[0] = sinks[node.output[0]]
            for index, name in enumerate(node.input[1:], start=1):
                if name:
                    plain = name.rstrip("_").removesuffix("_half")
                    node.input[index] = editor.add_constant(plain, graph.constant(name).astype(np.float32))
    replace_nodes(result, nodes)
    drop_unread(result)
    return result
