"""A float16 graph with float32 at its ends, and wherever float16's range does not suffice.

Running the result on a CPU does not show whether it does: ONNX Runtime has few float16 kernels there and
computes chains of nodes in float32. So the range of every tensor is measured beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecnn.errors import ArtifactError
from edgecnn.quantize.graph.edit import copy_of, replace_nodes
from edgecnn.quantize.graph.free_names import Names
from edgecnn.quantize.graph.index import Graph, attribute, is_standard
from edgecnn.quantize.graph.not_finite import infinite_tensors
from edgecnn.quantize.graph.opset import opset_of
from edgecnn.quantize.placement.place import NOT_FINITE
from edgecnn.quantize.ranges import calibrate

_LARGEST = float(np.finfo(np.float16).max)
#: Measured values may reach this share of float16's largest. Images that were not measured go higher;
#: a factor of two is one step of the exponent. What a layer adds up inside needs no more room: GPUs
#: accumulate the products of float16 in float32 (CUDA C++ programming guide, warp matrix functions).
_HEADROOM = 2.0
#: Float16's smallest number with a full mantissa; a tensor that stays below it is coarse, or flushed to 0.
_SMALLEST = float(np.finfo(np.float16).tiny)
#: Squared error of a constant over its squared size; ten bits give about 1e-7, and subnormals more.
_MAX_ERROR = 1e-4
#: Operators that add up squares inside, where the graph shows no tensor of them: 182 squared, twice, leaves
#: the range. TensorRT warns of "FP16 Reduce or Pow" in a normalization; ONNX Runtime's TensorRT provider
#: computes such a Pow in float32 (github.com/microsoft/onnxruntime/pull/13639,
#: github.com/NVIDIA/TensorRT/issues/2781).
_SQUARING = (
    "LRN",
    "LayerNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "MeanVarianceNormalization",
    "LpNormalization",
    "LpPool",
    "GlobalLpPool",
    "ReduceL2",
)
#: Sources of numbers whose type stands in an attribute; they are no part of a network for inference.
_GENERATORS = ("RandomNormal", "RandomUniform", "Multinomial", "Bernoulli", "EyeLike")
_SINGLE, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16


@dataclass(frozen=True)
class Float16:
    """A float16 model, and the nodes that compute in float32."""

    model: onnx.ModelProto
    #: Node name: why it computes in float32.
    kept: dict[str, str]

    def notes(self) -> list[str]:
        """Return a line for each reason, with the first of the nodes that it keeps in float32."""
        by_reason: dict[str, list[str]] = {}
        for node, reason in self.kept.items():
            by_reason.setdefault(reason, []).append(node)
        return [
            f"{nodes[0]}{f' and {len(nodes) - 1} more' if nodes[1:] else ''} in float32: {reason}"
            for reason, nodes in by_reason.items()
        ]


def extremes(model: onnx.ModelProto, batches: Iterable[npt.NDArray[np.float32]]) -> dict[str, float]:
    """Return the largest magnitude of every float32 tensor over all batches, (N, C, H, W) float32.

    Raises DataError if there are no batches, or if values are not finite.
    """
    produced = [*Graph(model).inputs, *(name for node in model.graph.node for name in node.output)]
    types, infinite = _types(model), infinite_tensors(Graph(model))
    wanted = [name for name in produced if types.get(name) == TensorProto.FLOAT and name not in infinite]
    observers = calibrate.observe(model, wanted, batches)
    return {name: max(-item.minimum, item.maximum, 0.0) for name, item in observers.items()}


def to_float16(model: onnx.ModelProto, extremes: Mapping[str, float] | None = None) -> Float16:
    """Return a copy that computes in float16, with float32 inputs and outputs and Cast nodes between.

    TensorRT 11 knows no builder flag for float16: the precision has to stand in the graph. A node
    stays in float32 if a tensor at it leaves float16's range on real images (`extremes`: the
    largest magnitude of each tensor; without it only constants are looked at), if its constants do,
    or if it squares numbers too large for that. Inputs that an operator takes in float32 only, such as
    Resize's scales, stay so. Raises ArtifactError for a graph with control flow, or if shape inference fails.
    """
    result = copy_of(model)
    types = _types(result)
    if any(item.HasField("g") for node in result.graph.node for item in node.attribute):
        raise ArtifactError(
            "a graph with control flow has no float16 form",
            hint="export it in float32, or without If and Loop",
        )
    kept = _kept(Graph(result), types, extremes or {})
    _Writer(result, types, kept).write()
    return Float16(result, kept)


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every tensor that has one."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return {**types, **{tensor.name: tensor.data_type for tensor in model.graph.initializer}}


def _kept(graph: Graph, types: Mapping[str, int], extremes: Mapping[str, float]) -> dict[str, str]:
    kept = {}
    infinite = infinite_tensors(graph)
    for node in graph.nodes:
        floats = [name for name in (*node.input, *node.output) if types.get(name) == TensorProto.FLOAT]
        constants = [name for name in floats if graph.is_constant(name)]
        reasons = [
            NOT_FINITE if infinite.intersection(floats) else "",
            *(_out_of_range(name, extremes[name]) for name in floats if name in extremes),
            *(_ill_suited(node, name, graph.constant(name)) for name in constants),
            _squares(node, max((extremes.get(name, 0.0) for name in floats), default=0.0)),
            "its numbers are float32" if node.op_type in _GENERATORS else "",
        ]
        reason = next((reason for reason in reasons if reason), None)
        if reason:
            kept[node.name] = reason
    return kept


def _out_of_range(tensor: str, largest: float) -> str:
    if largest * _HEADROOM > _LARGEST:
        return f"{tensor} reaches {largest:.3g}, too near float16's {_LARGEST:.0f}"
    if 0 < largest < _SMALLEST:
        return f"{tensor} stays below {largest:.1e}, where float16 is coarse"
    return ""


def _squares(node: onnx.NodeProto, largest: float) -> str:
    """Return why a node's inner sum of squares is no float16; empty if it is or there is none."""
    summed = attribute(node, "size", 1)  # an LRN's; for the others the output shows what was summed
    if node.op_type in _SQUARING and summed * largest**2 * _HEADROOM > _LARGEST:
        return f"{node.op_type} adds up the squares of numbers as large as {largest:.3g}"
    return ""


