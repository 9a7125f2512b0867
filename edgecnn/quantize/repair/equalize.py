"""Even out the channels of a tensor, so that one scale suits all of them; the float function stays.

Cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721, section 4.1): a channel of what a layer
makes is multiplied by s, and the layers that read it divide by s. Here s follows from what it holds on
real images and from what its noise does to the network's output, where SmoothQuant (Xiao et al. 2022,
arXiv:2211.10438, section 4) takes the next layer's weights: s = g^(1-b) / r^b, with r the channel's
extent and g the amplitude that noise in it is passed on with (`sensitivity`). Spreading the channels of
a network beforehand changes r and g oppositely, so that the result is the same. b is chosen for each group
by the noise that rounding the tensor and rounding the readers' weights give.

A clip at a bound above zero, as in ReLU6, commutes with s only where it does not act. A channel is scaled
there only if interval arithmetic proves that its values stay below the bound, before and after, for any
image; all others keep 1. Such a clip needs not become a ReLU to that end, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.errors import DataError
from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.patterns import clip_bounds
from edgecnn.quantize.graph.weighted_layer import view_of
from edgecnn.quantize.ranges.channel_statistics import ChannelObserver
from edgecnn.quantize.repair import parameters
from edgecnn.quantize.repair.channel_sensitivity import sensitivities
from edgecnn.quantize.repair.intervals import Ends, bound
from edgecnn.quantize.repair.tied_channels import ChannelWise, Group, tie

Array = npt.NDArray[np.float64]

#: No channel is scaled by more, or by less than the inverse.
LARGEST = 2.0**8
#: Nearer to 1, channels that hardly matter get steps as fine as those that do, and trained networks lose.
_BALANCES = (0.25, 0.5)
#: What the noise of rounded weights counts for: rounding with error feedback leaves less of it than
#: rounding to nearest.
_WEIGHT_NOISE = 0.5
#: A group is scaled only if that lowers its noise by this share: what is even already is better left alone.
LEAST_GAIN = 0.5


@dataclass(frozen=True)
class Equalized:
    """A model that computes what the one it was made of does."""

    model: onnx.ModelProto
    #: First tensor of each group that was scaled: the factor of each channel, (C,).
    scales: dict[str, Array]


def statistics(model: onnx.ModelProto) -> list[str]:
    """Return the tensors whose channels `equalize` has to know, in the graph's order."""
    graph = Graph(model)
    return list(dict.fromkeys(node.input[0] for group in _groups(graph) for node in group.readers))


def equalize(
    model: onnx.ModelProto,
    channels: Mapping[str, ChannelObserver],
    inputs: Mapping[str, Ends] = {},
    least_gain: float = LEAST_GAIN,
) -> Equalized:
    """Return the model with its channels evened out wherever that lowers the noise of int8.

    `channels` has the observers of the tensors that `statistics` names. `inputs` gives the least and the
    greatest value that a graph input can have, as for `intervals.bound`, so that more can be proved of the
    layers before a clip; what follows holds for such inputs only. Raises DataError for missing statistics.
    """
    result = copy_of(model)
    editor = parameters.LayerEditor(result)
    ceilings = _ceilings(model, inputs)
    scales = {}
    for group in _groups(Graph(result)):
        seen = [_observed(channels, node.input[0], group.channels) for node in group.readers]
        factors = _factors(editor.graph, group, seen, ceilings, least_gain)
        if factors is None:
            continue
        for node in group.makers:
            editor.scale_outputs(node, factors)
        for node in group.readers:
            editor.unscale_inputs(node, factors)
        scales[group.tensors[0]] = factors
    return Equalized(result, scales)


def _groups(graph: Graph) -> list[Group]:
    channel_wise = ChannelWise(graph)

    def passes(node: onnx.NodeProto) -> bool:
        bounds = clip_bounds(graph, node)
        return (bounds is not None and bounds[0] == 0 < bounds[1]) or channel_wise.scales(node)

    def makes(node: onnx.NodeProto) -> int | None:
        return view_of(graph, node).outputs if parameters.is_layer(graph, node) else None

    return tie(graph, makes, lambda node: parameters.is_layer(graph, node), passes)


def _observed(channels: Mapping[str, ChannelObserver], tensor: str, count: int) -> ChannelObserver:
    observer = channels.get(tensor)
    if observer is None or observer.mean.size != count:
        raise DataError(
            f"equalization: no statistics of {count} channels for tensor {tensor!r}",
            hint="observe the tensors that statistics(model) names, on this model",
        )
    return observer


