"""A float graph in the form that the kernels of a scheme's engines want, before it is quantized."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.integer_activations import integer_activations
from edgecnn.quantize.graph.weighted_layer import is_weighted
from edgecnn.quantize.placement.place import place
from edgecnn.schemes import Scheme


def in_engine_form(model: onnx.ModelProto, scheme: Scheme, left_float: Mapping[str, str]) -> onnx.ModelProto:
    """Return a model that computes the same, its activations in sums and products where these are faster.

    What `left_float` names, a node with its rule, stays as it is, and so do the activations of layers that
    stay float by themselves: a float kernel takes these along.
    """
    if not scheme.integer_constants:
        return model
    graph = Graph(model)
    layers = {node.name for node in graph.nodes if is_weighted(graph, node)}
    return integer_activations(
        model, {*left_float, *layers.intersection(place(graph, scheme, left_float).float_nodes)}
    )
