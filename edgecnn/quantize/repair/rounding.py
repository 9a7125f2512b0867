"""Round weights so that a layer's output stays right, not so that each weight is nearest.

Weights are rounded one after the other, and each makes up for the errors of those before it, while those
after it are taken to be free (Frantar and Alistarh 2022, arXiv:2208.11580; with one order for all outputs as
in arXiv:2210.17323). Then single weights are changed by whole steps for as long as that lowers the error.
Both need only the second moments of the layer's input, or the rows that these would be taken from.
Products are in float32: the result is integers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

#: Added to the moments' diagonal, relative to its mean: a direction that no image has shown is not free, and
#: in one that few rows have shown, what they say holds for other images in part only.
_DAMPING = 0.05
#: Weights between two updates of all those that follow.
_BLOCK = 64
#: The same where rows are given: each update then solves equations in the rows.
_ROWS_BLOCK = 256
_PASSES = 3


def round_weights(target: Array, square: npt.NDArray[np.floating], limit: int = 127) -> Array:
    """Return integers near `target`, (g, outputs, k) in units of steps, for inputs with moments `square`.

    `square` is (g, k, k), symmetric and positive semi-definite. No integer is beyond -limit..limit.
    """
    mean = np.einsum("gkk->gk", square).mean(axis=1)[:, None, None] + 1e-20
    relative = (square / mean).astype(np.float32, copy=False)
    wanted = target.astype(np.float32)
    steps = _feed_back(wanted, relative, limit)
    _damp(relative, _DAMPING)
    return _descend(steps, wanted, relative, limit).astype(np.float64)


def _damp(square: Single, damping: float) -> None:
    np.einsum("gkk->gk", square)[:] += np.float32(damping)


def round_by_rows(target: Array, rows: Single, limit: int = 127) -> Array:
    """Return what `round_weights` does, to rounding, for inputs of which few rows are known.

    `rows` are (g, n, k), about their means. No matrix is larger than they are.
    """
    size = np.square(rows).mean(axis=(1, 2), keepdims=True, dtype=np.float64) * rows.shape[1] + 1e-20
    relative = rows / np.sqrt(size).astype(np.float32)
    wanted = target.astype(np.float32)
    steps = _feed_back_by_rows(wanted, relative, limit)
    return _descend_by_rows(steps, wanted, relative, limit).astype(np.float64)


def _feed_back(target: Single, square: Single, limit: int) -> Single:
    order = _order(np.einsum("gkk->gk", square))
    group = np.arange(len(order))[:, None]
    factor = _upper_factor(square[group[:, :, None], order[:, :, None], order[:, None, :]])
    return _unordered(_round_in_turn(_ordered(target, order), factor, None, limit), order)


def _order(diagonal: Single) -> npt.NDArray[np.int64]:
    """Return the inputs that matter most first, while most weights are still free."""
    return np.argsort(-diagonal, axis=1, kind="stable")


def _ordered(values: Single, order: npt.NDArray[np.int64]) -> Single:
    return np.take_along_axis(values, order[:, None, :], axis=2)


def _unordered(values: Single, order: npt.NDArray[np.int64]) -> Single:
    result = np.empty_like(values)
    np.put_along_axis(result, np.broadcast_to(order[:, None, :], values.shape), values, axis=2)
    return result


def _round_in_turn(target: Single, factor: Single, owed: Single | None, limit: int) -> Single:
    """Return `target`, (g, outputs, k), rounded one weight after the other.

    `factor` is M of `_upper_factor`; `owed`, (g, outputs, k), is what other weights leave to be made up for.
    """
    size = target.shape[2]
    result, errors = np.empty_like(target), np.empty_like(target)
    for start in range(0, size, _BLOCK):
        end = min(size, start + _BLOCK)
        # What the weights of earlier blocks leave.
        late = errors[:, :, :start] @ factor[:, :start, start:end]
        if owed is not None:
            late += owed[:, :, start:end]
        inside = np.ascontiguousarray(factor[:, start:end, start:end])
        for k in range(end - start):
            at = start + k
            wanted = target[:, :, at] - late[:, :, k] / inside[:, k, k][:, None]
            result[:, :, at] = _nearest(wanted, limit)
            errors[:, :, at] = error = result[:, :, at] - target[:, :, at]
            late[:, :, k + 1 :] += error[:, :, None] * inside[:, None, k, k + 1 :]
    return result


def _upper_factor(square: Single) -> Single:
    """Return upper triangular M with M M^T = `square`, damped.

    The error of rounding is then |M^T e|^2, in whose row k only the errors of the first k weights are.
    """
    reverse = square[:, ::-1, ::-1].copy()
    _damp(reverse, _DAMPING)
    try:
        factor = np.linalg.cholesky(reverse)
    except np.linalg.LinAlgError:  # one direction has nearly all of the moments
        factor = np.linalg.cholesky(reverse.astype(np.float64)).astype(np.float32)
    return np.asarray(factor[:, ::-1, ::-1])


def _feed_back_by_rows(target: Single, rows: Single, limit: int) -> Single:
    """Return what `_feed_back` does for square = X^T X, with X the `rows`, (g, n, k).

    Let b be some weights and F those after them, d the damping and P = d (d + X_F X_F^T)^-1. Where F is
    free, the moments of b are X_b^T P X_b + d, and what an earlier error e owes to b is e X^T P X_b.
    """
    order = _order(np.square(rows).sum(axis=1))
    rows, target = _ordered(rows, order), _ordered(target, order)
    groups, count, size = rows.shape
    parts = [slice(start, start + _ROWS_BLOCK) for start in range(0, size, _ROWS_BLOCK)]
    damping = np.float32(_DAMPING)
    free = np.tile(damping * np.eye(count, dtype=np.float32), (groups, 1, 1))
    seen = np.empty_like(rows)
    for part in reversed(parts):
        seen[:, :, part] = damping * np.linalg.solve(free, rows[:, :, part])
        free += rows[:, :, part] @ rows[:, :, part].transpose(0, 2, 1)
    result = np.empty_like(target)
    residual = np.zeros((*target.shape[:2], count), np.float32)
    for part in parts:
        factor = _upper_factor(rows[:, :, part].transpose(0, 2, 1) @ seen[:, :, part])
        owed = np.linalg.solve(factor, (residual @ seen[:, :, part]).transpose(0, 2, 1)).transpose(0, 2, 1)
        result[:, :, part] = _round_in_turn(target[:, :, part], factor, owed, limit)
        residual += (result[:, :, part] - target[:, :, part]) @ rows[:, :, part].transpose(0, 2, 1)
    return _unordered(result, order)


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


def _descend_by_rows(steps: Single, target: Single, rows: Single, limit: int) -> Single:
    """Do what `_descend` does for square = X^T X, damped, with X the `rows`, (g, n, k)."""
    residual = (steps - target) @ rows.transpose(0, 2, 1)
    for _ in range(_PASSES):
        changed = False
        for start in range(0, rows.shape[2], _BLOCK):
            part = slice(start, start + _BLOCK)
            those = rows[:, :, part]
            turned = those.transpose(0, 2, 1)
            square = turned @ those
            _damp(square, _DAMPING)
            away = np.float32(_DAMPING) * (steps[:, :, part] - target[:, :, part])
            diagonal = np.einsum("gkk->gk", square)
            moved = _descend_block(steps[:, :, part], residual @ those + away, square, diagonal, limit)
            if moved.any():
                changed = True
                residual += moved @ turned
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
