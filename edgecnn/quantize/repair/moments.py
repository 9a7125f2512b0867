"""Second moments of what enters a layer, in the float network and in the quantized one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.repair.patches import Patches, Rows
from edgecnn.quantize.repair.walk import Layer, LayerShape

Single = npt.NDArray[np.float32]

#: Rows that a layer is repaired by: this many times the inputs of an output, within these bounds; and no
#: more than so many values, unless these are fewer rows than the last number.
_ROWS_PER_INPUT = 8
_ROWS = (4096, 8192)
_VALUES = 1 << 23
_FEWEST = 512
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

    `given` is the quantized network's input x', and W x - W x' what the output lacks by it.
    """

    #: Sum of the weights, (g,).
    weight: Single
    #: Means of x', (g, k), and of what the outputs lack, (g, outputs).
    given: Single
    lacking: Single
    #: E[x' x'^T], (g, k, k), and E[(W x - W x') x'^T], (g, outputs, k), both about the means.
    square: Single
    gain: Single

    @property
    def size(self) -> Single:
        """Mean square of an input, (g, 1, 1); above zero."""
        return np.einsum("gkk->gk", self.square).mean(axis=1)[:, None, None] + np.float32(1e-20)


def sample(layer: Layer, most: int | None = None) -> Rows:
    """Return the rows that a layer is repaired by, at most so many."""
    count = row_count(layer.shape)
    positions = Patches(layer.view, layer.inexact.shape, min(count, most or count))
    return Rows(positions(layer.exact), layer.quantized_input(positions(layer.inexact)))


def row_count(layer: LayerShape) -> int:
    """Return how many rows a layer is repaired by, if there are as many."""
    groups, _, inputs = layer.matrix
    count = min(int(np.clip(_ROWS_PER_INPUT * inputs, *_ROWS)), _VALUES // (groups * inputs))
    if count < 2 * inputs:  # its equations are in the rows, whose cube they cost
        count //= 2
    return max(_FEWEST, count)


def collect(layer: Layer, rows: Rows) -> Moments:
    """Return the moments of a layer at some rows, inputs in units of a power of two (1 for most).

    Where the layer's output is clipped by the activation after it, what it is does not matter. If that
    can be afforded, each output then has moments of its own, in which clipped positions hardly count.
    """
    if not rows.count:
        raise ValueError("no positions to take moments from")
    matrix = layer.view.as_matrix(layer.weight).astype(np.float32).transpose(0, 2, 1)
    groups, _, outputs = matrix.shape
    # Squares of numbers far from zero leave no digits of float32 for what they vary by.
    origin = rows.given.mean(axis=1, keepdims=True)
    unit = unit_of(layer)
    given = (rows.given - origin) / unit
    lacking = np.asarray((rows.wanted - rows.given) / unit @ matrix, np.float32)
    if layer.clip is None or not has_own(layer.shape):
        sums = _plain_sums(given, lacking)
    else:
        bias = np.zeros(groups * outputs, np.float32) if layer.bias is None else layer.bias
        output = rows.wanted @ matrix + bias.reshape(groups, 1, outputs)
        sums = _weighted_sums(given, lacking, _weights(output, layer.clip))
    moments = _centred(*sums)
    shift = np.repeat(origin[:, 0] / unit, len(moments.weight) // groups, axis=0)
    return replace(moments, given=moments.given + shift)


def has_own(layer: LayerShape) -> bool:
    """Return whether each output of a layer has moments of its own: its outputs are clipped, and few."""
    groups, outputs, inputs = layer.matrix
    return layer.clipped and groups * outputs * inputs**2 <= _OWN_MOMENTS


def unit_of(layer: Layer) -> np.float32:
    """Return a power of two in which a layer's inputs have squares within float32; 1 for most layers."""
    return _unit(layer.range)


def _plain_sums(given: Single, lacking: Single) -> list[Single]:
    """Return the sums of weights, inputs, lacks and products over all rows, by group."""
    groups, rows, _ = given.shape
    count = np.full(groups, rows, np.float32)
    # The same array twice: BLAS computes half of the products then.
    return [
        count,
        given.sum(axis=1),
        lacking.sum(axis=1),
        given.transpose(0, 2, 1) @ given,
        lacking.transpose(0, 2, 1) @ given,
    ]


def _weighted_sums(given: Single, lacking: Single, weights: Single) -> list[Single]:
    """Return the same sums for each output, whose rows count by `weights`, (groups, rows, outputs)."""
    groups, rows, inputs = given.shape
    outputs = weights.shape[2]
    counted = (lacking * weights).transpose(0, 2, 1)
    weights = weights.transpose(0, 2, 1)
    if outputs == 1:
        square = given.transpose(0, 2, 1) @ (given * weights.transpose(0, 2, 1))
    else:
        # One product for all outputs: rows of x x^T, flattened, by the outputs' weights.
        square = np.zeros((groups, outputs, inputs**2), np.float32)
        step = max(1, _BLOCK // (groups * inputs**2))
        for start in range(0, rows, step):
            part = given[:, start : start + step]
            products = part[:, :, :, None] * part[:, :, None, :]
            square += weights[:, :, start : start + step] @ products.reshape(groups, -1, inputs**2)
    own = groups * outputs
    return [
        weights.sum(axis=2).reshape(own),
        (weights @ given).reshape(own, inputs),
        counted.sum(axis=2).reshape(own, 1),
        square.reshape(own, inputs, inputs),
        (counted @ given).reshape(own, 1, inputs),
    ]


def _centred(weight: Single, given: Single, lacking: Single, square: Single, gain: Single) -> Moments:
    """Return moments from the sums of weights, inputs, lacks and products."""
    given, lacking = given / weight[:, None], lacking / weight[:, None]
    square, gain = square / weight[:, None, None], gain / weight[:, None, None]
    square -= _outer(given, given)
    gain -= _outer(lacking, given)
    return Moments(weight, given, lacking, square, gain)


def merge(parts: Sequence[Moments]) -> Moments:
    """Return the moments over all the rows of several."""
    if len(parts) == 1:
        return parts[0]
    weight: Single = np.sum([part.weight for part in parts], axis=0)
    shares = [(part.weight / weight)[:, None] for part in parts]
    given: Single = np.zeros_like(parts[0].given)
    lacking: Single = np.zeros_like(parts[0].lacking)
    for share, part in zip(shares, parts, strict=True):
        given += share * part.given
        lacking += share * part.lacking
    square, gain = np.zeros_like(parts[0].square), np.zeros_like(parts[0].gain)
    for share, part in zip(shares, parts, strict=True):
        # About the mean of all, to which the parts' means have a distance.
        away, short = part.given - given, part.lacking - lacking
        square += (part.square + _outer(away, away)) * share[:, :, None]
        gain += (part.gain + _outer(short, away)) * share[:, :, None]
    return Moments(weight, given, lacking, square, gain)


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


def _outer(left: Single, right: Single) -> Single:
    return left[:, :, None] * right[:, None, :]
