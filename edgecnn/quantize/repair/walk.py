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

from edgecnn.quantize import qdq
from edgecnn.quantize.graph import Graph, batch_of, sizes
from edgecnn.quantize.patterns import clip_bounds
from edgecnn.quantize.placement import Placement
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.weights import QuantizedWeight
from edgecnn.runtime.ort import open_session, run_session
from edgecnn.targets import Scheme

Array = npt.NDArray[np.float32]
#: Images that go through a piece of a network at a time: few, so that its own tensors stay in the caches.
_CHUNK = 4
#: Bytes that the kept tensors may take, and how many of the largest size there are at a time.
_MEMORY = 4 << 30
_KEPT_TENSORS = 6


@dataclass(frozen=True)
class Repaired:
    """A weighted layer's new parameters. What is None stays as it was."""

    weight: QuantizedWeight | None = None
    bias: Array | None = None


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
        following = self.graph.only_consumer(self.node.output[0])
        return None if following is None else clip_bounds(self.graph, following)

    @property
    def input_scale(self) -> float:
        """Step of the input's range."""
        return float(qdq.scale_and_zero(*self.range, self.scheme)[0])

    def quantized_input(self, values: Array) -> Array:
        """Return input values as the layer sees them: rounded to the steps of the input's range."""
        scale, zero = qdq.scale_and_zero(*self.range, self.scheme)
        info = np.iinfo(zero.dtype)
        steps = np.rint(values / scale)
        steps += np.float32(zero)
        np.clip(steps, info.min, info.max, out=steps)
        steps -= np.float32(zero)
        steps *= scale
        return steps


def affordable(model: onnx.ModelProto) -> int:
    """Return how many images a walk may keep of a network, at least 8, a multiple of its batch.

    The two networks keep a few tensors each for all images, the largest ones included.
    """
    largest = max(sizes(model).values(), default=1)
    count = max(8, _MEMORY // (_KEPT_TENSORS * 4 * max(1, largest)))
    batch = batch_of(model)
    return count if batch is None else max(1, count // batch) * batch


def walk(
    model: onnx.ModelProto,
    placement: Placement,
    ranges: Mapping[str, Range],
    scheme: Scheme,
    images: Array,
    repair: Callable[[Layer], Repaired],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[onnx.ModelProto, dict[str, QuantizedWeight]]:
    """Call `repair` for each quantized layer in the graph's order.

    Returns the float model with the new biases, and the new integer weights by node. `images` is
    one input of the model, (N, C, H, W); what both networks keep of it at a time grows with N.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = Graph(result)
    weights: dict[str, QuantizedWeight] = {}
    exact = {graph.inputs[0]: images}
    inexact = dict(exact)
    pieces = list(_pieces(graph, placement))
    # Parts of one size: of a tensor whose first axis counts something else, each image's share depends on it.
    part = batch_of(model) or max(size for size in range(1, _CHUNK + 1) if len(images) % size == 0)
    pool = _Pool(len(images) // part)
    for index, piece in enumerate(pieces):
        progress(index, len(pieces))
        if piece.layer is not None:
            source = piece.layer.input[0]
            layer = Layer(piece.layer, graph, exact[source], inexact[source], ranges[source], scheme)
            repaired = repair(layer)
            if repaired.weight is not None:
                weights[piece.layer.name] = repaired.weight
            if repaired.bias is not None:
                graph.set_constant(piece.layer.input[2], repaired.bias)
            del layer
        plain = piece.model(graph, model)
        repaired_plain = piece.model(graph, result)
        local = replace(
            placement,
            tensors=[name for name in placement.tensors if name in piece.tensors],
            compute=[piece.layer] if piece.layer is not None else [],
        )
        quantized = qdq.insert(repaired_plain, local, ranges, scheme, weights)
        pool.advance(plain, exact, piece.last_used)
        pool.advance(quantized, inexact, piece.last_used)
    return result, weights


@dataclass(frozen=True)
class _Piece:
    """A weighted layer and all nodes up to the next one, with the shapes that they read."""

    layer: onnx.NodeProto | None
    nodes: list[onnx.NodeProto]
    inputs: list[str]
    outputs: list[str]
    #: Tensors that nothing after this piece reads.
    last_used: list[str]

    @property
    def tensors(self) -> set[str]:
        return {name for node in self.nodes for name in (*node.input, *node.output)}

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
            layer=next((node for node in group if node.name in layers), None),
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


class _Pool:
    """Memory for tensors of all the images. Fresh pages cost more than the arithmetic done on them.

    The images go through a network in `parts` of one size, and what a part gives is appended to a tensor
    along its first axis, whatever that axis counts: images, or steps of a sequence, or heads of an attention.
    """

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._free: list[npt.NDArray[np.uint8]] = []
        self._in_use: dict[str, npt.NDArray[np.uint8]] = {}

    def advance(self, piece: onnx.ModelProto, values: dict[str, Array], last_used: list[str]) -> None:
        """Compute a piece's outputs from `values`, add them there, and drop what is no longer read."""
        names = [value.name for value in piece.graph.output]
        if names:
            session = open_session(piece.SerializeToString())
            inputs = [value.name for value in piece.graph.input]
            outputs: dict[str, Array] = {}
            for index in range(self._parts):
                feeds = {name: self._part(values[name], index) for name in inputs}
                found = run_session(session, names, feeds)
                for name, value in zip(names, map(np.atleast_1d, found), strict=True):
                    if name not in outputs:
                        outputs[name] = self._take(str(id(values)) + name, value)
                    self._part(outputs[name], index)[...] = value
            values.update(outputs)
        for name in last_used:
            values.pop(name, None)
            if (buffer := self._in_use.pop(str(id(values)) + name, None)) is not None:
                self._free.append(buffer)

    def _part(self, value: Array, index: int) -> Array:
        """Return the view of one part of a tensor of all the images."""
        size = len(value) // self._parts
        return value[index * size : (index + 1) * size]

    def _take(self, key: str, part: Array) -> Array:
        """Return room for as many tensors like `part` as there are parts."""
        shape = (self._parts * part.shape[0], *part.shape[1:])
        size = math.prod(shape) * part.dtype.itemsize
        fitting = [buffer for buffer in self._free if buffer.nbytes >= size]
        if fitting:
            buffer = min(fitting, key=lambda buffer: buffer.nbytes)
            self._free = [other for other in self._free if other is not buffer]
        else:
            buffer = np.empty(size, np.uint8)
        self._in_use[key] = buffer
        return buffer[:size].view(part.dtype).reshape(shape)
