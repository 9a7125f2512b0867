"""The table of a network's layers that its manifest keeps, for who measures it without the onnx package."""

from __future__ import annotations

import numpy as np
import onnx

from edgecnn.artifact import LayerRecord
from edgecnn.quantize.graph.index import Graph, sizes
from edgecnn.quantize.graph.weighted_layer import macs_by_node


def layers(model: onnx.ModelProto) -> dict[str, LayerRecord]:
    """Return every node of a float network by its name, in the order of the graph.

    Counts are for one image; of tensors whose shapes cannot be inferred there are none.
    """
    graph, values, macs = Graph(model), sizes(model), macs_by_node(model)
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
            reads=sum(values.get(name, 0) for name in given),
            writes=sum(values.get(name, 0) for name in node.output),
            output=node.output[0],
            inputs=tuple(makers),
        )
    return found


def _is_parameter(graph: Graph, name: str) -> bool:
    """Return whether a constant was learned: shapes are integers, and bounds and factors scalars."""
    value = graph.constant(name)
    return value.ndim > 0 and bool(np.issubdtype(value.dtype, np.floating))
