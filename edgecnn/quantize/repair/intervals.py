"""What each channel of a tensor can be at most, whatever the image: interval arithmetic through a network.

Bounds, not estimates (Moore 1966, "Interval analysis"; for networks as in Gowal et al. 2018,
arXiv:1810.12715, section 3): positive and negative weights take opposite ends of their inputs' intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.quantize.graph.index import Graph, attribute
from edgecnn.quantize.graph.patterns import clip_bounds
from edgecnn.quantize.graph.weighted_layer import view_of
from edgecnn.quantize.repair import parameters
from edgecnn.quantize.repair.tied_channels import ChannelWise, reads_unpadded

Array = npt.NDArray[np.float64]
#: Least and greatest value, for all channels or (C,).
Ends = tuple[npt.ArrayLike, npt.ArrayLike]
#: Sums are widened by this much of their terms: engines add up in float32, in an order of their own.
_SLACK = 1e-5
_BETWEEN = {"Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Softmax": (0.0, 1.0)}


@dataclass(frozen=True)
class Interval:
    """Least and greatest value of each channel, (C,) each; (1,) where all channels have the same."""

    low: Array
    high: Array

    def with_zero(self) -> Interval:
        """Return the least interval that holds this one and zero."""
        return Interval(np.minimum(self.low, 0), np.maximum(self.high, 0))

    def clip(self, low: float, high: float) -> Interval:
        """Return the interval of the values clipped."""
        return Interval(np.clip(self.low, low, high), np.clip(self.high, low, high))


def bound(model: onnx.ModelProto, inputs: Mapping[str, Ends] = {}) -> dict[str, Interval]:
    """Return an interval for every feature map of a model.

    `inputs` gives the least and the greatest values of graph inputs, one for all channels or (C,); an input
    that is not named can be anything. Operators not known here give anything.
    """
    graph = Graph(model)
    channel_wise = ChannelWise(graph)
    anything = Interval(np.array([-np.inf]), np.array([np.inf]))
    found = {
        name: Interval(
            np.atleast_1d(np.asarray(low, np.float64)), np.atleast_1d(np.asarray(high, np.float64))
        )
        for name, (low, high) in inputs.items()
    }
    for node in graph.nodes:
        result = _through(graph, channel_wise, node, [found.get(name, anything) for name in node.input])
        found[node.output[0]] = result or anything
    return found


def _through(
    graph: Graph, channel_wise: ChannelWise, node: onnx.NodeProto, given: list[Interval]
) -> Interval | None:
    if node.op_type in _BETWEEN:
        low, high = _BETWEEN[node.op_type]
        return Interval(np.array([low]), np.array([high]))
    bounds = clip_bounds(graph, node)
    if bounds is not None:
        return given[0].clip(*bounds)
    if parameters.is_layer(graph, node):
        return _layer(graph, node, given[0] if reads_unpadded(node) else given[0].with_zero())
    if node.op_type == "LeakyRelu":
        slope = attribute(node, "alpha", 0.01)
        ends = (np.where(end < 0, slope * end, end) for end in (given[0].low, given[0].high))
        return Interval(*ends) if slope > 0 else None
    if node.op_type == "Add" and channel_wise.moves(node):
        return _sum([given[0].low, given[1].low], [given[0].high, given[1].high])
    if node.op_type == "AveragePool":
        return given[0].with_zero()
    if node.op_type == "Pad" and channel_wise.scales(node):
        return given[0].with_zero()
    return given[0] if channel_wise.moves(node) else None


def _layer(graph: Graph, node: onnx.NodeProto, given: Interval) -> Interval:
    weight = parameters.by_channel(graph, node)
    if node.op_type == "Gemm":
        weight = weight * attribute(node, "alpha", 1.0)
    positive, negative = np.maximum(weight, 0).sum(axis=3), np.minimum(weight, 0).sum(axis=3)
    count = view_of(graph, node).inputs
    low, high = (
        np.broadcast_to(end, (count,)).reshape(len(weight), 1, -1) for end in (given.low, given.high)
    )
    bias = parameters.bias_of(graph, node)

    def terms(rising: Array, falling: Array) -> list[Array]:
        with np.errstate(invalid="ignore"):
            # A weight of zero makes zero even of an input without bounds.
            up = np.where(positive == 0, 0, positive * rising)
            down = np.where(negative == 0, 0, negative * falling)
        return [bias, *np.moveaxis(up + down, 2, 0).reshape(weight.shape[2], -1)]

    return _sum(terms(low, high), terms(high, low))


def _sum(low: list[Array], high: list[Array]) -> Interval:
    """Return the interval of a sum from the ends of its terms."""
    below, above = (_SLACK * sum(np.abs(term) for term in terms) for terms in (low, high))
    return Interval(sum(low[1:], low[0]) - below, sum(high[1:], high[0]) + above)
