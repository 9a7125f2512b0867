"""Groups of tensors that are tied channel by channel: what is done to one must be done to all.

Between the weighted layers that make a group and those that read it stand only operators that treat each
channel by itself. A stage of residual blocks with linear ends is one group: every sum ties its summands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from edgecnn.quantize.graph.index import Graph, attribute, inferred_shapes
from edgecnn.quantize.graph.patterns import over_height_and_width, pads_with_range
from edgecnn.quantize.graph.weighted_layer import view_of

Test = Callable[[onnx.NodeProto], bool]
#: How many channels a node makes; None for one that does not begin a group.
Makes = Callable[[onnx.NodeProto], "int | None"]


@dataclass(frozen=True)
class Group:
    """Tensors with the same channels; everything in the graph's order."""

    tensors: list[str]
    channels: int
    #: Nodes where the group begins, and those where it ends.
    makers: list[onnx.NodeProto]
    readers: list[onnx.NodeProto]
    #: Nodes that pass channels on.
    inner: list[onnx.NodeProto]


def tie(graph: Graph, makes: Makes, reads: Test, passes: Test) -> list[Group]:
    """Return the groups of a graph.

    A group begins with nodes for which `makes` gives the number of channels, ends with nodes that
    satisfy `reads` by their first input, and holds nodes that satisfy `passes` between. What reaches
    anything else, or an input or output of the graph, is no group.
    """
    found = []
    seen: set[str] = set()
    for node in graph.nodes:
        if makes(node) is None or node.output[0] in seen:
            continue
        tensors: set[str] = set()
        waiting = [node.output[0]]
        whole = True
        while waiting:
            tensor = waiting.pop()
            if tensor in tensors:
                continue
            tensors.add(tensor)
            before = graph.producer(tensor)
            ends = tensor in graph.inputs or tensor in graph.outputs
            if ends or before is None or tensor != before.output[0]:
                whole = False
            elif makes(before) is None:
                whole &= passes(before)
                waiting += _variable(graph, before) if passes(before) else []
            for reader in graph.consumers(tensor):
                only_first = list(reader.input).count(tensor) == 1 and reader.input[0] == tensor
                if reads(reader) and only_first:
                    continue
                whole &= passes(reader)
                waiting += [reader.output[0]] if passes(reader) else []
        seen |= tensors
        if whole and (group := _group(graph, tensors, makes, reads)):
            found.append(group)
    return found


def _group(graph: Graph, tensors: set[str], makes: Makes, reads: Test) -> Group | None:
    """Return the group of some tensors; None if they have different numbers of channels, or no reader."""
    made = [node for node in graph.nodes if node.output[0] in tensors]
    makers = [node for node in made if makes(node) is not None]
    readers = [node for node in graph.nodes if node.input and node.input[0] in tensors and reads(node)]
    counts = {makes(node) for node in makers} | {view_of(graph, node).inputs for node in readers}
    channels = counts.pop()
    if counts or channels is None or not readers:
        return None
    inner = [node for node in made if makes(node) is None]
    return Group([node.output[0] for node in made], channels, makers, readers, inner)


def _variable(graph: Graph, node: onnx.NodeProto) -> list[str]:
    return [name for name in node.input if name and not graph.is_constant(name)]


class ChannelWise:
    """What a graph's operators do to a channel."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._shapes = inferred_shapes(graph.model)

    def moves(self, node: onnx.NodeProto) -> bool:
        """Return whether scaling or shifting a channel before a node is the same as doing so after it.

        A shift of an Add's output is the sum of its inputs' shifts.
        """
        op = node.op_type
        if op in ("GlobalAveragePool", "GlobalMaxPool", "Identity"):
            return True
        if op == "Add":
            ranks = {len(self._shape(name)) for name in node.input}
            variable = not any(self._graph.is_constant(name) for name in node.input)
            return variable and len(ranks) == 1 and ranks.isdisjoint({0, 1})
        if op == "MaxPool":
            return len([name for name in node.output if name]) == 1
        if op == "AveragePool":
            return not _averages_zeros(node)
        if op == "ReduceMean":
            return over_height_and_width(self._graph, node) and len(self._shape(node.input[0])) == 4
        if op == "Resize":
            nearest = attribute(node, "mode", "nearest") == "nearest"
            crops = attribute(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize"
            return nearest and not crops and self._same_channels(node)
        return op in ("Flatten", "Reshape", "Squeeze") and self._drops_ones(node)

    def scales(self, node: onnx.NodeProto) -> bool:
        """Return whether scaling a channel by any factor above zero before a node is the same as after it."""
        if node.op_type in ("Relu", "LeakyRelu"):
            return True
        if node.op_type == "PRelu":
            return self._graph.is_constant(node.input[1])
        if node.op_type == "AveragePool":
            return True
        if node.op_type == "Pad":
            # Of zeros or of the channel's own values.
            return pads_with_range(self._graph, node) and self._same_channels(node)
        return self.moves(node)

    def _shape(self, name: str) -> list[int]:
        return self._shapes.get(name, [])

    def _same_channels(self, node: onnx.NodeProto) -> bool:
        before, after = self._shape(node.input[0])[1:2], self._shape(node.output[0])[1:2]
        return before == after and before not in ([], [0])

    def _drops_ones(self, node: onnx.NodeProto) -> bool:
        """Return whether a node makes (N, C) of (N, C, 1, 1)."""
        before, after = self._shape(node.input[0]), self._shape(node.output[0])
        if len(before) < 2 or not before[1] or any(size != 1 for size in before[2:]):
            return False
        if after[1:] == before[1:2]:
            return True
        target = node.op_type == "Reshape" and self._graph.is_constant(node.input[1])
        return target and self._graph.constant(node.input[1]).tolist() == [0, -1]


def reads_unpadded(node: onnx.NodeProto) -> bool:
    """Return whether a weighted layer sees nothing but values of its input."""
    if node.op_type != "Conv":
        return True
    automatic = attribute(node, "auto_pad", "NOTSET")
    return automatic == "VALID" or (automatic == "NOTSET" and not any(attribute(node, "pads", [])))


def _averages_zeros(node: onnx.NodeProto) -> bool:
    if not attribute(node, "count_include_pad", 0):
        return False
    padded = attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return padded or any(attribute(node, "pads", [])) or bool(attribute(node, "ceil_mode", 0))
