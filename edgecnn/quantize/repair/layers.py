"""The repair of one layer, put together from its methods; each can be switched off."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgecnn.quantize.patterns import output_axis
from edgecnn.quantize.repair import bias, moments
from edgecnn.quantize.repair.patches import as_matrix, from_matrix
from edgecnn.quantize.repair.refit import refit
from edgecnn.quantize.repair.rounding import round_weights
from edgecnn.quantize.repair.walk import Layer, Repaired
from edgecnn.quantize.weights import QuantizedWeight, quantize_weight

#: Beyond this many inputs per output the moments' matrix is not affordable: the layer's weights are
#: rounded to nearest, and only its bias is corrected.
LARGEST = 6144
_FOLDS = 2


@dataclass(frozen=True)
class LayerRepair:
    """Called for each layer of a walk."""

    refit: bool = True
    rounding: bool = True
    bias: bool = True
    #: Node: ridge of its refit.
    ridges: dict[str, float] = field(default_factory=dict)

    def __call__(self, layer: Layer) -> Repaired:
        """Return a layer's integer weights and bias."""
        node = layer.node
        if node.op_type == "ConvTranspose":
            return Repaired()
        matrix = as_matrix(node, layer.weight).astype(np.float64)
        groups, outputs, inputs = matrix.shape
        patches = moments.sample(layer)
        target = matrix
        known = None
        if (self.refit or self.rounding) and inputs <= LARGEST:
            parts = [moments.collect(layer, part) for part in patches.split(_FOLDS if self.refit else 1)]
            known = moments.merge(parts)
            # Where each output has moments of its own, it is a group by itself.
            target = matrix.reshape(len(known.weight), -1, inputs)
            if self.refit:
                target, self.ridges[node.name] = refit(target, parts)
        fitted = from_matrix(node, target.reshape(matrix.shape), layer.weight.shape).astype(np.float32)
        nearest = quantize_weight(fitted, output_axis(node), layer.bias, layer.input_scale)
        scale = nearest.scale.astype(np.float64).reshape(groups, outputs, 1)
        steps = as_matrix(node, nearest.values).astype(np.float64)
        if self.rounding and known is not None:
            steps = round_weights(target / scale.reshape(*target.shape[:2], 1), known.square)
            steps = steps.reshape(matrix.shape)
        values = from_matrix(node, steps, layer.weight.shape).astype(np.int8)
        corrected = (
            bias.correct(layer, steps * scale, patches) if self.bias and layer.bias is not None else None
        )
        return Repaired(QuantizedWeight(values, nearest.scale, nearest.axis), corrected)
