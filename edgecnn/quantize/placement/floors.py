"""Where the ranges of tensors may begin that only an activation reads which is zero below."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import onnx

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.integer_activations import swish_floor
from edgecnn.quantize.graph.patterns import ACTIVATION, Pattern

#: Where activations end that are zero below: HardSwish to the bit, the others to less than 0.003.
_FLOORS = {"HardSwish": -3.0, "Swish": -8.0, "Mish": -8.0, "Gelu": -4.0}


def floors(graph: Graph, patterns: Sequence[Pattern], fit: Collection[str]) -> dict[str, float]:
    """Return for tensors out of `fit`, read by an activation alone, below what that gives all but zero."""
    return {
        name: floor
        for item in patterns
        for name, floor, parts in _floor(graph, item)
        if name in fit and all(reader in parts for reader in graph.consumers(name))
    }


def _floor(graph: Graph, item: Pattern) -> Iterator[tuple[str, float, list[onnx.NodeProto]]]:
    """Yield what an activation reads, below what it is all but zero, and the nodes of the activation."""
    low = swish_floor(graph, item.node) if item.node.op_type == "Mul" else None
    if low is not None:
        clip = next(node for node in _before(graph, item.node) if node.op_type == "Clip")
        (addition,) = _before(graph, clip)
        source = next(name for name in item.node.input if name in addition.input)
        yield source, low, [addition, item.node]
    elif item.kind == ACTIVATION and item.op in _FLOORS:
        yield item.inputs[0], _FLOORS[item.op], item.parts


def _before(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    made = (graph.producer(name) for name in node.input)
    return [maker for maker in made if maker is not None]
