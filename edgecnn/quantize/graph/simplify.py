"""Fold and clean a graph, and write it with the operators that every parser knows best."""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper

from edgecnn.errors import EdgecnnError
from edgecnn.optional_packages import require
from edgecnn.quantize.graph.activations import name_activations, name_clips
from edgecnn.quantize.graph.edit import copy_of, drop_unread, replace_nodes
from edgecnn.quantize.graph.fold_affine import fold_affine, join_gemms, plain_gemms
from edgecnn.quantize.graph.free_names import Names
from edgecnn.quantize.graph.index import Graph, attribute
from edgecnn.quantize.graph.not_finite import close_channels
from edgecnn.quantize.graph.silence import silenced


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model simplified: constants computed, no Dropout, no Identity, no node that nothing reads.

    Batch normalizations and constant factors are folded into the layer before them (`fold.py`), a mean
    over height and width is one GlobalAveragePool, a Sum is made of Adds, an activation that is spelled out
    is one operator, a matrix product and its bias are one Gemm without factors, and every node has a name
    of its own. Raises EdgecnnError if onnxsim fails.
    """
    # Seconds: it imports PyTorch where that is installed, and ONNX Runtime, which is told before.
    onnxsim = require("onnxsim", "simplifying a graph")
    result = copy_of(model)
    _without_dropout(result)
    name_clips(result)
    name_activations(result)  # before a constant of theirs is folded into the layer before
    try:
        with silenced():
            simplified, checked = onnxsim.simplify(result)
    except Exception as error:  # onnxsim raises bare RuntimeErrors and the checker's own kind
        raise EdgecnnError(f"onnxsim cannot simplify this graph: {str(error).strip()}") from error
    if not checked:
        raise EdgecnnError("onnxsim changed what the graph computes", hint="report the network to onnxsim")
    result = simplified
    _take_out_constants(result)
    _rewrite_nodes(result)
    name_clips(result)
    name_activations(result)
    fold_affine(result)
    join_gemms(result)
    plain_gemms(result)
    close_channels(result)
    _name(result)
    return result


def _without_dropout(model: onnx.ModelProto) -> None:
    """Make each Dropout of inference an Identity, which onnxsim removes."""
    graph = Graph(model)
    for node in model.graph.node:
        if node.op_type != "Dropout" or (len(node.input) > 2 and node.input[2]):
            continue
        if any(graph.consumers(mask) or mask in graph.outputs for mask in node.output[1:]):
            continue
        node.op_type = "Identity"
        del node.input[1:], node.output[1:], node.attribute[:]


def _take_out_constants(model: onnx.ModelProto) -> None:
    """Make the tensors of Constant nodes initializers."""
    kept = []
    for node in model.graph.node:
        value = next((item.t for item in node.attribute if item.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            model.graph.initializer.append(
                numpy_helper.from_array(numpy_helper.to_array(value), node.output[0])
            )
        else:
            kept.append(node)
    replace_nodes(model, kept)


def _rewrite_nodes(model: onnx.ModelProto) -> None:
    """Write means over height and width as GlobalAveragePool and sums as Add.

    PyTorch exports adaptive pooling as ReduceMean, for which ONNX Runtime has no int8 kernel; of Sum,
    which Caffe2 wrote at each shortcut, neither ONNX Runtime nor TensorRT has one.
    """
    graph = Graph(model)
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*model.graph.input, *onnx.shape_inference.infer_shapes(model).graph.value_info)
    }
    names = Names.of_tensors(model)
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Sum" and len(node.input) > 1:
            nodes += _adds(node, names)
        elif (
            node.op_type == "ReduceMean"
            and ranks.get(node.input[0]) == 4
            and _axes(graph, node) in ([2, 3], [-2, -1], [-1, 2], [-2, 3])
        ):
            nodes += _pooling(node, names)
        else:
            nodes.append(node)
    replace_nodes(model, nodes)


def _axes(graph: Graph, node: onnx.NodeProto) -> list[int]:
    """Return the axes of a mean in ascending order; none if they are computed."""
    if len(node.input) < 2 or not graph.is_constant(node.input[1]):
        return []
    return sorted(int(axis) for axis in graph.constant(node.input[1]).reshape(-1))


def _pooling(node: onnx.NodeProto, names: Names) -> list[onnx.NodeProto]:
    source, result = node.input[0], node.output[0]
    if attribute(node, "keepdims", 1):
        return [helper.make_node("GlobalAveragePool", [source], [result], name=node.name)]
    pooled, name = names.fresh(f"{result}_pooled"), node.name or "mean"
    return [
        helper.make_node("GlobalAveragePool", [source], [pooled], name=name),
        helper.make_node("Flatten", [pooled], [result], name=f"{name}/flatten"),
    ]


def _adds(node: onnx.NodeProto, names: Names) -> list[onnx.NodeProto]:
    parts, last = list(node.input), node.output[0]
    results = [names.fresh(f"{last}_part_{number}") for number in range(1, len(parts) - 1)] + [last]
    return [
        helper.make_node("Add", [left, right], [result], name=node.name)
        for left, right, result in zip([parts[0], *results], parts[1:], results, strict=False)
    ]


def _name(model: onnx.ModelProto) -> None:
    """Give every node a name of its own, the same at each run; drop notes and constants that nobody reads."""
    used: set[str] = set()
    for node in model.graph.node:
        base = name = node.name or node.op_type.lower()
        number = 1
        while name in used:
            number += 1
            name = f"{base}_{number}"
        used.add(name)
        node.name, node.doc_string = name, ""
    drop_unread(model)
