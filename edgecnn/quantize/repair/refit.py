"""Fit a layer's weights anew to the input that it really gets.

The weights W' minimise E|W x - W' x'|^2 + r m |W - W'|^2, where x enters the layer in the float network, x'
in the quantized one, and m is the mean square of an entry of x' (Hubara et al. 2021, arXiv:2006.10518,
section 3, fits a correction in the same sense). The ridge r keeps a few images from
being learned by heart: of several, the one is taken that is best on images that the fit has not seen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.repair import moments
from edgecnn.quantize.repair.moments import Moments

Array = npt.NDArray[np.float64]

#: Ridges that are tried; the first stands for leaving the weights as they are, unless another is better.
RIDGES = (np.inf, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)


def refit(weight: Array, parts: list[Moments]) -> tuple[Array, float]:
    """Return fitted weights (g, outputs, k) and the ridge that was chosen.

    `parts` are moments of different images; each in turn tests what is fitted on the others.
    """
    errors = np.zeros(len(RIDGES))
    for index, test in enumerate(parts):
        train = moments.merge(part for other, part in enumerate(parts) if other != index)
        fits = _Fits(weight, train)
        errors += [_error(weight, fits(ridge), test) for ridge in RIDGES]
    ridge = RIDGES[int(np.argmin(errors))]
    if np.isinf(ridge):
        return weight, ridge
    return _Fits(weight, moments.merge(parts))(ridge), ridge


class _Fits:
    """Solutions for any ridge."""

    def __init__(self, weight: Array, given: Moments) -> None:
        self._weight = weight
        # Relative to the size of the inputs, as the ridge is.
        self._square = given.square / given.size
        self._gain = (given.cross - given.square).transpose(0, 2, 1) / given.size @ weight.transpose(0, 2, 1)

    def __call__(self, ridge: float) -> Array:
        if np.isinf(ridge):
            return self._weight
        damped = self._square + ridge * np.eye(self._square.shape[1])
        return np.asarray(self._weight + np.linalg.solve(damped, self._gain).transpose(0, 2, 1))


def _error(weight: Array, fitted: Array, test: Moments) -> float:
    """Return E|W x - W' x'|^2 but for a constant, the means aside: the bias takes care of them."""
    return float(np.sum((fitted @ test.square) * fitted) - 2 * np.sum((weight @ test.cross) * fitted))
