"""Take an int8 file of ours apart again, and write it in the form of another scheme without images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.errors import ArtifactError
from edgecnn.quantize.graph import front_end
from edgecnn.quantize.graph.edit import Editor, drop_unread, replace_nodes
from edgecnn.quantize.graph.free_names import is_ours
from edgecnn.quantize.graph.front_end import FrontEnd
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.weighted_layer import WeightedLayer, along
from edgecnn.quantize.placement import write_qdq
from edgecnn.quantize.placement.chosen_nodes import ChosenNodes
from edgecnn.quantize.placement.integer_weights import QuantizedWeight
from edgecnn.quantize.placement.place import Placement, place
from edgecnn.quantize.placement.shared_scales import place_by_ranges
from edgecnn.quantize.ranges.range_methods import Range
from edgecnn.schemes import SCHEMES, Scheme

_HINT = "quantize the float model that it was made from"
_PAIR = ("QuantizeLinear", "DequantizeLinear")
#: Operators that compute on integers by themselves; `write_qdq.insert` writes none.
_INTEGER = frozenset({"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QGemm", "QAttention"})
#: Type of a zero point: whether the ranges are symmetric.
_SYMMETRIC = {np.dtype(scheme.activation): scheme.symmetric for scheme in SCHEMES}


@dataclass(frozen=True)
class Stripped:
    """A float model, and what of an int8 file it does not hold."""

    #: Without Q/DQ pairs and without a front end. Weights and biases are float32, integer times scale.
    model: onnx.ModelProto
    #: Integer weights by the name of the node that reads them.
    weights: dict[str, QuantizedWeight]
    #: Range of every tensor that had a pair; gives back that pair's scale and zero point exactly.
    ranges: dict[str, Range]
    #: Whether the pairs' ranges are symmetric; None where there were no pairs.
    symmetric: bool | None
    #: What turned raw frames into the input, to be put back by `front_end.attach`.
    front: FrontEnd | None


def strip(model: onnx.ModelProto) -> Stripped:
    """Undo `write_qdq.insert`, and take a front end for uint8 frames off.

    Nodes and tensors have the names from before; only the constants of quantized layers are named
    `NODE/weight` and `NODE/bias`, since two nodes may have read one constant. Biases are exact up to
    22 bits, and beyond that to float32's precision. A float model comes back as it is.

    Raises ArtifactError for a quantized file that `write_qdq.insert` did not write.
    """
    result, front = front_end.detach(model)
    reader = _Reader(result)
    nodes = [node for node in reader.graph.nodes if node.op_type not in _PAIR]
    if len(nodes) == len(reader.graph.nodes):
        return Stripped(result, {}, {}, None, front)
    for node in nodes:
        for position, name in enumerate(node.input):
            if name in reader.plain:
                node.input[position] = reader.plain[name]
            elif name in reader.stored:
                node.input[position] = reader.take_back(node, position)
    replace_nodes(result, nodes)
    drop_unread(result)
    return Stripped(result, reader.weights, reader.ranges, reader.symmetric, front)


def to_scheme(
    model: onnx.ModelProto, quantization: Mapping[str, Any], scheme: Scheme
) -> tuple[onnx.ModelProto, Placement]:
    """Write an int8 model of ours in the form of `scheme`, with the same integer weights if it takes them.

    Those with more bits than `scheme` has are rounded once more. `quantization` is the manifest's: it holds
    the scheme of the model, the ranges for every scheme, and the layers that are left float, which stay so.
    Metadata and a front end for uint8 frames are kept.
    Raises ArtifactError for a model that is not ours, or whose manifest lacks the range of a tensor.
    """
    parts = strip(model)
    if parts.symmetric is None:
        raise ArtifactError("the model is not quantized", hint="edgecnn quantize MODEL.onnx does that")
    graph = Graph(parts.model)
    written = next((known for known in SCHEMES if known.name == quantization.get("scheme")), None)
    if written is None:
        raise ArtifactError("the manifest does not say by which scheme the model is quantized", hint=_HINT)
    asked = ChosenNodes.from_json(quantization).float_nodes(graph)
    kept_float = exclusions(graph, quantization.get("float_nodes", {}), written, asked)
    placement = _placed(graph, scheme, kept_float, quantization)
    if scheme.name == written.name and set(placement.tensors) == set(parts.ranges):
        ranges = parts.ranges
    else:
        ranges = stored_ranges(quantization, placement, scheme)
    weights = {name: of for name, of in parts.weights.items() if of.largest <= scheme.weight_limit}
    result = write_qdq.insert(parts.model, placement, ranges, scheme, weights)
    if parts.front is not None:
        result = front_end.attach(result, parts.front)
    return result, placement


def _placed(
    graph: Graph, scheme: Scheme, exclude: Mapping[str, str], quantization: Mapping[str, Any]
) -> Placement:
    """Return the placement by the manifest's ranges, of those that it has a range for every tensor of.

    Files from before tensors of far apart ranges had scales of their own have them only for shared ones.
    """
    known = {
        name: of[scheme.name] for name, of in quantization.get("ranges", {}).items() if scheme.name in of
    }
    placement = place_by_ranges(graph, scheme, exclude, known)
    return placement if known.keys() >= set(placement.observed) else place(graph, scheme, exclude)


def stored_ranges(quantization: Mapping[str, Any], placement: Placement, scheme: Scheme) -> dict[str, Range]:
    """Return the ranges of a placement's tensors from a manifest; raises ArtifactError for one it lacks."""
    known = quantization.get("ranges", {})
    found: dict[str, Range] = {}
    for name in placement.observed:
        try:
            low, high = known[name][scheme.name]
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"the manifest holds no range of tensor {name!r} for the {scheme.name} scheme", hint=_HINT
            ) from error
        found[name] = (float(low), float(high))
    return placement.ranges(found)


