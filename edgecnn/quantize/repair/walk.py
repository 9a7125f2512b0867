"""Run a float network and its quantized twin side by side, one weighted layer at a time, over kept images.

Whoever repairs a layer sees what enters it in both networks, with every layer before it already
repaired. Both networks are computed once for all layers, instead of once for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.index import Graph, batch_of, input_specs, sizes
from edgecnn.quantize.graph.patterns import clip_bounds
from edgecnn.quantize.graph.weighted_layer import WeightedLayer, view_of
from edgecnn.quantize.placement import write_qdq
from edgecnn.quantize.placement.integer_weights import QuantizedWeight
from edgecnn.quantize.placement.place import Placement
from edgecnn.quantize.ranges.range_methods import Range
from edgecnn.quantize.repair.kept_tensors import Buffers, Kept
from edgecnn.schemes import Scheme

Array = npt.NDArray[np.float32]
#: Images that go through a piece of a network at a time, and their pixels: few, so that its own tensors stay
#: in the caches.
_CHUNK = 4
_PIXELS = 4 * 256 * 256
#: Bytes that kept tensors may take where so many images fit at least.
_MEMORY = 128 << 20
_FEWEST = 8
#: Values that are rounded at a time.
_CACHED = 1 << 15


@dataclass(frozen=True)
class Repaired:
    """A weighted layer's new parameters. What is None stays as it was."""

    weight: QuantizedWeight | None = None
    bias: Array | None = None


@dataclass(frozen=True)
class LayerShape:
    """What can be said of a weighted layer without its values."""

    #: Groups, outputs per group, inputs per output.
    matrix: tuple[int, int, int]
    #: Whether an activation that clips follows.
    clipped: bool

    @classmethod
    def of(cls, graph: Graph, node: onnx.NodeProto) -> LayerShape:
        """Return the shape of a layer of a graph."""
        view = view_of(graph, node)
        groups, outputs, inputs = view.as_matrix(np.broadcast_to(np.int8(0), view.shape)).shape
        return cls((groups, outputs, inputs), _clip(graph, node) is not None)


def _clip(graph: Graph, node: onnx.NodeProto) -> tuple[float, float] | None:
    """Return the bounds of the activation that follows a layer and clips; None if there is none."""
    following = graph.only_consumer(node.output[0])
    return None if following is None else clip_bounds(graph, following)


@dataclass(frozen=True)
class Layer:
    """A weighted layer and what enters it, over all the images."""

    node: onnx.NodeProto
    graph: Graph
    #: What enters it in the float network, and in the quantized one before its QuantizeLinear.
    exact: Array
    inexact: Array
    #: Range that the input is quantized over.
    range: Range
    scheme: Scheme

    @property
    def view(self) -> WeightedLayer:
        """Which axis of the weight means what."""
        return view_of(self.graph, self.node)

    @property
    def weight(self) -> Array:
        """The float weight."""
        return self.graph.constant(self.node.input[1])

    @property
    def bias(self) -> Array | None:
        """The float bias; None for a layer without one."""
        has_bias = len(self.node.input) > 2 and bool(self.node.input[2])
        return self.graph.constant(self.node.input[2]) if has_bias else None

    @property
    def clip(self) -> tuple[float, float] | None:
        """Bounds of the activation that follows the layer and clips; None if there is none."""
        return _clip(self.graph, self.node)

    @property
    def shape(self) -> LayerShape:
        """What it is without its values."""
        return LayerShape.of(self.graph, self.node)

    @property
    def input_scale(self) -> float:
        """Step of the input's range."""
        return float(write_qdq.scale_and_zero(*self.range, self.scheme)[0])

    def quantized_input(self, values: Array) -> Array:
        """Return input values as the layer sees them: rounded to the steps of the input's range."""
        scale, zero = write_qdq.scale_and_zero(*self.range, self.scheme)
        info = np.iinfo(zero.dtype)
        first, last = (np.float32(end) - np.float32(zero) for end in (info.min, info.max))
        result = np.empty_like(values)
        # As they lie in memory, and as many at a time as stay in the caches.
        source, target = values.ravel(order="K"), result.ravel(order="K")
        for start in range(0, source.size, _CACHED):
            part = target[start : start + _CACHED]
            np.divide(source[start : start + _CACHED], scale, out=part)
            np.rint(part, out=part)
            np.clip(part, first, last, out=part)
            part *= scale
        return result


