"""Layers that ONNX Runtime computes slower in int8 than in float on x86, conversions on either side included.

Measured with ONNX Runtime 1.31 on AVX-512 VNNI, one thread, between quantized neighbours
(benchmarks/slow_kernels.py): its int8 convolution gathers the bytes under the kernel for each pixel, and
multiplies four of them at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.weighted_layer import is_weighted, view_of

#: Images have one channel or three: gathering so few bytes at a time takes longer than float's products,
#: unless there are many outputs for each. 3 to 32 take 1.2 to 1.5 times as long as in float, 3 to 64 less.
#: Not where a max pooling follows: a QuantizeLinear is moved before it, and bytes in float's order pooled.
_CHANNELS = 3
_PRODUCTS = 96
#: The depthwise kernel takes 16 channels at a time, and what is left over one by one. From 25 taps on (5 x 5)
#: that is slower than float; with 9 it comes to the same.
_TOGETHER = 16
_TAPS = 25
#: The pooling kernel for bytes is fast where channels lie side by side, as convolutions want them; behind the
#: last one they do not, and it takes eight times as long as float's.
LAST_POOL = "slower in int8: max pooling behind the last convolution"
FEW_CHANNELS = "slower in int8: few input channels"
LEFT_OVER = f"slower in int8: depthwise, channels no multiple of {_TOGETHER}"


def slow_kernel(graph: Graph, node: onnx.NodeProto) -> str | None:
    """Return the rule by which a layer with constant weights is better left in float; None for others."""
    layer = view_of(graph, node)
    if node.op_type != "Conv" or len(layer.shape) != 4:
        return None
    taps = math.prod(layer.shape[2:])
    if layer.groups == 1 and layer.inputs <= _CHANNELS and taps > 1 and _is_first(graph, node):
        pooled = any(reader.op_type == "MaxPool" for reader in _after(graph, node, through_layers=False))
        return FEW_CHANNELS if layer.inputs * layer.outputs <= _PRODUCTS and not pooled else None
    depthwise = layer.groups == layer.inputs == layer.outputs
    return LEFT_OVER if depthwise and taps >= _TAPS and layer.inputs % _TOGETHER else None


def slow_pool(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node is a max pooling whose values reach no convolution any more."""
    if node.op_type != "MaxPool":
        return False
    return all(reader.op_type != "Conv" for reader in _after(graph, node, through_layers=True))


def _after(graph: Graph, node: onnx.NodeProto, *, through_layers: bool) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that a node's values reach, perhaps up to the next layers with weights."""
    seen, waiting = set[str](), [node.output[0]]
    while waiting:
        for reader in graph.consumers(waiting.pop()):
            yield reader
            if through_layers or not is_weighted(graph, reader):
                waiting += [name for name in reader.output if name not in seen]
                seen.update(reader.output)


def _is_first(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether no layer with weights stands before a node: it reads an image, or a prepared one."""
    before = graph.producer(node.input[0])
    while before is not None:
        if is_weighted(graph, before):
            return False
        before = next((made for made in map(graph.producer, before.input) if made is not None), None)
    return True
