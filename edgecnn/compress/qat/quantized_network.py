"""An int8 network in training: from what the quantizer made, and back to a file.

The graph that runs is the int8 file's own, with learned steps in place of its QuantizeLinear and
DequantizeLinear nodes. Where pairs stand, and which layers stay float, is thus decided in one place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from edgecnn.compress.qat.fake_quantize import ActivationQuantizer, BiasQuantizer, Constant, WeightQuantizer
from edgecnn.compress.qat.graph_module import GraphModule
from edgecnn.quantize.escalate import TRAINING
from edgecnn.quantize.graph.edit import Editor, copy_of
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.patterns import clip_bounds
from edgecnn.quantize.graph.weighted_layer import WeightedLayer
from edgecnn.quantize.placement import write_qdq
from edgecnn.quantize.placement.integer_weights import QuantizedWeight
from edgecnn.quantize.quantized import Quantized
from edgecnn.quantize.ranges import range_methods
from edgecnn.quantize.ranges.range_methods import Range

#: How far from the middle of its step a weight starts at most, in steps. At the border between two integers
#: the least gradient would flip it, and refitted weights lie beyond it.
_OFF_CENTRE = 0.25


class QuantizedModule(GraphModule):
    """Computes what the int8 file `quantized.model` computes, and learns: images (N, C, H, W) to its outputs.

    Parameters are the quantized layers' float weights and biases, a scale for each of their output channels,
    a scale for each quantized tensor or group of tensors that share one, the offset of an asymmetric range,
    and the parameters of layers that are left in float. It starts with the file's own integers and scales.
    Raises InvalidValueError for an operator that cannot be trained.
    """

    def __init__(self, quantized: Quantized, constants: Mapping[str, Sequence[float]] | None = None) -> None:
        quantizers = _Quantizers(quantized)
        super().__init__(quantized.model, quantizers.modules, constants)
        #: Where it started from.
        self.quantized = quantized
        self._quantizers = quantizers

    def to_quantized(self) -> Quantized:
        """Return the int8 model with all that was learned.

        The ranges for other schemes grow in proportion.
        """
        before = self.quantized
        model = copy_of(before.float_model)
        learned = {place: _array(getattr(self, name)) for place, name in self.trained.items()}
        weights = {}
        for name, quantizer in self._quantizers.weights.items():
            learned[name, 1] = _array(quantizer.weight)
            weights[name] = QuantizedWeight(
                quantizer.integers().cpu().numpy(), _array(quantizer.scale), quantizer.axis
            )
        for name, bias in self._quantizers.biases.items():
            learned[name, 2] = _array(bias.bias)
        _set_constants(model, learned)
        found = self._ranges()
        chosen = before.placement.ranges({name: of[before.scheme.name] for name, of in found.items()})
        suffix = "" if before.recipe.name.endswith(TRAINING) else f", {TRAINING}"
        return replace(
            before,
            model=write_qdq.insert(model, before.placement, chosen, before.scheme, weights),
            float_model=model,
            recipe=replace(before.recipe, name=before.recipe.name + suffix),
            ranges=found,
            weights=weights,
        )

    def _ranges(self) -> dict[str, dict[str, Range]]:
        scheme, placement = self.quantized.scheme.name, self.quantized.placement
        found = {name: dict(of) for name, of in self.quantized.ranges.items()}
        before = placement.ranges({name: of[scheme] for name, of in found.items()})
        for name in placement.observed:
            ends = self._quantizers.activations[placement.shares.get(name, name)].ends()
            growth = max(-ends[0], ends[1]) / max(-before[name][0], before[name][1])
            for other, (low, high) in found[name].items():
                found[name][other] = range_methods.short(
                    ends if other == scheme else (low * growth, high * growth)
                )
        return found


class _Quantizers:
    """What stands in for the QuantizeLinear and DequantizeLinear nodes of an int8 model."""

    def __init__(self, quantized: Quantized) -> None:
        #: By the node that it stands in for.
        self.modules: dict[str, nn.Module] = {}
        #: By the first tensor of a group that shares a scale.
        self.activations: dict[str, ActivationQuantizer] = {}
        #: By the weighted node.
        self.weights: dict[str, WeightQuantizer] = {}
        self.biases: dict[str, BiasQuantizer] = {}
        self._quantized = quantized
        self._graph = Graph(quantized.model)
        self._float = Graph(quantized.float_model)
        self._layers = {node.name: node for node in self._float.nodes}
        identity = nn.Identity()
        for node in self._graph.nodes:
            if node.op_type == "QuantizeLinear":
                self.modules[node.name] = self._activation(node)
            elif node.op_type == "DequantizeLinear":
                constant = self._graph.is_constant(node.input[0])
                self.modules[node.name] = self._constant(node) if constant else identity

    def _root(self, tensor: str) -> str:
        return self._quantized.placement.shares.get(tensor, tensor)

    def _activation(self, node: onnx.NodeProto) -> ActivationQuantizer:
        root = self._root(node.input[0])
        if root not in self.activations:
            scale, zero = (self._graph.constant(name) for name in node.input[1:])
            limits = np.iinfo(self._quantized.scheme.activation)
            self.activations[root] = ActivationQuantizer(
                float(scale),
                int(zero),
                int(limits.min),
                int(limits.max),
                self._quantized.scheme.symmetric,
                self._width(root),
            )
        return self.activations[root]

    def _width(self, root: str) -> float | None:
        """Return the widest range that a group may have for the clips before it to be left to saturation."""
        if not self._quantized.scheme.clips_by_range:
            return None
        makers = (
            self._float.producer(name)
            for name in self._quantized.placement.tensors
            if self._root(name) == root
        )
        bounds = (clip_bounds(self._float, node) for node in makers if node is not None)
        width = min((high - low for low, high in filter(None, bounds)), default=math.inf)
        return width if math.isfinite(width) else None

    def _constant(self, node: onnx.NodeProto) -> nn.Module:
        values, scale = (self._graph.constant(name) for name in node.input[:2])
        layer = self._layers[self._graph.consumers(node.output[0])[0].name]
        if layer.name in self._quantized.placement.constants:
            zero = self._graph.constant(node.input[2])
            return Constant(_tensor((values.astype(np.float32) - zero.astype(np.float32)) * scale))
        if values.dtype == np.int32:
            bias = _tensor(self._float.constant(layer.input[2]))
            source = self.activations[self._root(layer.input[0])]
            self.biases[layer.name] = BiasQuantizer(bias, source, self.weights[layer.name])
            return self.biases[layer.name]
        view = WeightedLayer(layer, values.shape)
        steps = view.by_output(scale)
        off = self._float.constant(layer.input[1]) / steps - values
        start = (values + np.clip(off, -_OFF_CENTRE, _OFF_CENTRE)) * steps
        limit = self._quantized.scheme.weight_limit
        self.weights[layer.name] = WeightQuantizer(_tensor(start), _tensor(scale), view.output_axis, limit)
        return self.weights[layer.name]


def _set_constants(model: onnx.ModelProto, values: dict[tuple[str, int], npt.NDArray[Any]]) -> None:
    """Give inputs of nodes, by name and position, other values; a constant of several readers stays."""
    editor = Editor(model)
    for node in editor.graph.nodes:
        for position in range(len(node.input)):
            if (node.name, position) in values:
                name = f"{node.name}/{'weight' if position == 1 else 'bias'}"
                value = np.asarray(values[node.name, position], np.float32)
                editor.set_constant(node, position, name, value)


def _array(tensor: Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().cpu().numpy().astype(np.float32)


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