def _ceilings(model: onnx.ModelProto, inputs: Mapping[str, Ends]) -> dict[str, Array]:
    """Return for each clip's output how far each channel may be scaled up; 0: it may not be scaled at all."""
    graph = Graph(model)
    intervals = bound(model, inputs)
    found = {}
    for node in graph.nodes:
        bounds = clip_bounds(graph, node)
        if bounds is not None and np.isfinite(bounds[1]) and bounds[1] > 0:
            room = bounds[1] / np.maximum(intervals[node.input[0]].high, np.finfo(np.float32).tiny)
            found[node.output[0]] = np.where(room >= 1, room, 0)
    return found


def _factors(
    graph: Graph,
    group: Group,
    seen: list[ChannelObserver],
    ceilings: Mapping[str, Array],
    least_gain: float,
) -> Array | None:
    """Return the factors of a group's channels; None where nothing is won."""
    limit = np.full(group.channels, np.inf)
    for tensor in group.tensors:
        limit = np.minimum(limit, ceilings.get(tensor, np.inf))
    extents = np.stack([_extent(item) for item in seen])
    # Each tensor has a range of its own: what counts is the share of it that a channel fills.
    share = extents / np.maximum(extents.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    extent = np.sqrt(np.mean(share**2, axis=0))
    fixed = (extent == 0) | (limit == 0)
    if fixed.all():
        return None
    gains = sensitivities(graph)
    readers = [_Reader(graph, node, item, gains) for node, item in zip(group.readers, seen, strict=True)]
    gain = np.sqrt(np.sum([reader.gain for reader in readers], axis=0))
    gain = np.maximum(gain / max(gain.max(), np.finfo(np.float64).tiny), 2.0**-16)
    safe = np.where(extent > 0, extent, 1)
    best, least = None, (1 - least_gain) * sum(reader.noise(np.ones_like(extent)) for reader in readers)
    for balance in _BALANCES:
        raw = gain ** (1 - balance) / safe**balance
        factors = _fitted(raw, extent, fixed, limit)
        noise = sum(reader.noise(factors) for reader in readers)
        if noise < least:
            best, least = factors, noise
    return best


def _fitted(raw: Array, extent: Array, fixed: npt.NDArray[np.bool_], limit: Array) -> Array:
    """Return factors in the proportions of `raw`, within the limits; 1 for fixed channels."""
    free = np.logical_not(fixed)
    kept = extent[fixed].max(initial=0.0)
    if kept > 0:
        # The fixed channels set the range; the others are to fill it.
        unit = kept / np.max(raw[free] * extent[free])
    else:
        # Only the proportions matter: stay near 1, and below every limit.
        unit = min(np.exp(-np.log(raw[free]).mean()), np.min(limit[free] / raw[free]))
    factors = np.minimum(np.clip(unit * raw, 1 / LARGEST, LARGEST), limit)
    return np.asarray(np.where(fixed, 1.0, factors))


def _extent(seen: ChannelObserver) -> Array:
    return np.maximum(np.abs(seen.minimum), np.abs(seen.maximum))


class _Reader:
    """What scaling a layer's input does to the noise that its rounding adds to the network's output."""

    def __init__(
        self, graph: Graph, node: onnx.NodeProto, seen: ChannelObserver, gains: Mapping[str, Array]
    ) -> None:
        weight = parameters.by_channel(graph, node)
        groups, outputs, inputs, self._taps = weight.shape
        gain = np.broadcast_to(gains.get(node.output[0], np.ones(1)), (groups * outputs,))
        self._gain = gain.reshape(groups, outputs)
        self._squares = (weight**2).sum(axis=3)
        self._peaks = np.abs(weight).max(axis=3)
        self._variance = (seen.std**2).reshape(groups, 1, inputs)
        self._extent = _extent(seen)
        #: Gain of noise from each input channel to the network's output, (inputs,).
        self.gain = (self._squares * self._gain[:, :, None]).sum(axis=1).reshape(-1)

    def noise(self, factors: Array) -> float:
        """Return the noise, in units of the square of an int8 step of a range that ends at 1."""
        scale = factors.reshape(len(self._squares), 1, -1)
        step = np.max(factors * self._extent)
        activation = step**2 * (self._squares / scale**2).sum(axis=2)
        spread = (self._variance * scale**2).sum(axis=2)
        weights = (self._peaks / scale).max(axis=2) ** 2 * self._taps * spread
        return float(((activation + _WEIGHT_NOISE * weights) * self._gain).sum())
