"""Centre tensors about zero by moving offsets into biases; the float function stays, for any input.

High-bias absorption (Nagel et al. 2019, arXiv:1906.04721, section 4.1.3), generalised: what is taken off a
layer's bias is given, times the weights, to the biases of the layers that read it. Sums, pools and
reshapes between pass the offset on. The paper moves what almost always stays above a ReLU's zero;
here nothing is moved that is not exact:

- where no activation stands between, each channel has an offset of its own: the middle of its values;
- a tensor that an activation clips has one offset for all channels, which moves the clip's bounds as
  well: clip(x, lo, hi) - c = clip(x - c, lo - c, hi - c). That pays for symmetric int8 alone, of whose
  codes a tensor without values below zero uses half. A ReLU stays one: engines fuse it best.

Every reader must see nothing but the tensor: a layer that pads would read zeros where it read offsets.
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
from edgecnn.quantize.repair.tied_channels import ChannelWise, Group, reads_unpadded, tie

Array = npt.NDArray[np.float64]

#: A group is centred only if that makes its ranges narrower by this factor on average, and none wider: the
#: mean over a map may fill little of the map's range, and would lie at the end of a centred one.
_GAIN = 0.99
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Absorbed:
    """A model that computes what the one it was made of does."""

    model: onnx.ModelProto
    #: Tensor: what was taken off each of its channels, (C,).
    offsets: dict[str, Array]


def statistics(model: onnx.ModelProto, *, symmetric: bool) -> list[str]:
    """Return the tensors whose channels `absorb` has to know, in the graph's order."""
    groups = _groups(Graph(model), symmetric)
    return list(dict.fromkeys(name for group in groups for name in group.tensors))


def absorb(
    model: onnx.ModelProto,
    channels: Mapping[str, ChannelObserver],
    *,
    symmetric: bool,
) -> Absorbed:
    """Return the model with tensors centred about zero wherever that makes their ranges narrower.

    `channels` has the observers of the tensors that `statistics` names. `symmetric` says whether ranges will
    be (`Scheme.symmetric`). Layers without a bias get one. Raises DataError for missing statistics.
    """
    result = copy_of(model)
    editor = parameters.LayerEditor(result)
    offsets: dict[str, Array] = {}
    for group in _groups(Graph(result), symmetric):
        missing = [name for name in group.tensors if name not in channels]
        if missing:
            raise DataError(
                f"absorption: no statistics of tensor {missing[0]!r}",
                hint="observe the tensors that statistics(model) names, on this model",
            )
        found = _offsets(group, channels)
        if not _narrower(group, channels, found, symmetric):
            continue
        for node in group.makers:
            layer = node
            if node.op_type not in parameters.LAYERS:
                _move_bounds(editor, node, float(found[node.output[0]][0]))
                layer = editor.graph.producer(node.input[0]) or node
                found[node.input[0]] = found[node.output[0]]
            editor.lower_outputs(layer, found[node.output[0]])
        for node in group.readers:
            editor.take_in(node, found[node.input[0]])
        offsets.update(found)
    return Absorbed(result, offsets)


def _groups(graph: Graph, symmetric: bool) -> list[Group]:
    channel_wise = ChannelWise(graph)

    def makes(node: onnx.NodeProto) -> int | None:
        bounds = clip_bounds(graph, node)
        if symmetric and bounds is not None and np.isfinite(bounds).all():
            # The offset must be the clip's alone.
            before = graph.producer(node.input[0])
            alone = before is not None and graph.only_consumer(node.input[0]) is node
            return (
                makes(before)
                if alone and before is not None and before.op_type in parameters.LAYERS
                else None
            )
        return view_of(graph, node).outputs if parameters.is_layer(graph, node) else None

    def reads(node: onnx.NodeProto) -> bool:
        return parameters.is_layer(graph, node) and reads_unpadded(node)

    return tie(graph, makes, reads, channel_wise.moves)


def _offsets(group: Group, channels: Mapping[str, ChannelObserver]) -> dict[str, Array]:
    """Return the offset of each tensor of a group: chosen where it is made, passed on elsewhere."""
    found: dict[str, Array] = {}
    makers = {node.output[0]: node for node in group.makers}
    inner = {node.output[0]: node for node in group.inner}
    for name in group.tensors:
        seen = channels[name]
        if name not in makers:
            given = [found[source] for source in inner[name].input if source in found]
            found[name] = np.sum(given, axis=0)
        elif makers[name].op_type in parameters.LAYERS:
            found[name] = (seen.minimum + seen.maximum) / 2
        else:
            middle = (seen.minimum.min() + seen.maximum.max()) / 2
            found[name] = np.full(group.channels, middle)
    return found


def _narrower(
    group: Group, channels: Mapping[str, ChannelObserver], offsets: Mapping[str, Array], symmetric: bool
) -> bool:
    """Return whether the ranges of a group's tensors become narrower, by their geometric mean."""
    ratios = []
    for name in group.tensors:
        seen = channels[name]
        before = _width(seen.minimum, seen.maximum, symmetric)
        after = _width(seen.minimum - offsets[name], seen.maximum - offsets[name], symmetric)
        if before > 0 and after > 0:
            ratios.append(np.log(after / before))
    return bool(ratios) and float(np.mean(ratios)) < np.log(_GAIN) and max(ratios) <= _ROUNDING


def _width(low: Array, high: Array, symmetric: bool) -> float:
    least, most = min(0.0, float(low.min())), max(0.0, float(high.max()))
    return 2 * max(-least, most) if symmetric else most - least


def _move_bounds(editor: parameters.LayerEditor, node: onnx.NodeProto, offset: float) -> None:
    """Lower a clip's bounds, in constants of its own."""
    for index, (side, end) in enumerate(
        zip(("min", "max"), clip_bounds(editor.graph, node) or (), strict=True)
    ):
        name = f"{node.output[0]}_{side}"
        node.input[index + 1] = editor.add_constant(name, np.asarray(end - offset, np.float32))
