"""Second moments of what enters a layer, in the float network and in the quantized one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.repair.patches import Patches, as_matrix
from edgecnn.quantize.repair.walk import Layer

Array = npt.NDArray[np.float64]

#: Rows that moments are taken from: this many times the inputs of an output, within these bounds.
_ROWS_PER_INPUT = 16
_ROWS = (4096, 24576)
#: Where each output is to have moments of its own, they take at most this many numbers.
_OWN_MOMENTS = 1 << 22
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


def sample(layer: Layer) -> Patches:
    """Return the positions that a layer is repaired by."""
    inputs = as_matrix(layer.node, layer.weight).shape[2]
    count = int(np.clip(_ROWS_PER_INPUT * inputs, *_ROWS))
    return Patches(layer.node, layer.weight.shape, layer.inexact.shape, count)


def collect(layer: Layer, patches: Patches) -> Moments:
    """Return the moments of a layer at some positions.

    Where the layer's output is clipped by the activation after it, what it is does not matter. If that
    can be afforded, each output then has moments of its own, in which clipped positions hardly count.
    """
    matrix = as_matrix(layer.node, layer.weight).astype(np.float32)
    groups, outputs, inputs = matrix.shape
    bounds = layer.clip
    own = bounds is not None and groups * outputs * inputs**2 <= _OWN_MOMENTS
    bias = np.zeros(groups * outputs, np.float32) if layer.bias is None else layer.bias
    bias = bias.reshape(groups, 1, outputs)
    total: list[Array] | None = None
    origin = np.zeros((groups, 1, inputs), np.float32)
    unit = _unit(layer.range)
    for block in patches.blocks():
        given = layer.quantized_input(block(layer.inexact))
        wanted = block(layer.exact)
        rows = given.shape[1]
        if own and bounds is not None:
            weights = _weights(wanted @ matrix.transpose(0, 2, 1) + bias, bounds)
        else:
            weights = np.ones((groups, rows, 1), np.float32)
        each = weights.shape[2]
        if total is None:
            # Squares of numbers far from zero leave no digits of float32 for what they vary by.
            origin = given.mean(axis=1, keepdims=True)
        given, wanted = (given - origin) / unit, (wanted - origin) / unit
        # (g, rows, 1), one entry per group and own output.
        weights = weights.transpose(0, 2, 1).reshape(groups * each, rows, 1)
        given, wanted = (np.repeat(part, each, axis=0) if each > 1 else part for part in (given, wanted))
        weighted = given * weights if own else given
        sums = [
            weights.sum(axis=(1, 2), dtype=np.float64),
            weighted.sum(axis=1, dtype=np.float64),
            (wanted * weights).sum(axis=1, dtype=np.float64),
            (given.transpose(0, 2, 1) @ weighted).astype(np.float64),
            (wanted.transpose(0, 2, 1) @ weighted).astype(np.float64),
        ]
        total = sums if total is None else [old + new for old, new in zip(total, sums, strict=True)]
    if total is None:
        raise ValueError("no positions to take moments from")
    power = unit.astype(np.float64) ** np.array([0, 1, 1, 2, 2])
    moments = _centred([part * factor for part, factor in zip(total, power, strict=True)])
    shift = np.repeat(origin[:, 0].astype(np.float64), len(moments.weight) // groups, axis=0)
    return replace(moments, given=moments.given + shift, wanted=moments.wanted + shift)


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