def affordable(model: onnx.ModelProto) -> int:
    """Return how many images a walk may hold as inputs of a network, at least 8, a multiple of its batch."""
    batch = batch_of(model) or 1
    known = sizes(model)
    values = sum(known.get(name, 1) for name in Graph(model).inputs)
    return max(1, max(_FEWEST, _MEMORY // (4 * max(1, values))) // batch) * batch


def walk(
    model: onnx.ModelProto,
    placement: Placement,
    ranges: Mapping[str, Range],
    scheme: Scheme,
    images: Array,
    repair: Callable[[Layer], Repaired],
) -> tuple[onnx.ModelProto, dict[str, QuantizedWeight]]:
    """Call `repair` for each quantized layer in the graph's order.

    Returns the float model with the new biases, and the new integer weights by node. `images` are samples
    of the model's inputs. Where tensors are large a few of the images are enough, and as many as fit
    into a fixed memory take part; the others join where the tensors are smaller.
    """
    result = copy_of(model)
    graph = Graph(result)
    weights: dict[str, QuantizedWeight] = {}
    pieces = list(_pieces(graph, placement))
    # Parts of one size: of a tensor whose first axis counts something else, each image's share depends on it.
    most = max(1, min(_CHUNK, _PIXELS // max(1, math.prod(images.shape[2:]))))
    size = batch_of(model) or max(size for size in range(1, most + 1) if len(images) % size == 0)
    total = len(images) // size
    buffers = Buffers()
    exact, inexact = (Kept(input_specs(model), images, total, buffers) for _ in range(2))

    def quantized(piece: _Piece) -> onnx.ModelProto:
        return write_qdq.insert(piece.model(graph, result), piece.place(placement), ranges, scheme, weights)

    for index, (piece, parts) in enumerate(zip(pieces, _parts(model, pieces, size, total), strict=True)):
        if parts > exact.parts:
            for kept, computed in ((exact, lambda whole: whole.model(graph, model)), (inexact, quantized)):
                whole = _joined(pieces[:index], kept.names)
                kept.join(computed(whole) if kept.names else None, parts)
        if piece.layers:
            node = piece.layers[0]
            source = node.input[0]
            repaired = repair(Layer(node, graph, exact[source], inexact[source], ranges[source], scheme))
            if repaired.weight is not None:
                weights[node.name] = repaired.weight
            if repaired.bias is not None:
                graph.set_constant(node.input[2], repaired.bias)
        exact.advance(piece.model(graph, model), piece.last_used)
        inexact.advance(quantized(piece), piece.last_used)
    return result, weights


def _parts(model: onnx.ModelProto, pieces: list[_Piece], size: int, total: int) -> list[int]:
    """Return how many of `total` parts of `size` images fit into memory at each piece and all later ones."""
    values = sizes(model)
    fitting = [total]
    for piece in reversed(pieces):
        # Both networks keep what a piece reads and what it makes.
        image = 2 * 4 * sum(values.get(name, 0) for name in (*piece.inputs, *piece.outputs))
        count = max(_FEWEST, _MEMORY // max(1, image)) // size
        fitting.append(max(1, min(count, fitting[-1])))
    return fitting[:0:-1]


def _joined(pieces: list[_Piece], outputs: list[str]) -> _Piece:
    """Return pieces as one that gives `outputs`."""
    nodes = list({node.output[0]: node for piece in pieces for node in piece.nodes}.values())
    made = {name for node in nodes for name in node.output}
    inputs = sorted({name for piece in pieces for name in piece.inputs} - made)
    return _Piece([layer for piece in pieces for layer in piece.layers], nodes, inputs, outputs, [])


@dataclass(frozen=True)
class _Piece:
    """A weighted layer and all nodes up to the next one, with the shapes that they read; or several such."""

    layers: list[onnx.NodeProto]
    nodes: list[onnx.NodeProto]
    inputs: list[str]
    outputs: list[str]
    #: Tensors that nothing after this piece reads.
    last_used: list[str]

    @property
    def tensors(self) -> set[str]:
        return {name for node in self.nodes for name in (*node.input, *node.output)}

    def place(self, placement: Placement) -> Placement:
        """Return what of a placement belongs here."""
        tensors = [name for name in placement.tensors if name in self.tensors]
        return replace(placement, tensors=tensors, compute=self.layers)

    def model(self, graph: Graph, source: onnx.ModelProto) -> onnx.ModelProto:
        """Return the piece as a model of its own, with the constants of `source`."""
        read = {name for node in self.nodes for name in node.input}
        types = graph.types

        def value(name: str) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), None)

        piece = helper.make_graph(
            self.nodes,
            "piece",
            [value(name) for name in self.inputs],
            [value(name) for name in self.outputs],
            [tensor for tensor in source.graph.initializer if tensor.name in read],
        )
        return helper.make_model(piece, opset_imports=source.opset_import, ir_version=source.ir_version)


def _pieces(graph: Graph, placement: Placement) -> Iterator[_Piece]:
    layers = {node.name for node in placement.compute}
    shapes = _shape_nodes(graph)
    groups: list[list[onnx.NodeProto]] = [[]]
    for node in graph.nodes:
        if node.name in layers:
            groups.append([])
        if node.output[0] not in shapes:
            groups[-1].append(node)
    order = {node.output[0]: index for index, node in enumerate(graph.nodes)}
    groups = [
        sorted([*group, *_shapes_of(group, shapes)], key=lambda node: order[node.output[0]])
        for group in groups
        if group
    ]
    wanted_after: list[set[str]] = []
    wanted: set[str] = set()
    for group in reversed(groups):
        wanted_after.append(set(wanted))
        wanted |= _read_by(group, graph) - shapes.keys()
    for group, later in zip(groups, reversed(wanted_after), strict=True):
        made = {name for node in group for name in node.output}
        inputs = sorted(_read_by(group, graph) - made)
        yield _Piece(
            layers=[node for node in group if node.name in layers],
            nodes=group,
            inputs=inputs,
            outputs=sorted(made & later),
            last_used=[name for name in inputs if name not in later],
        )


def _read_by(nodes: list[onnx.NodeProto], graph: Graph) -> set[str]:
    return {name for node in nodes for name in node.input if name and not graph.is_constant(name)}


def _shape_nodes(graph: Graph) -> dict[str, onnx.NodeProto]:
    """Return the nodes that compute with shapes alone, by output.

    What they make depends on how many images there are, and has no axis that images could be joined
    along: each piece computes it for itself.
    """
    found: dict[str, onnx.NodeProto] = {}
    for node in graph.nodes:
        known = all(name in found or not name or graph.is_constant(name) for name in node.input)
        if known or node.op_type in ("Shape", "Size"):
            found |= dict.fromkeys(node.output, node)
    return found


def _shapes_of(group: list[onnx.NodeProto], shapes: dict[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the shape nodes that a group needs, and those that they need, in no order."""
    found: dict[str, onnx.NodeProto] = {}
    waiting = [name for node in group for name in node.input]
    while waiting:
        node = shapes.get(waiting.pop())
        if node is not None and node.output[0] not in found:
            found[node.output[0]] = node
            waiting.extend(node.input)
    return list(found.values())
