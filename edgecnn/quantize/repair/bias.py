"""Correct biases by what quantization does to a layer's output on average.

Empirical bias correction (Nagel et al. 2019, arXiv:1906.04721, section 4.2), with two changes: the layers
before are already corrected (as in Finkelstein et al. 2019, arXiv:1906.03193), and positions where the
activation after the layer clips both outputs alike do not count.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.repair.patches import Rows
from edgecnn.quantize.repair.walk import Layer

Array = npt.NDArray[np.float64]

_ROUNDS = 3
#: Rows whose outputs are held in float64 at a time.
_BLOCK = 1024


def correct(layer: Layer, weight: Array, rows: Rows) -> npt.NDArray[np.float32]:
    """Return the bias with which dequantized weights (groups, outputs, k) give the float output's mean.

    Where an activation clips the output, the mean over positions that at least one of the two outputs
    does not leave at a bound. The layer must have a bias.
    """
    matrix = layer.view.as_matrix(layer.weight).astype(np.float32).transpose(0, 2, 1)
    rounded = weight.astype(np.float32).transpose(0, 2, 1)
    bias = layer.bias
    if bias is None:
        raise ValueError(f"{layer.node.name} has no bias")
    low, high = layer.clip or (-np.inf, np.inf)
    exact, inexact = rows.wanted @ matrix, rows.given @ rounded
    start = bias.astype(np.float64).reshape(matrix.shape[0], 1, -1)
    found = start.copy()
    parts = [slice(first, first + _BLOCK) for first in range(0, rows.count, _BLOCK)]
    for _ in range(_ROUNDS if layer.clip else 1):
        total, count = np.zeros_like(start), np.zeros_like(start)
        for part in parts:
            wanted, given = exact[:, part] + start, inexact[:, part] + found
            difference = np.clip(wanted, low, high) - np.clip(given, low, high)
            # A position at a bound in both outputs says nothing.
            counts = ((wanted > low) & (wanted < high)) | ((given > low) & (given < high))
            total += difference.sum(axis=1, keepdims=True)
            count += counts.sum(axis=1, keepdims=True)
        found += total / np.maximum(count, 1)
    return found.reshape(-1).astype(np.float32)
