"""What the full repair of each layer could win: measured on a few images, with every layer repaired cheaply.

The noise that a layer's rounded weights add to its output is set against all the noise that is there by
then, from the layers before it and from its rounded input: a small share of it hardly shows in the end.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.graph.weighted_layer import along
from edgecnn.quantize.placement.integer_weights import QuantizedWeight
from edgecnn.quantize.repair import moments
from edgecnn.quantize.repair.patches import Rows
from edgecnn.quantize.repair.repair_layer import LayerRepair
from edgecnn.quantize.repair.walk import Layer, Repaired

Array = npt.NDArray[np.float32]

#: Images that are enough to tell shares of noise, and rows of a layer's input.
IMAGES = 4
_ROWS = 256
#: The cheap repair.
CHEAP = LayerRepair(refit=False, rounding="nearest")


class Survey:
    """Repairs the layers of a walk cheaply, and takes down what their rounding adds."""

    def __init__(self) -> None:
        #: Node: share of the noise in its output that its rounded weights added, 0 to 1.
        self.shares: dict[str, float] = {}

    def __call__(self, layer: Layer) -> Repaired:
        """Return a layer's nearest integers and corrected bias."""
        rows = moments.sample(layer, _ROWS)
        repaired = CHEAP.by_rows(layer, rows)
        if repaired.weight is not None:
            self.shares[layer.node.name] = _share(layer, repaired.weight, rows)
        return repaired


def _share(layer: Layer, weight: QuantizedWeight, rows: Rows) -> float:
    view = layer.view
    rounded = weight.values * along(weight.scale, weight.axis, weight.values.ndim)
    exact, nearest = (view.as_matrix(values).transpose(0, 2, 1) for values in (layer.weight, rounded))
    bias = np.float32(0) if layer.bias is None else layer.bias.reshape(len(exact), 1, -1)
    low, high = layer.clip or (-np.inf, np.inf)

    def output(inputs: Array, matrix: Array) -> Array:
        return np.clip(inputs @ matrix + bias, low, high)

    given = output(rows.given, nearest)
    added = _variance(given - output(rows.given, exact))
    total = _variance(given - output(rows.wanted, exact))
    return min(1.0, added / total) if added > 0 else 0.0


def _variance(difference: Array) -> float:
    """Return the mean square about each output's mean, which the bias takes care of."""
    return float(difference.var(axis=1, dtype=np.float64).mean())
