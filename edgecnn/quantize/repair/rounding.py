"""Round weights so that a layer's output stays right, not so that each weight is nearest.

Weights are rounded one after the other, and each time those not yet rounded move to make up for the error
(Frantar and Alistarh 2022, arXiv:2208.11580; with one order for all outputs as in arXiv:2210.17323). Then
single weights are changed by whole steps for as long as that lowers the error. Both need only the
second moments of the layer's input.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Added to the moments' diagonal, relative to its mean: a direction that no image has shown is not free.
_DAMPING = 0.01
_DESCENT_DAMPING = 1e-4
#: Weights between two updates of all those that follow.
_BLOCK = 128
_PASSES = 3


def round_weights(target: Array, square: Array, limit: int = 127) -> Array:
    """Return integers near `target`, (g, outputs, k) in units of steps, for inputs with moments `square`.

    `square` is (g, k, k), symmetric and positive semi-definite. No integer is beyond -limit..limit.
    """
    size = square.shape[1]
    mean = np.einsum("gkk->gk", square).mean(axis=1)[:, None, None] + 1e-20
    eye = np.eye(size)
    steps = _feed_back(target, square / mean + _DAMPING * eye, limit)
    return _descend(steps, target, square / mean + _DESCENT_DAMPING * eye, limit)


def _feed_back(target: Array, square: Array, limit: int) -> Array:
    # The inputs that matter most come first, while most weights are still free.
    order = np.argsort(-np.einsum("gkk->gk", square), axis=1)
    group = np.arange(len(order))[:, None]
    ordered = square[group[:, :, None], order[:, :, None], order[:, None, :]]
    work = np.take_along_axis(target, order[:, None, :], axis=2)
    # Row k of this factor says how the weights after k make up for an error in weight k.
    inverse: Array = np.asarray(np.linalg.inv(ordered), np.float64)
    factor = np.asarray(np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2)).transpose(0, 2, 1)
    rounded = np.empty_like(work)
    size = work.shape[2]
    for start in range(0, size, _BLOCK):
        end = min(size, start + _BLOCK)
        errors = np.empty((*work.shape[:2], end - start))
        for k in range(start, end):
            rounded[:, :, k] = _nearest(work[:, :, k], limit)
            error = (work[:, :, k] - rounded[:, :, k]) / factor[:, k, k][:, None]
            work[:, :, k + 1 : end] -= error[:, :, None] * factor[:, None, k, k + 1 : end]
            errors[:, :, k - start] = error
        work[:, :, end:] -= errors @ factor[:, start:end, end:]
    result = np.empty_like(rounded)
    np.put_along_axis(result, np.broadcast_to(order[:, None, :], rounded.shape), rounded, axis=2)
    return result


def _descend(steps: Array, target: Array, square: Array, limit: int) -> Array:
    diagonal = np.einsum("gkk->gk", square)
    gradient = (steps - target) @ square
    for _ in range(_PASSES):
        changed = False
        for k in range(steps.shape[2]):
            best = _nearest(steps[:, :, k] - gradient[:, :, k] / diagonal[:, k][:, None], limit)
            move = best - steps[:, :, k]
            if move.any():
                changed = True
                steps[:, :, k] = best
                gradient += move[:, :, None] * square[:, None, k, :]
        if not changed:
            break
    return steps


def _nearest(values: Array, limit: int) -> Array:
    return np.clip(np.rint(values), -limit, limit)
