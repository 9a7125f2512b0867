"""Second moments of what enters a layer, in the float network and in the quantized one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.repair.patches import Patches, Rows
from edgecnn.quantize.repair.walk import Layer

Array = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

#: Rows that a layer is repaired by: this many times the inputs of an output, within these bounds; and no
#: more than so many values, unless these are fewer rows than the last number.
_ROWS_PER_INPUT = 8
_ROWS = (4096, 8192)
_VALUES = 1 << 23
_FEWEST = 1024
#: Where each output is to have moments of its own, they take at most this many numbers.
_OWN_MOMENTS = 1 << 22
#: Products of two inputs that are held at a time.
_BLOCK = 1 << 22
#: What an output counts for where the activation after it clips it, and how far beyond the activation's
#: bounds it still counts in full, in deviations of the output.
_CLIPPED_WEIGHT = 0.02
_MARGIN = 0.25
#: Sums of squares of numbers up to this one are far from float32's end.
_SQUARED = 2.0**40


@dataclass(frozen=True)
class Moments:
    """Weighted means over rows; g counts groups, or single outputs where each has weights of its own.

    `given` is the quantized network's input x', `wanted` the float network's x.
    """

    #: Sum of the weights, (g,).
    weight: Array
    #: Means, (g, k).
    given: Array
    wanted: Array
    #: E[x' x'^T] and E[x x'^T] about the means, (g, k, k).
    square: Array
    cross: Array

    @property
    def size(self) -> Array:
        """Mean square of an input, (g, 1, 1); above zero."""
        return np.einsum("gkk->gk", self.square).mean(axis=1)[:, None, None] + 1e-20


def sample(layer: Layer) -> Rows:
    """Return the rows that a layer is repaired by."""
    groups, _, inputs = layer.view.as_matrix(layer.weight).shape
    count = int(np.clip(_ROWS_PER_INPUT * inputs, *_ROWS))
    count = max(_FEWEST, min(count, _VALUES // (groups * inputs)))
    positions = Patches(layer.view, layer.inexact.shape, count)
    return Rows(positions(layer.exact), layer.quantized_input(positions(layer.inexact)))


def collect(layer: Layer, rows: Rows) -> Moments:
    """Return the moments of a layer at some rows.

    Where the layer's output is clipped by the activation after it, what it is does not matter. If that
    can be afforded, each output then has moments of its own, in which clipped positions hardly count.
    """
    if not rows.count:
        raise ValueError("no positions to take moments from")
    matrix = layer.view.as_matrix(layer.weight).astype(np.float32)
    groups, outputs, inputs = matrix.shape
    # Squares of numbers far from zero leave no digits of float32 for what they vary by.
    origin = rows.given.mean(axis=1, keepdims=True)
    unit = _unit(layer.range)
    given, wanted = (rows.given - origin) / unit, (rows.wanted - origin) / unit
    if layer.clip is None or groups * outputs * inputs**2 > _OWN_MOMENTS:
        sums = _plain_sums(given, wanted)
    else:
        bias = np.zeros(groups * outputs, np.float32) if layer.bias is None else layer.bias
        output = rows.wanted @ matrix.transpose(0, 2, 1) + bias.reshape(groups, 1, outputs)
        sums = _weighted_sums(given, wanted, _weights(output, layer.clip))
    power = unit.astype(np.float64) ** np.array([0, 1, 1, 2, 2])
    moments = _centred([part * factor for part, factor in zip(sums, power, strict=True)])
    shift = np.repeat(origin[:, 0].astype(np.float64), len(moments.weight) // groups, axis=0)
    return replace(moments, given=moments.given + shift, wanted=moments.wanted + shift)


def _plain_sums(given: Single, wanted: Single) -> list[Single]:
    """Return the sums of weights, inputs and products over all rows, by group."""
    groups, rows, _ = given.shape
    count = np.full(groups, rows, np.float32)
    turned = given.transpose(0, 2, 1)
    return [count, given.sum(axis=1), wanted.sum(axis=1), turned @ given, wanted.transpose(0, 2, 1) @ given]


def _weighted_sums(given: Single, wanted: Single, weights: Single) -> list[Single]:
    """Return the same sums for each output, whose rows count by `weights`, (groups, rows, outputs)."""
    groups, rows, inputs = given.shape
    outputs = weights.shape[2]
    weights = weights.transpose(0, 2, 1)
    if outputs == 1:
        weighted = given * weights.transpose(0, 2, 1)
        square, cross = given.transpose(0, 2, 1) @ weighted, wanted.transpose(0, 2, 1) @ weighted
    else:
        # One product for all outputs: rows of x x^T, flattened, by the outputs' weights.
        square, cross = (np.zeros((groups, outputs, inputs**2), np.float32) for _ in range(2))
        step = max(1, _BLOCK // (groups * inputs**2))
        for start in range(0, rows, step):
            part = slice(start, start + step)
            right = given[:, part, None, :]
            for sums, left in ((square, given), (cross, wanted)):
                products = left[:, part, :, None] * right
                sums += weights[:, :, part] @ products.reshape(groups, -1, inputs**2)
    own = groups * outputs
    return [
        weights.sum(axis=2).reshape(own),
        (weights @ given).reshape(own, inputs),
        (weights @ wanted).reshape(own, inputs),
        square.reshape(own, inputs, inputs),
        cross.reshape(own, inputs, inputs),
    ]


def merge(parts: Iterable[Moments]) -> Moments:
    """Return the moments over all the rows of several."""
    sums = [_sums(part) for part in parts]
    return _centred([sum(values[1:], values[0]) for values in zip(*sums, strict=True)])


def _unit(ends: tuple[float, float]) -> np.float32:
    """Return a power of two in which numbers as large as a range's have squares within float32."""
    largest = max(-ends[0], ends[1])
    return np.float32(2.0 ** math.frexp(largest)[1] if largest > _SQUARED else 1.0)  # exact where it is not 1


def _weights(output: npt.NDArray[np.float32], bounds: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Return what each position of an output, (groups, rows, outputs), counts for."""
    low, high = bounds
    inside = np.clip(output, low, high)
    unit = _unit((0.0, float(np.abs(inside).max(initial=0))))
    margin = _MARGIN * unit * (inside / unit).std(axis=1, keepdims=True) + 1e-12
    counts = np.abs(output - inside) <= margin
    return np.where(counts, np.float32(1), np.float32(_CLIPPED_WEIGHT))


def _sums(moments: Moments) -> list[Array]:
    n = moments.weight
    return [
        n,
        moments.given * n[:, None],
        moments.wanted * n[:, None],
        (moments.square + _outer(moments.given, moments.given)) * n[:, None, None],
        (moments.cross + _outer(moments.wanted, moments.given)) * n[:, None, None],
    ]


def _centred(sums: list[Array]) -> Moments:
    n, given, wanted, square, cross = sums
    given, wanted = given / n[:, None], wanted / n[:, None]
    return Moments(
        n,
        given,
        wanted,
        square / n[:, None, None] - _outer(given, given),
        cross / n[:, None, None] - _outer(wanted, given),
    )


def _outer(left: Array, right: Array) -> Array:
    return left[:, :, None] * right[:, None, :]
