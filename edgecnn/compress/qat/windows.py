"""Convolution and pooling over height and width as ONNX defines them: pads of any kind, rounding up."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from edgecnn.errors import InvalidValueError

#: An attribute is a list, a default a tuple.
Ints = list[int] | tuple[int, ...]


def _pads(
    x: Tensor, kernel: Ints, strides: Ints, dilations: Ints, pads: Ints, auto_pad: str
) -> tuple[list[int], list[int]]:
    """Return what is added before and after height and width."""
    if x.ndim != 4:
        raise InvalidValueError(f"windows over {x.ndim - 2} axes cannot be trained", hint="two are meant")
    if auto_pad in ("NOTSET", "VALID"):
        return ([*pads[:2]], [*pads[2:]]) if auto_pad == "NOTSET" else ([0, 0], [0, 0])
    begin, end = [], []
    for size, window, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        reach = (math.ceil(size / stride) - 1) * stride + (window - 1) * dilation + 1
        total = max(0, reach - size)
        before = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
        begin.append(before)
        end.append(total - before)
    return begin, end


def _padded(x: Tensor, begin: Ints, end: Ints, value: float = 0.0) -> Tensor:
    return F.pad(x, (begin[1], end[1], begin[0], end[0]), value=value)


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel_shape: Ints = (),
    strides: Ints = (1, 1),
    dilations: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    auto_pad: str = "NOTSET",
    group: int = 1,
) -> Tensor:
    """Convolve over height and width."""
    begin, end = _pads(x, weight.shape[2:], strides, dilations, pads, auto_pad)
    if begin != end:
        x, begin = _padded(x, begin, end), [0, 0]
    return F.conv2d(x, weight, bias, tuple(strides), tuple(begin), tuple(dilations), group)


def _beyond(
    x: Tensor, kernel: Ints, strides: Ints, dilations: Ints, begin: Ints, end: Ints, ceil_mode: int
) -> list[int]:
    """Return how far the last window reaches beyond the padding, if rounding up adds one.

    A window that would start in the padding after the image is left out.
    """
    if not ceil_mode:
        return [0, 0]
    extra = []
    for axis in range(2):
        size = x.shape[2 + axis]
        window = (kernel[axis] - 1) * dilations[axis] + 1
        last = math.ceil((size + begin[axis] + end[axis] - window) / strides[axis])
        if last * strides[axis] >= size + begin[axis]:
            last -= 1
        extra.append(max(0, last * strides[axis] + window - size - begin[axis] - end[axis]))
    return extra


def max_pool(
    x: Tensor,
    *,
    kernel_shape: Ints,
    strides: Ints = (1, 1),
    dilations: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    storage_order: int = 0,
) -> Tensor:
    """Return the largest value of each window; padding never is."""
    begin, end = _pads(x, kernel_shape, strides, dilations, pads, auto_pad)
    extra = _beyond(x, kernel_shape, strides, dilations, begin, end, ceil_mode)
    if (
        begin != end
        or any(extra)
        or any(2 * pad > size for pad, size in zip(begin, kernel_shape, strict=True))
    ):
        end = [pad + more for pad, more in zip(end, extra, strict=True)]
        x, begin = _padded(x, begin, end, -math.inf), [0, 0]
    return F.max_pool2d(x, kernel_shape, strides, begin, dilations)


def average_pool(
    x: Tensor,
    *,
    kernel_shape: Ints,
    strides: Ints = (1, 1),
    pads: Ints = (0, 0, 0, 0),
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
) -> Tensor:
    """Return the mean of each window; what lies beyond the padding does not count."""
    begin, end = _pads(x, kernel_shape, strides, (1, 1), pads, auto_pad)
    extra = _beyond(x, kernel_shape, strides, (1, 1), begin, end, ceil_mode)
    if not any((*begin, *end, *extra)):
        return F.avg_pool2d(x, kernel_shape, strides)
    counted = torch.ones_like(x[:1, :1])
    counted = _padded(counted, begin, end, float(bool(count_include_pad)))
    counted = _padded(counted, (0, 0), extra)
    end = [pad + more for pad, more in zip(end, extra, strict=True)]
    total = F.avg_pool2d(_padded(x, begin, end), kernel_shape, strides, divisor_override=1)
    return total / F.avg_pool2d(counted, kernel_shape, strides, divisor_override=1)
