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
from edgecnn.quantize.graph.free_names import Names
from edgecnn.quantize.graph.index import Graph, attribute
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
_FLOAT, _HALF = "tensor(float)", "tensor(float16)"


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
    produced = [model.graph.input[0].name, *(name for node in model.graph.node for name in node.output)]
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
    result = onnx.ModelProto()
    result.CopyFrom(model)
    types = _types(result)
    if any(item.HasField("g") for node in result.graph.node for item in node.attribute):
        raise ArtifactError(
            "a graph with control flow has no float16 form",
            hint="export it in float32, or without If and Loop",
        )
    kept = _kept(Graph(result), types, extremes or {})
    writer = _Writer(result, types, kept)
    writer.write()
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
    """Gives every node the precision it needs, and makes each tensor in the other one where it is read."""

    def __init__(self, model: onnx.ModelProto, types: Mapping[str, int], kept: Mapping[str, str]) -> None:
        self._model = model
        self._types = types
        self._kept = kept
        self._opset = opset_of(model)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._names, self._casts = Names.of_tensors(model), Names.of_nodes(model)
        self._single: dict[str, str] = {}  # float32 tensor: its name in float32, once there is one
        self._half: dict[str, str] = {}  # and in float16
        self._halved: dict[str, TensorProto] = {}
        self._used: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []
        #: Tensors that somebody reads in float32.
        self._singles = {value.name for value in model.graph.output} | {
            name
            for node in model.graph.node
            for name, allowed in zip(node.input, self._formal(node)[0], strict=True)
            if node.name in kept or _HALF not in allowed
        }

    def write(self) -> None:
        """Rewrite the model in place."""
        graph = self._model.graph
        outputs = {value.name for value in graph.output}
        for value in graph.input:
            self._single[value.name] = value.name
        for node in list(graph.node):
            half = node.name not in self._kept
            inputs, results = self._formal(node)
            node.input[:] = [
                self._read(name, half and _HALF in allowed)
                for name, allowed in zip(node.input, inputs, strict=True)
            ]
            if half:
                _retype(node)
            # The copy is appended before its outputs are known: Casts of its inputs precede it.
            written = onnx.NodeProto.FromString(node.SerializeToString())
            self._nodes.append(written)
            for position, (name, allowed) in enumerate(zip(node.output, results, strict=True)):
                if self._types.get(name) != TensorProto.FLOAT or not name:
                    continue
                if not (half and _HALF in allowed):
                    self._single[name] = name
                elif name in outputs:
                    written.output[position] = self._half[name] = self._names.fresh(f"{name}_half")
                    self._cast(written.output[position], name, TensorProto.FLOAT)
                    self._single[name] = name
                else:
                    self._half[name] = name
        initializers = [
            *(tensor for name, tensor in self._constants.items() if name in self._used | outputs),
            *self._halved.values(),
        ]
        copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in initializers]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self._nodes)
        graph.initializer.extend(copies)

    def _formal(self, node: onnx.NodeProto) -> tuple[list[set[str]], list[set[str]]]:
        """Return the types that the operator allows for each of a node's inputs and outputs."""
        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, self._opset):
            unknown: set[str] = {_FLOAT}
            return [unknown] * len(node.input), [unknown] * len(node.output)
        schema = onnx.defs.get_schema(node.op_type, self._opset, "")
        inputs, results = (
            [set(formal[min(position, len(formal) - 1)].types) for position in range(count)]
            for formal, count in ((schema.inputs, len(node.input)), (schema.outputs, len(node.output)))
        )
        if node.op_type == "Resize":  # coordinates: float16 has no room for the pixels of a large image
            inputs[1:] = [allowed - {_HALF} for allowed in inputs[1:]]
        return inputs, results

    def _read(self, name: str, half: bool) -> str:
        """Return the name under which a tensor can be read in one precision; a Cast makes it if need be."""
        if not name or self._types.get(name) != TensorProto.FLOAT:
            self._used.add(name)
            return name
        if name in self._constants:
            return self._constant(name, half)
        known, other = (self._half, self._single) if half else (self._single, self._half)
        if name not in known:
            known[name] = self._names.fresh(f"{name}_{'half' if half else 'single'}")
            self._cast(other[name], known[name], TensorProto.FLOAT16 if half else TensorProto.FLOAT)
        return known[name]

    def _constant(self, name: str, half: bool) -> str:
        if not half:
            self._used.add(name)
            return name
        if name not in self._half:
            value = numpy_helper.to_array(self._constants[name])
            # Its own name, unless a node in float32 reads it as well.
            self._half[name] = self._names.fresh(f"{name}_half") if name in self._singles else name
            narrow = np.clip(value, -_LARGEST, _LARGEST).astype(np.float16)
            self._halved[name] = numpy_helper.from_array(narrow, self._half[name])
        return self._half[name]

    def _cast(self, source: str, result: str, to: int) -> None:
        name = f"{source}/to_float{'16' if to == TensorProto.FLOAT16 else '32'}"
        self._nodes.append(helper.make_node("Cast", [source], [result], name=self._casts.fresh(name), to=to))


def _retype(node: onnx.NodeProto) -> None:
    """Make float16 of the float32 that a node's attributes speak of, in place."""
    for item in node.attribute:
        if item.name in ("to", "dtype") and item.i == TensorProto.FLOAT:
            item.i = TensorProto.FLOAT16
        elif item.name == "value" and item.t.data_type == TensorProto.FLOAT:
            value = np.clip(numpy_helper.to_array(item.t), -_LARGEST, _LARGEST)
            item.t.CopyFrom(numpy_helper.from_array(value.astype(np.float16), item.t.name))
