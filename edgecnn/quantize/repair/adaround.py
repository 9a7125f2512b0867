"""Learn for each weight whether it is rounded up or down, by gradient descent on a layer's output.

Nagel et al. 2020, arXiv:2004.10568: a rectified sigmoid stands for each choice, and a growing penalty drives it
to 0 or 1 (equations 22 to 25); the layer's input is the quantized network's, and the activation after it
counts. Here the choice is between an earlier rounding and its neighbour on the side of the
wanted weight, and part of the input's entries come from the float network instead (Wei et al. 2022,
arXiv:2203.05740), which keeps the choice from fitting the noise of a few images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.lazy import require
from edgecnn.quantize.repair.patches import Patches, as_matrix
from edgecnn.quantize.repair.walk import Layer
from edgecnn.quantize.weights import WEIGHT_LEVELS

Array = npt.NDArray[np.float64]

#: The sigmoid is stretched to this interval and then cut off at 0 and 1.
_STRETCH = (-0.1, 1.1)
#: Exponent of the penalty: while it falls, ever more choices are drawn to 0 or 1. Before that, none are.
_EXPONENT = (20.0, 2.0)
_WARM_UP = 0.2
#: Input values that are held at a time, which bounds the rows that are learned from.
_VALUES = 1 << 24
#: Share of the positions that decide whether the learned weights of an output are taken.
_HELD_OUT = 0.25


@dataclass(frozen=True)
class Settings:
    """How long and from what rounding is learned."""

    iterations: int = 500
    #: Rows of the input that each iteration sees, and all of them together.
    batch: int = 256
    rows: int = 8192
    #: Step of Adam.
    rate: float = 0.01
    #: Share of the input's entries that come from the float network.
    drop: float = 0.5
    #: Weight of the penalty, relative to the error of rounding to nearest.
    penalty: float = 1.0
    #: Cost of a weight's distance from the wanted one, relative to the mean square of the input.
    damping: float = 0.01
    lean: float | None = None
    refit: bool = False
    seed: int = 0


def learn(
    layer: Layer,
    patches: Patches,
    target: Array,
    scale: Array,
    start: Array,
    settings: Settings = Settings(),  # noqa: B008
) -> Array:
    """Return integer weights (groups, outputs, k) that are nowhere more than a step from `start`.

    `target` are the wanted weights, `scale` their steps, (groups, outputs, 1). An output whose error the
    learned weights do not lower keeps those of `start`. Needs torch, and raises MissingPackageError
    without it.
    """
    torch = require("torch", "learned rounding")
    train, test = (_Rows(layer, part, target, settings, torch) for part in patches.cut(1 - _HELD_OUT))
    base = np.where(target >= start * scale, start, start - 1)
    base = np.clip(base, -WEIGHT_LEVELS, WEIGHT_LEVELS - 1)
    if settings.lean is None:
        inside = np.clip(target / scale - base, 0.01, 0.99)
    else:
        inside = 0.5 + np.where(start > base, settings.lean, -settings.lean)
    low, high = _STRETCH
    fraction = (inside - low) / (high - low)

    def tensor(array: npt.NDArray[np.generic]) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))

    choice = tensor(np.log(fraction / (1 - fraction))).requires_grad_()
    floor, step, aim, before = tensor(base), tensor(scale), tensor(target), tensor(start)
    nearest = aim + step * (torch.round(aim / step).clamp(-WEIGHT_LEVELS, WEIGHT_LEVELS) - aim / step)
    damping = settings.damping * float(train.given.square().mean())
    with torch.no_grad():
        # What rounding to nearest costs, without what no rounding can help.
        share = torch.bmm(train.given, (nearest - aim).transpose(1, 2)).square().mean(1)
        unit = 1 / (share + 1e-6 * share.mean() + 1e-30)
    penalty = settings.penalty / target.shape[2]
    optimizer = torch.optim.Adam([choice], lr=settings.rate, fused=True)
    batch = min(settings.batch, train.count)
    for iteration in range(settings.iterations):
        first = iteration * batch % (train.count - batch + 1)
        up = (torch.sigmoid(choice) * (high - low) + low).clamp(0, 1)
        weight = (floor + up) * step
        error = train.errors(weight, slice(first, first + batch))
        loss = ((error + damping * (weight - aim).square().sum(2)) * unit).sum()
        progress = (iteration / settings.iterations - _WARM_UP) / (1 - _WARM_UP)
        if progress > 0:
            exponent = _EXPONENT[0] + (_EXPONENT[1] - _EXPONENT[0]) * progress
            loss = loss + penalty * (1 - (2 * up - 1).abs().pow(exponent)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        learned = floor + (choice > 0)
        old, new = test.errors(before * step), test.errors(learned * step)
        LOG.append(
            (
                layer.node.name,
                float((new / unit.reciprocal()).sum() / (old * unit).sum()),
                float((new < old).float().mean()),
                float(train.errors(learned * step).sum() / train.errors(before * step).sum()),
                float((learned != before).float().mean()),
            )
        )
    better = (new < old).numpy()[:, :, None]
    return np.where(better, learned.numpy(), start).astype(np.float64)


LOG = []


class _Rows:
    """What a layer gets and what it should give, at random positions, as tensors.

    `given` is (groups, rows, k), `wanted` (groups, rows, outputs). Where the layer has a bias, it is corrected
    later: only what differs from the mean counts.
    """

    def __init__(self, layer: Layer, patches: Patches, target: Array, settings: Settings, torch: Any) -> None:
        rng = np.random.default_rng(settings.seed)
        matrix = as_matrix(layer.node, layer.weight).transpose(0, 2, 1)
        groups, inputs, outputs = matrix.shape
        rows = patches.pick(min(settings.rows, max(256, _VALUES // (groups * inputs))), rng)
        self._torch = torch
        self._bounds = layer.clip
        self.count = rows.count
        exact, given = rows(layer.exact), layer.quantized_input(rows(layer.inexact))
        if settings.drop:
            given = np.where(rng.random(given.shape, np.float32) < settings.drop, exact, given)
        wanted = given @ target.astype(np.float32).transpose(0, 2, 1) if settings.refit else exact @ matrix
        centre = np.zeros((groups, 1, outputs), np.float32)
        if layer.bias is not None:
            wanted += layer.bias.reshape(groups, 1, outputs)
            given = given - given.mean(axis=1, keepdims=True)
            centre = wanted.mean(axis=1, keepdims=True)
        if layer.clip is not None:
            wanted = np.clip(wanted, *layer.clip)
        self.given, self._wanted, self._centre = map(torch.from_numpy, (given, wanted, centre))

    def errors(self, weight: Any, part: slice = slice(None)) -> Any:
        """Return the mean square error of each output, (groups, outputs), of a weight (groups, outputs, k)."""
        output = self._torch.baddbmm(self._centre, self.given[:, part], weight.transpose(1, 2))
        if self._bounds is not None:
            output = output.clamp(*self._bounds)
        return (output - self._wanted[:, part]).square().mean(1)
