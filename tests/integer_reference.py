"""What an int8 file of ours means, computed in integers and float64: a reference for the engines.

Each quantized layer is computed by itself from the codes that it reads, so that errors do not add up:
codes less zero point times int8 weights are summed in int64, exactly; the sum, with its bias, an int32 or
made one as ONNX Runtime does, is rescaled by real factors in float64; activations, sums of tensors and
poolings follow in float64; the result is divided by the output's scale, rounded half to even, moved by
its zero point and saturated (ONNX operator specification, QuantizeLinear). An engine that rescales in
float32 differs by one step at most, and only where a value lies very near the middle between two codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.weighted_layer import WeightedLayer

Array = npt.NDArray[Any]


def codes_of(model: onnx.ModelProto) -> list[str]:
    """Return the names of the quantized tensors, in the graph's order."""
    return [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]


def layers(model: onnx.ModelProto, given: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Yield each quantized tensor's name and its codes, computed from `given`.

    `given` holds the graph's inputs and the codes of all quantized tensors as an engine had them.
    """
    graph = Graph(model)
    for node in graph.nodes:
        if node.op_type == "QuantizeLinear":
            scale, zero = (graph.constant(name) for name in node.input[1:])
            limits = np.iinfo(zero.dtype)
            if node.input[0] in graph.inputs:
                # Pixels can all lie in the middle between two codes, as those over -1..1 do in 255 steps:
                # the operator divides float32 by float32, and only that decides as it does.
                steps = given[node.input[0]] / scale
            else:
                steps = _Layer(graph, given).real(node.input[0]) / np.float64(scale)
            codes = np.rint(steps) + int(zero)
            yield node.output[0], np.clip(codes, limits.min, limits.max).astype(zero.dtype)


def outputs(model: onnx.ModelProto, given: Mapping[str, Array]) -> list[Array]:
    """Return the graph's outputs in float64, each computed from the codes before it."""
    graph = Graph(model)
    return [_Layer(graph, given).real(name) for name in graph.outputs]


class _Layer:
    """All nodes between codes and codes."""

    def __init__(self, graph: Graph, given: Mapping[str, Array]) -> None:
        self.graph, self.given = graph, given
        self._known: dict[str, Array] = {}

    def real(self, tensor: str) -> Array:
        """Return a tensor's real values in float64; shapes and axes as they are."""
        if tensor not in self._known:
            self._known[tensor] = self._compute(tensor)
        return self._known[tensor]

    def integers(self, tensor: str) -> tuple[Array, Array]:
        """Return codes less zero point in int64, and the scale, of what a DequantizeLinear gives."""
        node = self.graph.producer(tensor)
        assert node is not None and node.op_type == "DequantizeLinear", f"{tensor} is not quantized"
        codes = (
            self.graph.constant(node.input[0]) if self._constant(node.input[0]) else self.given[node.input[0]]
        )
        scale, zero = (self.graph.constant(name) for name in node.input[1:])
        if scale.ndim:
            axis = helper.get_attribute_value(node.attribute[0]) % codes.ndim
            scale, zero = (_along(value, axis, codes.ndim) for value in (scale, zero))
        return codes.astype(np.int64) - zero.astype(np.int64), scale.astype(np.float64)

    def _constant(self, tensor: str) -> bool:
        return self.graph.is_constant(tensor)

    def _compute(self, tensor: str) -> Array:
        if self._constant(tensor):
            value = np.asarray(self.graph.constant(tensor))
            return value.astype(np.float64) if value.dtype.kind == "f" else value
        node = self.graph.producer(tensor)
        if node is None:
            return self.given[tensor].astype(np.float64)
        if node.op_type == "DequantizeLinear":
            codes, scale = self.integers(tensor)
            return np.asarray(codes * scale)
        settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        assert settings.get("auto_pad", b"NOTSET") == b"NOTSET" and not settings.get("ceil_mode")
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            return self._weighted(node, settings)
        read = [self.real(name) if name else None for name in node.input]
        results = _OPERATORS[node.op_type](settings, *read)
        if not isinstance(results, list):
            results = [results]
        return np.asarray(results[list(node.output).index(tensor)])

    def _becomes_codes(self, tensor: str) -> bool:
        """Return whether all that stands between a layer's output and its codes is what clips.

        ONNX Runtime then makes an int32 of a bias that the file holds as float, in steps of the input's scale
        times the weight's (its WeightBiasQuantization). Where these are coarse beside the output's
        steps, that moves codes; a kernel has no part in it.
        """
        readers = self.graph.consumers(tensor)
        if len(readers) != 1 or readers[0].op_type not in ("Relu", "Clip", "QuantizeLinear"):
            return False
        return readers[0].op_type == "QuantizeLinear" or self._becomes_codes(readers[0].output[0])

    def _weighted(self, node: onnx.NodeProto, settings: Mapping[str, Any]) -> Array:
        """Return a weighted sum: exact in integers, then times both scales, and the bias."""
        source = self.graph.producer(node.input[1])
        if node.op_type == "Conv" and self._constant(node.input[1]) and node.input[0] in self.graph.inputs:
            # A first layer that is faster in float.
            sums = _convolve(*(self.real(name) for name in node.input[:2]), settings)
            return sums + (_along(self.real(node.input[2]), 1, 4) if len(node.input) > 2 else 0)
        if source is None or source.op_type != "DequantizeLinear":
            raise AssertionError(f"{node.name} is no integer layer")
        (codes, scale), (weight, weight_scale) = (self.integers(name) for name in node.input[:2])
        axis = WeightedLayer(node, weight.shape).output_axis
        if node.op_type == "Conv":
            sums = _convolve(codes, weight, settings)
        else:
            sums = codes @ (weight.T if settings.get("transB") else weight)
        channels = 1 if node.op_type == "Conv" else sums.ndim - 1
        per_channel = np.moveaxis(weight_scale, axis, 0).ravel()
        assert scale.ndim == 0 and per_channel.size == weight.shape[axis]
        result = sums * _along(scale * per_channel, channels, sums.ndim)
        if len(node.input) > 2 and node.input[2]:
            bias = self.real(node.input[2]).ravel()
            if self._constant(node.input[2]) and self._becomes_codes(node.output[0]):
                step = scale * per_channel
                bias = np.rint(bias / step) * step
            result = result + _along(bias, channels, sums.ndim)
        return np.asarray(result)


def _along(values: Array, axis: int, ndim: int) -> Array:
    return values.reshape([-1 if index == axis else 1 for index in range(ndim)])


def _windows(values: Array, kernel: list[int], settings: Mapping[str, Any], fill: float) -> Array:
    """Return (N, C, H', W', kh, kw): what the kernel sees at each position."""
    top, left, bottom, right = settings.get("pads", [0] * 4)
    steps, spread = settings.get("strides", [1, 1]), settings.get("dilations", [1, 1])
    padded = np.pad(values, [(0, 0), (0, 0), (top, bottom), (left, right)], constant_values=fill)
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, spread, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    return seen[:, :, :: steps[0], :: steps[1], :: spread[0], :: spread[1]]


def _convolve(codes: Array, weight: Array, settings: Mapping[str, Any]) -> Array:
    groups = settings.get("group", 1)
    seen = _windows(codes, list(weight.shape[2:]), settings, 0)
    batch, channels, height, width = seen.shape[:4]
    inner = math.prod(weight.shape[1:])
    seen = seen.reshape(batch, groups, channels // groups, height, width, *weight.shape[2:])
    columns = seen.transpose(0, 1, 3, 4, 2, 5, 6).reshape(batch, groups, height * width, inner)
    sums = columns @ weight.reshape(groups, -1, inner).transpose(0, 2, 1)
    return np.asarray(sums.transpose(0, 1, 3, 2).reshape(batch, weight.shape[0], height, width))


def _max_pool(settings: Mapping[str, Any], x: Array) -> Array:
    return np.asarray(_windows(x, settings["kernel_shape"], settings, -np.inf).max(axis=(4, 5)))


def _average_pool(settings: Mapping[str, Any], x: Array) -> Array:
    inside = np.ones_like(x) if not settings.get("count_include_pad") else None
    total = _windows(x, settings["kernel_shape"], settings, 0).sum(axis=(4, 5))
    if inside is None:
        return np.asarray(total / math.prod(settings["kernel_shape"]))
    return np.asarray(total / _windows(inside, settings["kernel_shape"], settings, 0).sum(axis=(4, 5)))


def _clip(_: Mapping[str, Any], x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    return np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)


def _reshape(_: Mapping[str, Any], x: Array, shape: Array) -> Array:
    return x.reshape([x.shape[index] if size == 0 else size for index, size in enumerate(shape)])


def _split(settings: Mapping[str, Any], x: Array, parts: Array | None = None) -> list[Array]:
    axis = settings.get("axis", 0)
    return np.split(x, settings["num_outputs"] if parts is None else np.cumsum(parts)[:-1], axis=axis)


def _slice(_: Mapping[str, Any], x: Array, start: Array, end: Array, axes: Array, *steps: Array) -> Array:
    index = [slice(None)] * x.ndim
    for number, axis in enumerate(axes):
        index[axis] = slice(start[number], end[number], steps[0][number] if steps else None)
    return x[tuple(index)]


def _sigmoid(_: Mapping[str, Any], x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _hard_sigmoid(settings: Mapping[str, Any], x: Array) -> Array:
    return np.clip(settings.get("alpha", 0.2) * x + settings.get("beta", 0.5), 0, 1)


_OPERATORS: dict[str, Callable[..., Any]] = {
    "Relu": lambda _, x: np.maximum(x, 0),
    "Clip": _clip,
    "LeakyRelu": lambda settings, x: np.where(x < 0, settings.get("alpha", 0.01) * x, x),
    "Sigmoid": _sigmoid,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda _, x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Add": lambda _, a, b: a + b,
    "Mul": lambda _, a, b: a * b,
    "Concat": lambda settings, *parts: np.concatenate(parts, axis=settings["axis"]),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda _, x: x.mean(axis=(2, 3), keepdims=True),
    "ReduceMean": lambda settings, x, axes: x.mean(
        axis=tuple(axes), keepdims=bool(settings.get("keepdims", 1))
    ),
    "Flatten": lambda settings, x: x.reshape(math.prod(x.shape[: settings.get("axis", 1)]), -1),
    "Reshape": _reshape,
    "Transpose": lambda settings, x: x.transpose(settings["perm"]),
    "Squeeze": lambda _, x, axes: x.squeeze(tuple(axes)),
    "Unsqueeze": lambda _, x, axes: np.expand_dims(x, tuple(axes)),
    "Identity": lambda _, x: x,
    "Split": _split,
    "Slice": _slice,
    "Cast": lambda _, x: x.astype(np.float64),
}
