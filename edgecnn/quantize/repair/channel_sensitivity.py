"""How much noise in a channel shows in a network's output, by its weights alone.

Propagation of variances to first order, backwards through the network: independent noise of variance v in
an input channel adds the squares of its weights times v to each output channel. Activations count as
open. Only proportions between the channels of a tensor matter, and the noise that a channel's share adds
stays the same when channels are scaled, the function unchanged.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.patterns import clip_bounds
from edgecnn.quantize.repair import parameters
from edgecnn.quantize.repair.tied_channels import ChannelWise

Array = npt.NDArray[np.float64]


def sensitivities(graph: Graph) -> dict[str, Array]:
    """Return the gain of noise from each channel of a tensor to the output, (C,); (1,) if all are alike.

    What operators not known here read has gain 1, as the network's outputs have.
    """
    found: dict[str, Array] = {}
    channel_wise = ChannelWise(graph)
    one = np.ones(1)
    for node in reversed(graph.nodes):
        gain = found.get(node.output[0], one)
        if parameters.is_layer(graph, node):
            squares = (parameters.by_channel(graph, node) ** 2).sum(axis=3)
            gain = np.broadcast_to(gain, (squares.shape[0] * squares.shape[1],)).reshape(squares.shape[:2])
            _add(found, node.input[0], np.einsum("goi,go->gi", squares, gain).reshape(-1))
            continue
        known = clip_bounds(graph, node) is not None or channel_wise.scales(node)
        for name in node.input:
            if name and not graph.is_constant(name):
                _add(found, name, gain if known else one)
    return found


def _add(found: dict[str, Array], name: str, gain: Array) -> None:
    before = found.get(name, np.zeros(1))
    alike = before.size == gain.size or 1 in (before.size, gain.size)
    found[name] = before + gain if alike else np.ones(1)
