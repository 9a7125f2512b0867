"""Fit a layer's weights anew to the input that it really gets.

The weights W' minimise E|W x - W' x'|^2 + r m |W - W'|^2, where x enters the layer in the float network, x'
in the quantized one, and m is the mean square of an entry of x' (Hubara et al. 2021, arXiv:2006.10518,
section 3, fits a correction in the same sense). The ridge r keeps a few images from
being learned by heart: of several, the one is taken that is best on images that the fit has not seen.

What is solved for is the change W' - W, in float32: it is small beside W, and is rounded afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.repair import moments
from edgecnn.quantize.repair.moments import Moments
from edgecnn.quantize.repair.patches import Rows

Array = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

#: Ridges that are tried; the weights stay as they are where none helps.
RIDGES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
#: Those of a layer with many inputs, where each costs seconds.
_COARSE_RIDGES = (10.0, 1.0, 0.1)
_MANY = 1024
_ONE = np.float32(1)


class Problem(Protocol):
    """What weights are fitted to, in parts of different images."""

    def loss(self, ridge: float) -> float:
        """Return E|W x - W' x'|^2 but for a constant, on parts that were not fitted; 0 for W itself.

        The means are left aside: the bias takes care of them.
        """
        ...

    def change(self, ridge: float) -> Single:
        """Return W' - W, (g, outputs, k), fitted to all parts."""
        ...


def ridges(inputs: int) -> tuple[float, ...]:
    """Return the ridges that are tried for a layer with so many inputs per output."""
    return RIDGES if inputs <= _MANY else _COARSE_RIDGES


def refit(weight: Array, problem: Problem) -> tuple[Array, float]:
    """Return fitted weights, (g, outputs, k), and the ridge that was chosen: infinite where they stay."""
    tried = ridges(weight.shape[2])
    losses = [problem.loss(ridge) for ridge in tried]
    if min(losses) >= 0:
        return weight, np.inf
    ridge = tried[int(np.argmin(losses))]
    # What rows are fitted to does not care which outputs have moments of their own.
    return weight + problem.change(ridge).reshape(weight.shape), ridge


class ByMoments:
    """A layer with fewer inputs than rows: equations in its inputs."""

    def __init__(self, parts: Sequence[Moments]) -> None:
        """Each of the parts in turn tests what is fitted on the others."""
        self._whole = moments.merge(parts)
        self._folds = [
            (moments.merge([part for other, part in enumerate(parts) if other != index]), test)
            for index, test in enumerate(parts)
        ]

    @property
    def square(self) -> Single:
        """Second moments of the inputs, (g, k, k)."""
        return self._whole.square

    def loss(self, ridge: float) -> float:
        """See `Problem`."""
        return sum(_moments_loss(_moments_change(train, ridge), test) for train, test in self._folds)

    def change(self, ridge: float) -> Single:
        """See `Problem`."""
        return _moments_change(self._whole, ridge)


def _moments_change(given: Moments, ridge: float) -> Single:
    damped = given.square / given.size
    np.einsum("gkk->gk", damped)[:] += np.float32(ridge)
    return np.asarray(
        np.linalg.solve(damped, (given.gain / given.size).transpose(0, 2, 1)).transpose(0, 2, 1)
    )


def _moments_loss(change: Single, test: Moments) -> float:
    # Products of what a layer gives, which may be beyond float32.
    return float(np.vdot((change @ test.square - 2 * test.gain).astype(np.float64), change))


class ByRows:
    """A layer with more inputs than rows: equations in the rows, which give the same weights."""

    def __init__(self, weight: Array, parts: Sequence[Rows], unit: np.float32 = _ONE) -> None:
        """Take the layer's weight, (g, outputs, k), and rows in two parts; each tests what the other fits.

        `unit` is that of `moments.unit_of`.
        """
        turned = weight.astype(np.float32).transpose(0, 2, 1)
        #: What enters the layer, about the means of each part, (g, n, k).
        self.given = np.concatenate([_about_mean(part.given / unit) for part in parts], axis=1)
        lacking = [(part.wanted - part.given) / unit @ turned for part in parts]
        self._lacking = np.concatenate([_about_mean(part) for part in lacking], axis=1)
        self._products = self.given @ self.given.transpose(0, 2, 1)
        half = parts[0].count
        self._halves = slice(half), slice(half, None)

    def loss(self, ridge: float) -> float:
        """See `Problem`."""
        first, second = self._halves
        return self._half_loss(first, second, ridge) + self._half_loss(second, first, ridge)

    def _half_loss(self, train: slice, test: slice, ridge: float) -> float:
        found = self._products[:, test, train] @ self._by_row(train, ridge)
        wanted = self._lacking[:, test]
        return float(np.vdot((found - 2 * wanted).astype(np.float64), found)) / wanted.shape[1]

    def change(self, ridge: float) -> Single:
        """See `Problem`."""
        return self._by_row(slice(None), ridge).transpose(0, 2, 1) @ self.given

    def _by_row(self, part: slice, ridge: float) -> Single:
        """Return what each row adds to the weights' change, (g, rows, outputs)."""
        damped = self._products[:, part, part].copy()
        diagonal = np.einsum("gnn->gn", damped)
        diagonal += np.float32(ridge / self.given.shape[2]) * diagonal.sum(axis=1, keepdims=True) + 1e-20
        return np.asarray(np.linalg.solve(damped, self._lacking[:, part]))


def _about_mean(rows: npt.NDArray[Any]) -> Single:
    return np.asarray(rows - rows.mean(axis=1, keepdims=True), np.float32)
