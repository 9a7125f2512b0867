"""The table of a network's layers that its manifest keeps, for who measures it without the onnx package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx

from edgecnn.artifact import LayerRecord
from edgecnn.quantize.graph import Graph, inferred_shapes, macs_by_node


def layers(model: onnx.ModelProto) -> dict[str, LayerRecord]:
    """Return every node of a float network by its name, in the order of the graph.

    Needs a model whose shapes can be inferred, with the batch first; counts are for one image.
    """
    graph, shapes, macs = Graph(model), inferred_shapes(model), macs_by_node(model)
    found = {}
    for node in graph.nodes:
        if node.op_type == "Constant":
            continue
        constants = [name for name in node.input if graph.is_constant(name)]
        given = [name for name in dict.fromkeys(node.input) if name and name not in constants]
        makers = [maker.name for name in given if (maker := graph.producer(name)) is not None]
        found[node.name] = LayerRecord(
            op=node.op_type,
            macs=macs.get(node.name, 0),
            params=sum(graph.constant(name).size for name in constants if _is_parameter(graph, name)),
            reads=_values(given, shapes),
            writes=_values(node.output, shapes),
            output=node.output[0],
            inputs=tuple(makers),
        )
    return found


def _is_parameter(graph: Graph, name: str) -> bool:
    """Return whether a constant was learned: shapes are integers, and bounds and factors scalars."""
    value = graph.constant(name)
    return value.ndim > 0 and bool(np.issubdtype(value.dtype, np.floating))


def _values(names: Iterable[str], shapes: Mapping[str, list[int]]) -> int:
    return sum(int(np.prod(shapes[name][1:])) for name in names if name in shapes)
