"""Learn for each weight whether it is rounded up or down, by gradient descent on a layer's output.

Nagel et al. 2020, arXiv:2004.10568: a rectified sigmoid stands for each choice, and a growing penalty
drives it to 0 or 1 (equations 22 to 25); the layer's input is the quantized network's, and the activation
after it counts. Three things differ. The choice is between an earlier rounding and its neighbour on the
side of the wanted weight. A share of the input's entries can come from the float network instead (Wei et
al. 2022, arXiv:2203.05740). And images that were not learned from decide, output by output, whether the
learned weights are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.optional_packages import require
from edgecnn.quantize.repair.patches import Rows
from edgecnn.quantize.repair.walk import Layer

Array = npt.NDArray[np.float64]

#: The sigmoid is stretched to this interval and then cut off at 0 and 1.
_LOW, _HIGH = -0.1, 1.1
#: Where a choice starts: on the earlier rounding's side of the middle, but free to leave it.
_START = 0.8
#: Exponent of the penalty at its first and its last iteration: the lower, the more choices it draws to 0
#: or 1. In the warm-up before, there is no penalty.
_EXPONENTS = (20.0, 2.0)
_WARM_UP = 0.2
#: Cost of a weight's distance from the wanted one, relative to the input's mean square, as in `rounding`.
_DAMPING = 0.01
#: Input values that are held at a time, which bounds the rows that are learned from.
_VALUES = 1 << 24
#: Share of the positions that decide whether what is learned is taken.
_HELD_OUT = 0.25


@dataclass(frozen=True)
class Settings:
    """How long and from what rounding is learned."""

    iterations: int = 100
    #: Rows of the input that each iteration sees, and all of them together.
    batch: int = 128
    rows: int = 4096
    #: Step of Adam.
    rate: float = 0.1
    #: Share of the input's entries that come from the float network.
    drop: float = 0.5
    #: Cost of all choices of an output being open, relative to the error of rounding it to nearest.
    penalty: float = 30.0
    seed: int = 0


_DEFAULTS = Settings()


def learn(
    layer: Layer,
    rows: Rows,
    target: Array,
    scale: Array,
    start: Array,
    settings: Settings = _DEFAULTS,
) -> Array:
    """Return integer weights (groups, outputs, k), each at most one step from `start`.

    `target` are the wanted weights and `start` integers for them, both (groups, outputs, k); `scale` is
    the size of their steps, (groups, outputs, 1). Needs torch: raises MissingPackageError without it.
    """
    torch = require("torch", "learned rounding")
    train, test = (_Examples(torch, layer, part, settings) for part in rows.cut(1 - _HELD_OUT))
    below = np.where(target >= start * scale, start, start - 1)
    limit = layer.scheme.weight_limit
    below = np.clip(below, -limit, limit - 1)
    lean = np.log((_START - _LOW) / (_HIGH - _START))
    floor, before, step, aim = (_tensor(torch, array) for array in (below, start, scale, target))
    choice = _tensor(torch, np.where(start > below, lean, -lean)).requires_grad_()
    damping = _DAMPING * float(train.given.square().mean())
    unit = train.rounding_error(aim, step)
    penalty = settings.penalty / target.shape[2]
    optimizer = torch.optim.Adam([choice], lr=settings.rate)
    batch = min(settings.batch, train.count)
    for iteration in range(settings.iterations):
        first = iteration * batch % (train.count - batch + 1)
        up = (torch.sigmoid(choice) * (_HIGH - _LOW) + _LOW).clamp(0, 1)
        weight = (floor + up) * step
        error = train.errors(weight, slice(first, first + batch))
        error = error + damping * (weight - aim).square().sum(2)
        loss = (error / unit).sum()
        progress = (iteration / settings.iterations - _WARM_UP) / (1 - _WARM_UP)
        if progress >= 0:
            exponent = _EXPONENTS[0] + (_EXPONENTS[1] - _EXPONENTS[0]) * progress
            loss = loss + penalty * (1 - (2 * up - 1).abs().pow(exponent)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        learned = floor + (choice > 0)
        better = test.errors(learned * step) < test.errors(before * step)
    return np.where(better.numpy()[:, :, None], learned.numpy(), start).astype(np.float64)


class _Examples:
    """What a layer gets and what it should give, at random positions, as tensors.

    `given` is (groups, rows, k). Where the layer has a bias, that is corrected later, so that only what
    differs from the mean counts.
    """

    def __init__(self, torch: ModuleType, layer: Layer, rows: Rows, settings: Settings) -> None:
        rng = np.random.default_rng(settings.seed)
        matrix = layer.view.as_matrix(layer.weight).transpose(0, 2, 1)
        groups, inputs, outputs = matrix.shape
        rows = rows.pick(min(settings.rows, max(256, _VALUES // (groups * inputs))), rng)
        exact, given = rows.wanted, rows.given
        wanted = exact @ matrix
        if settings.drop:
            given = np.where(rng.random(given.shape, np.float32) < settings.drop, exact, given)
        centre = np.zeros((groups, 1, outputs), np.float32)
        if layer.bias is not None:
            wanted += layer.bias.reshape(groups, 1, outputs)
            given = given - given.mean(axis=1, keepdims=True)
            centre = wanted.mean(axis=1, keepdims=True)
        self._bounds = layer.clip
        if self._bounds is not None:
            wanted = np.clip(wanted, *self._bounds)
        self._torch = torch
        self.count = rows.count
        self.given, self._wanted, self._centre = (_tensor(torch, array) for array in (given, wanted, centre))

    def errors(self, weight: Any, part: slice = slice(None)) -> Any:
        """Return each output's mean square error, (groups, outputs), with a weight (groups, outputs, k)."""
        output = self._torch.baddbmm(self._centre, self.given[:, part], weight.transpose(1, 2))
        if self._bounds is not None:
            output = output.clamp(*self._bounds)
        return (output - self._wanted[:, part]).square().mean(1)

    def rounding_error(self, target: Any, step: Any) -> Any:
        """Return what rounding to nearest adds to each output, (groups, outputs); above zero."""
        difference = (target / step).round() * step - target
        error = self._torch.bmm(self.given, difference.transpose(1, 2)).square().mean(1)
        return error + 1e-6 * error.mean() + 1e-30


def _tensor(torch: ModuleType, array: npt.NDArray[np.generic]) -> Any:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
