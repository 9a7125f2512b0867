"""The repair of one layer, put together from its methods; each can be switched off."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.placement.integer_weights import QuantizedWeight, quantize_weight
from edgecnn.quantize.repair import adaround, bias, moments, scales
from edgecnn.quantize.repair.layer_inputs import FewRows, LayerInputs, SecondMoments
from edgecnn.quantize.repair.patches import Rows
from edgecnn.quantize.repair.refit import ByMoments, ByRows, Problem, refit
from edgecnn.quantize.repair.walk import Layer, Repaired

Array = npt.NDArray[np.float64]

#: Beyond this many inputs per output the moments' matrix is not affordable: the layer's weights are
#: rounded to nearest, and only its bias is corrected.
LARGEST = 6144
_FOLDS = 2


@dataclass(frozen=True)
class LayerRepair:
    """Called for each layer of a walk."""

    refit: bool = True
    #: Whether each output's scale is searched; otherwise no weight is cut off.
    scales: bool = False
    #: What "feedback" gives is where "learned" starts.
    rounding: Literal["nearest", "feedback", "learned"] = "feedback"
    learning: adaround.Settings = field(default_factory=adaround.Settings)
    bias: bool = True
    #: Node: ridge of its refit.
    ridges: dict[str, float] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Whether more is done than rounding to nearest and correcting the bias."""
        return self.refit or self.scales or self.rounding != "nearest"

    def __call__(self, layer: Layer) -> Repaired:
        """Return a layer's integer weights and bias."""
        return self.by_rows(layer, moments.sample(layer))

    def by_rows(self, layer: Layer, rows: Rows) -> Repaired:
        """Return a layer's integer weights and bias, by these rows of its input."""
        node, view, limit = layer.node, layer.view, layer.scheme.weight_limit
        if node.op_type == "ConvTranspose":
            return Repaired()
        matrix = view.as_matrix(layer.weight).astype(np.float64)
        target = matrix
        inputs: LayerInputs | None = None
        if self.full and matrix.shape[2] <= LARGEST:
            problem, inputs = _problem(layer, matrix, rows)
            # Where each output has moments of its own, it is a group by itself.
            target = matrix.reshape(inputs.groups, -1, matrix.shape[2])
            if self.refit:
                target, self.ridges[node.name] = refit(target, problem)
        fitted = view.from_matrix(target.reshape(matrix.shape)).astype(np.float32)
        nearest = quantize_weight(fitted, view.output_axis, layer.bias, layer.input_scale, limit)
        scale = nearest.scale.astype(np.float64).reshape(*target.shape[:2], 1)
        if self.scales and inputs is not None:
            searched = scales.search(target, scale, inputs.cost, limit=limit)
            scale = searched.astype(np.float32).astype(np.float64)
        steps = np.clip(np.rint(target / scale), -limit, limit)
        if self.rounding != "nearest" and inputs is not None:
            steps = inputs.rounded(target / scale, limit)
        target, steps = target.reshape(matrix.shape), steps.reshape(matrix.shape)
        scale = scale.reshape(*matrix.shape[:2], 1)
        if self.rounding == "learned" and inputs is not None:
            steps = adaround.learn(layer, rows, target, scale, steps, self.learning)
        values = view.from_matrix(steps).astype(np.int8)
        weight = QuantizedWeight(values, scale.astype(np.float32).reshape(-1), nearest.axis)
        correct = self.bias and layer.bias is not None
        return Repaired(weight, bias.correct(layer, steps * scale, rows) if correct else None)


def _problem(layer: Layer, matrix: Array, rows: Rows) -> tuple[Problem, LayerInputs]:
    """Return what a layer's weights are fitted to, and by what they are rounded."""
    parts = rows.split(_FOLDS)
    if matrix.shape[2] <= parts[0].count:
        by_moments = ByMoments([moments.collect(layer, part) for part in parts])
        return by_moments, SecondMoments(by_moments.square)
    by_rows = ByRows(matrix, parts, moments.unit_of(layer))
    if matrix.shape[2] < 2 * rows.count or moments.has_own(layer.shape):
        return by_rows, SecondMoments(moments.collect(layer, rows).square)
    return by_rows, FewRows(by_rows.given)
