"""Integer weights that make a layer's output right, instead of weights that are each nearest.

For each layer the weights, and the bias, are first fitted by least squares so that from the quantized
network's input they give the float layer's output (Hubara et al. 2021, arXiv:2006.10518, section 3);
then rounded one after the other, each time moving the weights not yet rounded so that they make up for
the error (Frantar and Alistarh 2022, arXiv:2208.11580; in a fixed order as in arXiv:2210.17323); then
changed one at a time as long as that lowers the error. All of it is closed arithmetic on the second
moments of the layer's input.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.repair.patches import Patches, as_matrix, from_matrix
from edgecnn.quantize.repair.walk import Layer, Repaired
from edgecnn.quantize.patterns import output_axis
from edgecnn.quantize.weights import WEIGHT_LEVELS, QuantizedWeight, quantize_weight

Array = npt.NDArray[np.float64]

LARGEST = 6144
DAMPING = 0.01
RIDGE = 0.05


def repair(layer: Layer, *, refit: bool = True, ridge: float = RIDGE, passes: int = 2, rows: int = 4) -> Repaired:
    """Return integer weights and a bias for one layer."""
    node, weight = layer.node, layer.weight
    matrix = as_matrix(node, weight).astype(np.float64)
    size = matrix.shape[2]
    count = int(np.clip(rows * size, 4096, 32768))
    patches = Patches(node, weight.shape, layer.inexact.shape, count)
    parts = [_moments(layer, part, True) for part in patches.split(4)]
    total = _merge(parts)
    moments, cross, mean_given, mean_wanted = _centred(total)
    mean = np.einsum("gkk->gk", moments).mean(axis=1)[:, None, None] + 1e-12
    eye = np.eye(size)
    target = matrix
    if refit:
        best = {}
        for index in range(2):
            train = _centred(_merge([part for k, part in enumerate(parts) if k % 2 != index]))
            test = _centred(_merge([part for k, part in enumerate(parts) if k % 2 == index]))
            m1 = np.einsum("gkk->gk", train[0]).mean(axis=1)[:, None, None] + 1e-12
            for r in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, np.inf):
                fitted = matrix if np.isinf(r) else _fit(matrix, train[0], train[1], r * m1 * eye)
                error = np.einsum("gok,gkl,gol->g", fitted, test[0], fitted) - 2 * np.einsum("gok,gkl,gol->g", matrix, test[1], fitted)
                best[r] = best.get(r, 0) + (error.sum() if PER == "layer" else error)
        rs = list(best)
        if PER == "layer":
            r = rs[int(np.argmin([best[r] for r in rs]))]
            CH.append((node.name, r))
            target = matrix if np.isinf(r) else _fit(matrix, moments, cross, r * SAFE * mean * eye)
    axis = output_axis(node)
    first = quantize_weight(from_matrix(node, target, weight.shape).astype(np.float32), axis, layer.bias, layer.input_scale)
    scale = first.scale.astype(np.float64).reshape(matrix.shape[0], -1)[..., None]
    steps = _round(target / scale, moments + DAMPING * mean * eye)
    steps = _descend(steps, target / scale, moments + 1e-6 * mean * eye, passes)
    values = from_matrix(node, steps, weight.shape).astype(np.int8)
    bias = layer.bias
    if bias is not None:
        effect = np.einsum("gok,gk->go", matrix, mean_wanted) - np.einsum(
            "gok,gk->go", steps * scale, mean_given
        )
        bias = (bias + effect.reshape(-1)).astype(np.float32)
    return Repaired(QuantizedWeight(values, first.scale, first.axis), bias)


PER = "layer"
CH = []
SAFE = 1.0


def _fit(matrix, moments, cross, penal):
    return np.linalg.solve(moments + penal, (matrix @ (cross + penal)).transpose(0, 2, 1)).transpose(0, 2, 1)


def _moments(layer: Layer, patches: Patches, crossed: bool):
    sums = None
    for block in patches.blocks():
        given = layer.quantized_input(block(layer.inexact))
        wanted = block(layer.exact)
        if sums is None:
            k = given.shape[2]
            sums = [np.zeros((len(given), k, k)), np.zeros((len(given), k, k)), np.zeros((len(given), k)), np.zeros((len(given), k)), 0]
        sums[0] += given.transpose(0, 2, 1) @ given
        sums[1] += wanted.transpose(0, 2, 1) @ given
        sums[2] += given.sum(axis=1)
        sums[3] += wanted.sum(axis=1)
        sums[4] += given.shape[1]
    return sums


def _merge(parts):
    return [sum(values) for values in zip(*parts, strict=True)]


def _centred(sums):
    moments, cross, g, w = (x / sums[4] for x in sums[:4])
    moments = moments - g[:, :, None] * g[:, None, :]
    cross = cross - w[:, :, None] * g[:, None, :]
    return moments, cross, g, w


def _round(target: Array, moments: Array) -> Array:
    """Round (groups, outputs, k) to integers, error feedback under moments (groups, k, k)."""
    order = np.argsort(-np.einsum("gkk->gk", moments), axis=1)
    g = np.arange(len(order))[:, None]
    moments = moments[g[:, :, None], order[:, :, None], order[:, None, :]]
    work = np.take_along_axis(target, order[:, None, :], axis=2).copy()
    # Upper Cholesky factor of the inverse
    inverse = np.linalg.inv(moments)
    inverse = (inverse + inverse.transpose(0, 2, 1)) / 2
    upper = np.linalg.cholesky(inverse).transpose(0, 2, 1)
    size = work.shape[2]
    result = np.empty_like(work)
    block = 128
    for start in range(0, size, block):
        end = min(size, start + block)
        errors = np.empty((*work.shape[:2], end - start))
        for k in range(start, end):
            result[:, :, k] = np.clip(np.rint(work[:, :, k]), -WEIGHT_LEVELS, WEIGHT_LEVELS)
            error = (work[:, :, k] - result[:, :, k]) / upper[:, k, k][:, None]
            work[:, :, k + 1 : end] -= error[:, :, None] * upper[:, None, k, k + 1 : end]
            errors[:, :, k - start] = error
        work[:, :, end:] -= errors @ upper[:, start:end, end:]
    back = np.empty_like(result)
    np.put_along_axis(back, order[:, None, :] + np.zeros_like(result, int), result, axis=2)
    return back


def _descend(steps: Array, target: Array, moments: Array, passes: int) -> Array:
    diagonal = np.einsum("gkk->gk", moments)
    gradient = (steps - target) @ moments
    for _ in range(passes):
        changed = False
        for k in range(steps.shape[2]):
            best = np.clip(np.rint(steps[:, :, k] - gradient[:, :, k] / diagonal[:, k][:, None]), -WEIGHT_LEVELS, WEIGHT_LEVELS)
            move = best - steps[:, :, k]
            if move.any():
                changed = True
                steps[:, :, k] = best
                gradient += move[:, :, None] * moments[:, None, k, :]
        if not changed:
            break
    return steps
