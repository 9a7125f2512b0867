"""Fake quantization with learned steps: LSQ (Esser et al. 2020, arXiv:1902.08153), LSQ+ for an offset.

The forward pass rounds as QuantizeLinear does, half to even, with the scale and the integer zero point that
the file will have. What is learned is the logarithm of a scale, relative to where it starts: a scale stays
positive, and one learning rate, as a share per step, fits every tensor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

#: Learning rate of a step's logarithm over that of the weights (`train/optimizer.py`).
_RATE_FACTOR = 100.0


class _Round(torch.autograd.Function):
    """Values to integer times scale, with the gradients of LSQ and LSQ+.

    The integers run from `smallest` to `largest`, and `zero` stands for 0 (None: 0 itself). LSQ, section 2.1,
    with v = (x - low) / scale: dx is 1 inside the range and 0 outside; dscale is round(v) - v inside and the
    nearest end's number of steps outside. LSQ+ (Bhalgat et al. 2020, arXiv:2004.09576, section 3.1): dlow is
    0 inside and 1 outside. `share` multiplies both.
    """

    # In place, and compared with numbers: against tensors, or on masks, each operation is ten times slower.

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        low: Tensor | None,
        zero: Tensor | None,
        smallest: int,
        largest: int,
        share: float,
    ) -> Tensor:
        steps = x / scale
        result = steps.round()
        if zero is None:
            result.clamp_(smallest, largest)
        else:
            result.add_(zero).clamp_(smallest, largest).sub_(zero)
            steps.add_(zero)
        result.mul_(scale)
        ctx.save_for_backward(x, steps, result, scale, low)
        ctx.settings = smallest, largest, share
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, steps, result, scale, low = ctx.saved_tensors
        smallest, largest, share = ctx.settings
        dx = torch.ops.aten.hardtanh_backward(gradient, steps, smallest, largest)
        beyond = gradient - dx
        dlow = None if low is None else beyond.sum()
        dscale = (result - x).mul_(dx).add_(beyond.mul_(result)).sum_to_size(scale.shape)
        if dlow is not None:
            dscale, dlow = dscale - low * dlow, dlow * share
        return dx, dscale / scale * share, dlow, None, None, None, None


def _logarithm(value: Tensor) -> nn.Parameter:
    """Return the parameter of a step's logarithm: decay would pull it to where it started."""
    parameter = nn.Parameter(value)
    parameter.rate_factor, parameter.no_decay = _RATE_FACTOR, True  # type: ignore[attr-defined]
    return parameter


class ActivationQuantizer(nn.Module):
    """Rounds feature maps to `levels` + 1 values with one scale, and the zero point of the range's low end.

    `scale` and `zero` are where it starts, `smallest` and `largest` the integers of its type. A range that
    starts at zero goes on doing so: engines then compute a ReLU by the saturation. `width` is the widest that
    a range may become, None for any: beyond what a clip lets through, an engine would have to clip as well.
    """

    start: Tensor

    def __init__(
        self, scale: float, zero: int, smallest: int, largest: int, symmetric: bool, width: float | None
    ) -> None:
        super().__init__()
        self.smallest, self.largest, self.symmetric = smallest, largest, symmetric
        self.register_buffer("start", torch.tensor(scale, dtype=torch.float32))
        self.log_scale = _logarithm(torch.zeros(()))
        #: Offset of LSQ+, the range's low end, as a share of the one at the start.
        self.log_low: nn.Parameter | None = None
        self._zero = zero
        if not symmetric and zero != smallest:
            self.log_low = _logarithm(torch.zeros(()))
        widest = None if width is None else max(width / (largest - smallest), scale)
        self._limit = None if widest is None else float(torch.log(torch.tensor(widest / scale)))

    @property
    def scale(self) -> Tensor:
        """The step."""
        if self._limit is not None:
            with torch.no_grad():
                self.log_scale.clamp_(max=self._limit)
        return self.start * self.log_scale.exp()

    @property
    def low(self) -> Tensor | None:
        """The range's low end before rounding; None where it does not move."""
        if self.log_low is None:
            return None
        return (self.smallest - self._zero) * self.start * self.log_low.exp()

    def zero(self, scale: Tensor, low: Tensor | None) -> Tensor:
        """Return the zero point, an integer as a float."""
        if low is None:
            return torch.full_like(scale, self._zero)
        return (self.smallest - (low / scale).round()).clamp(self.smallest, self.largest)

    def forward(self, x: Tensor) -> Tensor:
        """Return the values that the integers of `x` (N, ...) stand for."""
        scale, low = self.scale, self.low
        with torch.no_grad():
            zero = None if low is None else self.zero(scale, low)
        features = max(1, x.numel() // max(1, len(x)))
        share = (features * self.largest) ** -0.5
        return _Round.apply(x, scale, low, zero, self.smallest, self.largest, share)

    def ends(self) -> tuple[float, float]:
        """Return the range that `qdq.scale_and_zero` makes this scale and zero point of."""
        with torch.no_grad():
            scale = self.scale
            zero, step = int(self.zero(scale, self.low)), float(scale)
        low = -self.largest if self.symmetric else self.smallest - zero
        return low * step, (self.largest - zero) * step


class WeightQuantizer(nn.Module):
    """A weight that is trained in float and rounded to -limit..limit, one scale per channel of `axis`."""

    start: Tensor

    def __init__(self, weight: Tensor, scale: Tensor, axis: int, limit: int = 127) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.axis = axis
        self._limit = limit
        self._shape = [-1 if index == axis else 1 for index in range(weight.ndim)]
        self.register_buffer("start", scale)
        self.log_scale = _logarithm(torch.zeros_like(scale))

    @property
    def scale(self) -> Tensor:
        """The step of each channel, (channels,)."""
        return self.start * self.log_scale.exp()

    def forward(self) -> Tensor:
        """Return integer times scale."""
        scale = self.scale
        share = (self.weight.numel() / scale.numel() * self._limit) ** -0.5
        steps = scale.view(self._shape)
        return _Round.apply(self.weight, steps, None, None, -self._limit, self._limit, share)

    def integers(self) -> Tensor:
        """Return what the file stores, int8."""
        with torch.no_grad():
            steps = (self.weight / self.scale.view(self._shape)).round()
            return steps.clamp(-self._limit, self._limit).to(torch.int8)


class Constant(nn.Module):
    """What a sum or a product reads besides a feature map: it is not trained."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self) -> Tensor:
        """Return the value."""
        return self.value


class BiasQuantizer(nn.Module):
    """A bias that is rounded to int32 in steps of input scale times weight scale, which it does not train."""

    def __init__(self, bias: Tensor, source: ActivationQuantizer, weight: WeightQuantizer) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias)
        # Their modules are registered where they quantize.
        self._scales = (source, weight)

    def forward(self) -> Tensor:
        """Return integer times scale, (channels,)."""
        with torch.no_grad():
            source, weight = self._scales
            scale = source.scale * weight.scale
            error = (self.bias / scale).round() * scale - self.bias
        return self.bias + error