def exclusions(
    graph: Graph, float_nodes: Mapping[str, str], scheme: Scheme, asked: Mapping[str, str] = {}
) -> dict[str, str]:
    """Return which of the nodes that are float under `scheme` were excluded by choice, with their rules.

    The table of patterns leaves others float by itself, and so do excluded neighbours: what is returned
    is `asked`, which a user asked for, and beside it a least set from which all of `float_nodes` follow.
    """
    names = {node.name for node in graph.nodes}
    by_table = place(graph, scheme, asked).float_nodes
    chosen = {
        name: rule for name, rule in float_nodes.items() if name in names and by_table.get(name) != rule
    }
    for name in list(chosen):
        others = {other: rule for other, rule in chosen.items() if other != name}
        if place(graph, scheme, {**asked, **others}).float_nodes == dict(float_nodes):
            chosen = others
    return {**asked, **chosen}


class _Reader:
    """Reads pairs and integer constants by the rules that `write_qdq.insert` writes them by."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._editor = Editor(model)
        self.graph = self._editor.graph
        #: What a DequantizeLinear gives: the tensor that was quantized.
        self.plain: dict[str, str] = {}
        #: What a DequantizeLinear of a constant gives: that node.
        self.stored: dict[str, onnx.NodeProto] = {}
        self.weights: dict[str, QuantizedWeight] = {}
        self.ranges: dict[str, Range] = {}
        self.symmetric: bool | None = None
        for node in self.graph.nodes:
            if node.op_type.startswith("QLinear") or node.op_type in _INTEGER:
                raise _foreign(f"it has a {node.op_type} instead of Q/DQ pairs")
            if node.op_type == "QuantizeLinear":
                self._quantize(node)
            elif node.op_type == "DequantizeLinear":
                self._dequantize(node)

    def _constants(self, node: onnx.NodeProto) -> list[npt.NDArray[Any]]:
        """Return scale and zero point of a node of a pair."""
        if len(node.input) != 3 or not all(self.graph.is_constant(name) for name in node.input[1:]):
            raise _foreign(f"{node.name or node.op_type} has no constant scale and zero point")
        return [self.graph.constant(name) for name in node.input[1:]]

    def _quantize(self, node: onnx.NodeProto) -> None:
        tensor = node.input[0]
        scale, zero = self._constants(node)
        symmetric = _SYMMETRIC.get(zero.dtype)
        if symmetric is None:
            raise _foreign(f"{tensor!r} is quantized to {zero.dtype}")
        if scale.ndim or zero.ndim:
            raise _foreign(f"{tensor!r} has more than one scale")
        if not is_ours(node.name, f"{tensor}/quantize"):
            raise _foreign(f"its pairs have other names: {node.name!r} quantizes {tensor!r}")
        if self.symmetric not in (None, symmetric) or (symmetric and zero):
            raise _foreign(f"{tensor!r} follows no scheme: zero point {zero.item()} of type {zero.dtype}")
        self.symmetric = symmetric
        # In float64 the ends are exact, and so is what `qdq.scale_and_zero` makes of them.
        step = float(scale)
        if symmetric:
            self.ranges[tensor] = (-127 * step, 127 * step)
        else:
            self.ranges[tensor] = (-int(zero) * step, (255 - int(zero)) * step)

    def _dequantize(self, node: onnx.NodeProto) -> None:
        producer = self.graph.producer(node.input[0])
        if producer is not None and producer.op_type == "QuantizeLinear":
            self.plain[node.output[0]] = producer.input[0]
            return
        if not self.graph.is_constant(node.input[0]):
            raise _foreign(f"{node.name or node.op_type} reads {node.input[0]!r}, which nothing quantizes")
        scale, zero = self._constants(node)
        if (
            zero.dtype == np.uint8
            and not scale.ndim
            and is_ours(node.name, f"{self.graph.consumers(node.output[0])[0].name}/constant/dequantize")
        ):
            self.stored[node.output[0]] = node
            return
        if scale.ndim != 1:
            raise _foreign(f"the weights {node.input[0]!r} have one scale for all channels")
        if zero.any():
            raise _foreign(f"the weights {node.input[0]!r} have a zero point")
        if zero.dtype not in (np.int8, np.int32):
            raise _foreign(f"the weights {node.input[0]!r} are {zero.dtype}")
        self.stored[node.output[0]] = node

    def take_back(self, node: onnx.NodeProto, position: int) -> str:
        """Store the weight or bias of a node as float32; return its name. Keeps the integers of a weight."""
        stored = self.stored[node.input[position]]
        kind = {1: "weight", 2: "bias"}.get(position)
        if node.op_type in ("Add", "Mul"):
            kind = "constant"
        if kind is None or not is_ours(stored.name, f"{node.name}/{kind}/dequantize"):
            raise _foreign(f"its constants have other names: {node.name!r} reads {stored.name!r}")
        if kind == "constant":
            codes, step, zero = (self.graph.constant(name) for name in stored.input)
            value = (codes.astype(np.float32) - zero.astype(np.float32)) * step
            return self._editor.add_constant(f"{node.name}/{kind}", value)
        values, scale = (self.graph.constant(name) for name in stored.input[:2])
        axis = WeightedLayer(node, values.shape).output_axis if kind == "weight" else 0
        if kind == "weight":
            self.weights[node.name] = QuantizedWeight(values.astype(np.int8, copy=False), scale, axis)
        exact = values.astype(np.float64) * along(scale, axis, values.ndim)
        return self._editor.add_constant(f"{node.name}/{kind}", exact.astype(np.float32))


def _foreign(why: str) -> ArtifactError:
    return ArtifactError(f"this int8 file was not written by edgecnn: {why}", hint=_HINT)