def _ill_suited(node: onnx.NodeProto, name: str, value: npt.NDArray[np.float32]) -> str:
    """Return why a node's constant is no float16; empty if it can be one."""
    if node.op_type in ("Clip", "Pad"):
        return ""  # a bound beyond the range does as much at the range's end
    largest = float(np.abs(value).max(initial=0))
    if largest > _LARGEST:
        return f"weight {name} reaches {largest:.3g}, beyond float16's {_LARGEST:.0f}"
    # A bias is added to far larger sums: only its size counts, not how many digits of it are kept.
    if node.op_type in ("Conv", "ConvTranspose", "Gemm") and name in list(node.input)[2:]:
        return ""
    exact = value.astype(np.float64)
    error = float(np.sum(np.square(exact - value.astype(np.float16))))
    if error > _MAX_ERROR * float(np.sum(np.square(exact))):
        return f"weight {name} holds numbers as small as {largest:.1e}, where float16 is coarse"
    return ""


class _Writer:
    """Gives every node the precision that it needs, and the tensors that it reads in that precision.

    A float32 tensor of the model has up to two forms, which `_forms` names: the one in which it is made, and
    the other, which a Cast makes of it for the first node that reads it so. A constant's other form is a
    constant.
    """

    def __init__(self, model: onnx.ModelProto, types: Mapping[str, int], kept: Mapping[str, str]) -> None:
        graph = model.graph
        self._model, self._types, self._kept = model, types, kept
        self._opset = opset_of(model)
        self._tensor_names, self._node_names = Names.of_tensors(model), Names.of_nodes(model)
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._outputs = {value.name for value in graph.output}
        given = [*(value.name for value in graph.input), *self._constants]
        self._forms: dict[int, dict[str, str]] = {_SINGLE: dict(zip(given, given, strict=True)), _HALF: {}}
        #: Tensors that somebody reads in float32.
        self._read_single = self._outputs | {
            name
            for node in graph.node
            for name, precision in zip(node.input, self._precisions(node)[0], strict=True)
            if precision == _SINGLE
        }
        self._nodes: list[onnx.NodeProto] = []
        self._half_constants: list[TensorProto] = []

    def write(self) -> None:
        """Rewrite the model in place."""
        for node in self._model.graph.node:
            takes, gives = self._precisions(node)
            node.input[:] = [self._read(*pair) for pair in zip(node.input, takes, strict=True)]
            if node.name not in self._kept:
                _retype(node)
            self._nodes.append(node)
            for position, precision in enumerate(gives):
                if self._is_float(node.output[position]):
                    self._make(node, position, precision)
        graph = self._model.graph
        read = self._outputs | {name for node in self._nodes for name in node.input}
        halves = {tensor.name for tensor in self._half_constants}
        singles = [tensor for name, tensor in self._constants.items() if name in read - halves]
        constants = [TensorProto.FromString(tensor.SerializeToString()) for tensor in singles]
        replace_nodes(self._model, self._nodes)
        del graph.initializer[:], graph.value_info[:]
        graph.initializer.extend([*constants, *self._half_constants])

    def _precisions(self, node: onnx.NodeProto) -> tuple[list[int], list[int]]:
        """Return the precision in which a node takes each float32 input, and gives each such output."""
        inputs: list[int] = [_SINGLE] * len(node.input)
        outputs: list[int] = [_SINGLE] * len(node.output)
        known = is_standard(node) and onnx.defs.has(node.op_type, self._opset)
        if node.name in self._kept or not known:
            return inputs, outputs
        schema = onnx.defs.get_schema(node.op_type, self._opset, "")
        for precisions, formal in ((inputs, schema.inputs), (outputs, schema.outputs)):
            for position in range(len(precisions)):
                if "tensor(float16)" in formal[min(position, len(formal) - 1)].types:
                    precisions[position] = _HALF
        if node.op_type == "Resize":  # coordinates: float16 has no room for the pixels of a large image
            inputs[1:] = [_SINGLE] * len(inputs[1:])
        return inputs, outputs

    def _is_float(self, name: str) -> bool:
        return bool(name) and self._types.get(name) == TensorProto.FLOAT

    def _read(self, name: str, precision: int) -> str:
        """Return the name under which a tensor can be read in one precision, after making it if need be."""
        if not self._is_float(name):
            return name
        forms = self._forms[precision]
        if name not in forms and name in self._constants:
            forms[name] = self._half_constant(name)
        elif name not in forms:
            forms[name] = self._tensor_names.fresh(f"{name}_{'half' if precision == _HALF else 'single'}")
            self._cast(self._forms[_SINGLE if precision == _HALF else _HALF][name], forms[name], precision)
        return forms[name]

    def _make(self, node: onnx.NodeProto, position: int, precision: int) -> None:
        """Note in which form a node makes an output; the graph's own outputs are float32."""
        name = node.output[position]
        self._forms[precision][name] = name
        if precision == _HALF and name in self._outputs:
            self._forms[_HALF][name] = node.output[position] = self._tensor_names.fresh(f"{name}_half")
            self._cast(node.output[position], name, _SINGLE)
            self._forms[_SINGLE][name] = name

    def _half_constant(self, name: str) -> str:
        """Store a constant in float16; return its name: its own, unless a node reads it in float32, too."""
        half = self._tensor_names.fresh(f"{name}_half") if name in self._read_single else name
        value = np.clip(numpy_helper.to_array(self._constants[name]), -_LARGEST, _LARGEST)
        self._half_constants.append(numpy_helper.from_array(value.astype(np.float16), half))
        return half

    def _cast(self, source: str, result: str, to: int) -> None:
        name = self._node_names.fresh(f"{source}/to_float{'16' if to == _HALF else '32'}")
        self._nodes.append(helper.make_node("Cast", [source], [result], name=name, to=to))


def _retype(node: onnx.NodeProto) -> None:
    """Make float16 of the float32 that a node's attributes speak of, in place."""
    for item in node.attribute:
        if item.name in ("to", "dtype") and item.i == TensorProto.FLOAT:
            item.i = TensorProto.FLOAT16
        elif item.name == "value" and item.t.data_type == TensorProto.FLOAT:
            value = np.clip(numpy_helper.to_array(item.t), -_LARGEST, _LARGEST)
            item.t.CopyFrom(numpy_helper.from_array(value.astype(np.float16), item.t.name))
