"""Which tensors are quantized, and which layers stay float by which rule. A table, and one pass over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from edgecnn.quantize.graph import Graph

#: What a quantized graph does with a node.
COMPUTE = "compute"  # weighted sum: int8 weights, quantized in and out
ARITHMETIC = "arithmetic"  # every input that is no constant is quantized, and the output
POOL = "pool"  # quantized in and out, each with its own scale
KEEP_SCALE = "keep scale"  # moves values without changing them: input and output share a scale
CLIP = "clip"  # an activation that fuses into the node before it

PATTERNS: dict[str, str] = {
    "Conv": COMPUTE,
    "Gemm": COMPUTE,
    "MatMul": COMPUTE,
    "Add": ARITHMETIC,
    "AveragePool": POOL,
    "GlobalAveragePool": POOL,
    "MaxPool": KEEP_SCALE,
    "Reshape": KEEP_SCALE,
    "Flatten": KEEP_SCALE,
    "Squeeze": KEEP_SCALE,
    "Unsqueeze": KEEP_SCALE,
    "Transpose": KEEP_SCALE,
    "Relu": CLIP,
    "Clip": CLIP,
}


@dataclass(frozen=True)
class Placement:
    """Where Q/DQ pairs go."""

    #: Tensors that are quantized, in the graph's order.
    tensors: list[str]
    #: Tensor: the one whose range it shares.
    shares: dict[str, str]
    #: Weighted nodes that are quantized.
    compute: list[onnx.NodeProto]
    #: Node that stays float: the rule that says so.
    float_nodes: dict[str, str]


def place(graph: Graph) -> Placement:
    """Decide by the table. Weighted layers are quantized at input, weights and output.

    A node that is in no pattern stays float, between a DequantizeLinear and a QuantizeLinear where
    its neighbours are quantized. The graph's outputs stay float: an application reads them.
    """
    float_nodes = dict(_left_float(graph))
    quantized = [node for node in graph.nodes if node.name not in float_nodes]
    wanted: dict[str, None] = {}
    for node in quantized:
        kind = PATTERNS[node.op_type]
        if kind == CLIP:
            continue  # fused, or quantized if a neighbour wants it
        for name in _activations(graph, node):
            wanted.setdefault(name)
        output = _after_clip(graph, node)
        if output not in graph.outputs and kind != KEEP_SCALE:
            wanted.setdefault(output)
    shares: dict[str, str] = {}
    for node in quantized:
        # Pointless unless the tensor goes on in int8: moving values costs the same in float.
        source, result = node.input[0], node.output[0]
        if PATTERNS[node.op_type] == KEEP_SCALE and source in wanted and result not in graph.outputs:
            wanted.setdefault(result)
            shares[result] = shares.get(source, source)
    order = [name for node in graph.nodes for name in (*node.input, *node.output) if name in wanted]
    return Placement(
        tensors=list(dict.fromkeys(order)),
        shares=shares,
        compute=[node for node in quantized if PATTERNS[node.op_type] == COMPUTE],
        float_nodes=float_nodes,
    )


def _left_float(graph: Graph) -> Iterator[tuple[str, str]]:
    for node in graph.nodes:
        kind = PATTERNS.get(node.op_type)
        if kind is None:
            yield node.name, f"no int8 form: {node.op_type}"
        elif kind == COMPUTE and not graph.is_constant(node.input[1]):
            yield node.name, "its weights are not constant"
        elif kind == ARITHMETIC and any(graph.is_constant(name) for name in node.input):
            yield node.name, "it adds a constant"


def _activations(graph: Graph, node: onnx.NodeProto) -> list[str]:
    """Return the inputs that carry feature maps: not weights, shapes or clipping bounds."""
    if PATTERNS[node.op_type] == ARITHMETIC:
        return [name for name in node.input if not graph.is_constant(name)]
    if PATTERNS[node.op_type] == KEEP_SCALE:
        return []
    return [node.input[0]]


def _fused(graph: Graph, clip: onnx.NodeProto) -> bool:
    """Return whether an activation follows a node that it fuses into."""
    before = graph.producer(clip.input[0])
    fusing = before is not None and PATTERNS.get(before.op_type) in (COMPUTE, ARITHMETIC)
    return fusing and graph.only_consumer(clip.input[0]) is clip


def _after_clip(graph: Graph, node: onnx.NodeProto) -> str:
    """Return a node's output, or that of the activation that fuses into it."""
    following = graph.only_consumer(node.output[0])
    if following is not None and PATTERNS.get(following.op_type) == CLIP and _fused(graph, following):
        return str(following.output[0])
    return str(node.output[0])
