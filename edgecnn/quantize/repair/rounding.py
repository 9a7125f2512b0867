"""Round weights so that a layer's output stays right, not so that each weight is nearest.

Weights are rounded one after the other, and each makes up for the errors of those before it, while those
after it are taken to be free (Frantar and Alistarh 2022, arXiv:2208.11580; with one order for all outputs as
in arXiv:2210.17323). Then single weights are changed by whole steps for as long as that lowers the error.
Both need only the second moments of the layer's input. Products are in float32: the result is integers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

#: Added to the moments' diagonal, relative to its mean: a direction that no image has shown is not free.
_DAMPING = 0.01
_DESCENT_DAMPING = 1e-4
#: Weights between two updates of all those that follow.
_BLOCK = 64
_PASSES = 3


def round_weights(target: Array, square: npt.NDArray[np.floating], limit: int = 127) -> Array:
    """Return integers near `target`, (g, outputs, k) in units of steps, for inputs with moments `square`.

    `square` is (g, k, k), symmetric and positive semi-definite. No integer is beyond -limit..limit.
    """
    mean = np.einsum("gkk->gk", square).mean(axis=1)[:, None, None] + 1e-20
    relative = (square / mean).astype(np.float32, copy=False)
    wanted = target.astype(np.float32)
    steps = _feed_back(wanted, relative, limit)
    _damp(relative, _DESCENT_DAMPING)
    return _descend(steps, wanted, relative, limit).astype(np.float64)


def _damp(square: Single, damping: float) -> None:
    np.einsum("gkk->gk", square)[:] += np.float32(damping)


def _feed_back(target: Single, square: Single, limit: int) -> Single:
    # The inputs that matter most come first, while most weights are still free.
    order = np.argsort(-np.einsum("gkk->gk", square), axis=1, kind="stable")
    factor = _upper_factor(square, order)
    work = np.take_along_axis(target, order[:, None, :], axis=2)
    size = work.shape[2]
    errors = np.empty_like(work)
    for start in range(0, size, _BLOCK):
        end = min(size, start + _BLOCK)
        # What the weights of earlier blocks leave to be made up for.
        owed = errors[:, :, :start] @ factor[:, :start, start:end]
        inside = np.ascontiguousarray(factor[:, start:end, start:end])
        for k in range(end - start):
            at = start + k
            wanted = work[:, :, at] - owed[:, :, k] / inside[:, k, k][:, None]
            rounded = _nearest(wanted, limit)
            errors[:, :, at] = error = rounded - work[:, :, at]
            work[:, :, at] = rounded
            owed[:, :, k + 1 :] += error[:, :, None] * inside[:, None, k, k + 1 :]
    result = np.empty_like(work)
    np.put_along_axis(result, np.broadcast_to(order[:, None, :], work.shape), work, axis=2)
    return result


def _upper_factor(square: Single, order: npt.NDArray[np.int64]) -> Single:
    """Return upper triangular M with M M^T = `square`, damped, in an order.

    The error of rounding is then |M^T e|^2, in whose row k only the errors of the first k weights are.
    """
    group = np.arange(len(order))[:, None]
    turned = order[:, ::-1]
    reverse = square[group[:, :, None], turned[:, :, None], turned[:, None, :]]
    _damp(reverse, _DAMPING)
    try:
        factor = np.linalg.cholesky(reverse)
    except np.linalg.LinAlgError:  # one direction has nearly all of the moments
        factor = np.linalg.cholesky(reverse.astype(np.float64)).astype(np.float32)
    return np.asarray(factor[:, ::-1, ::-1])


def _descend(steps: Single, target: Single, square: Single, limit: int) -> Single:
    diagonal = np.einsum("gkk->gk", square)
    gradient = np.asarray((steps - target) @ square, np.float32)
    size = steps.shape[2]
    for _ in range(_PASSES):
        changed = False
        for start in range(0, size, _BLOCK):
            part = slice(start, min(size, start + _BLOCK))
            moved = _descend_block(
                steps[:, :, part],
                gradient[:, :, part].copy(),
                square[:, part, part],
                diagonal[:, part],
                limit,
            )
            if moved.any():
                changed = True
                gradient += moved @ square[:, part]
        if not changed:
            break
    return steps


def _descend_block(steps: Single, gradient: Single, square: Single, diagonal: Single, limit: int) -> Single:
    """Change `steps`, some weights of each output, in place; return by how much each was moved."""
    before = steps.copy()
    for k in range(steps.shape[2]):
        best = _nearest(steps[:, :, k] - gradient[:, :, k] / diagonal[:, k][:, None], limit)
        move = best - steps[:, :, k]
        if move.any():
            steps[:, :, k] = best
            gradient += move[:, :, None] * square[:, None, k, :]
    return steps - before


def _nearest(values: Single, limit: int) -> Single:
    return np.clip(np.rint(values), -limit, limit)
