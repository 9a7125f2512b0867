"""Output shapes of the most frequent operations, by arithmetic.

Torch's meta device knows them all, but to tell them it imports sympy and its compiler, which takes a
second: longer than everything else that `edgecnn info` does. A function here returns None for
whatever it is not sure of, and torch is asked, or raises its error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

Shape = tuple[int, ...]


def window(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil: bool = False,
) -> Shape | None:
    """Return how many places a window has along each axis; None if there are none along one.

    With `ceil`, a last window may hang over the end, but not begin in the padding there.
    """
    counts = []
    for length, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        free = length + 2 * p - d * (k - 1) - 1
        if free < 0:
            return None
        count = (-(-free // s) if ceil else free // s) + 1
        counts.append(count - 1 if ceil and (count - 1) * s >= length + p else count)
    return tuple(counts)


def _convolution(values: Mapping[str, Any]) -> Shape | None:
    image, weight = values["input"], values["weight"]
    padding = values.get("padding", 0)
    if image.ndim != weight.ndim or isinstance(padding, str):
        return None
    if image.shape[1] != weight.shape[1] * values.get("groups", 1):
        return None
    axes = weight.ndim - 2
    stride, dilation = (spread(values.get(key, 1), axes) for key in ("stride", "dilation"))
    places = window(image.shape[2:], weight.shape[2:], stride, spread(padding, axes), dilation)
    return places and (image.shape[0], weight.shape[0], *places)


def _pool(values: Mapping[str, Any]) -> Shape | None:
    image, kernel = values["input"], spread(values["kernel_size"], 2)
    stride = spread(values.get("stride") or kernel, 2)
    padding, dilation = (
        spread(values.get(key, default), 2) for key, default in (("padding", 0), ("dilation", 1))
    )
    if image.ndim != 4 or values.get("return_indices"):
        return None
    places = window(image.shape[2:], kernel, stride, padding, dilation, values.get("ceil_mode", False))
    return places and (*image.shape[:2], *places)


def _adaptive_pool(values: Mapping[str, Any]) -> Shape | None:
    wanted = spread(values["output_size"], 2)
    return None if None in wanted else (*values["input"].shape[:-2], *wanted)


def _linear(values: Mapping[str, Any]) -> Shape | None:
    rows, weight = values["input"].shape, values["weight"]
    return (*rows[:-1], weight.shape[0]) if rows[-1] == weight.shape[1] else None


def _broadcast(values: Mapping[str, Any]) -> Shape | None:
    shapes = [value.shape for value in (values["input"], values["other"]) if isinstance(value, Tensor)]
    result = []
    for sizes in itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        several = {size for size in sizes if size != 1} or {1}
        if len(several) > 1:
            return None
        result.append(several.pop())
    return tuple(reversed(result))


def _concatenation(values: Mapping[str, Any]) -> Shape | None:
    tensors, axis = values["tensors"], values.get("dim", 0)
    shape = list(tensors[0].shape)
    axis %= len(shape)
    for tensor in tensors[1:]:
        if [*tensor.shape[:axis], *tensor.shape[axis + 1 :]] != [*shape[:axis], *shape[axis + 1 :]]:
            return None
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    return tuple(shape)


def _padding(values: Mapping[str, Any]) -> Shape | None:
    shape, pads = list(values["input"].shape), values["pad"]
    for index in range(len(pads) // 2):
        shape[-1 - index] += pads[2 * index] + pads[2 * index + 1]
    return tuple(shape) if min(pads) >= 0 else None


_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
#: Torch's function, without underscores: its parameters in order, and its shape.
_FUNCTIONS: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], Shape | None] | None]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), (_CONVOLUTION, _convolution)),
    "linear": (("input", "weight", "bias"), _linear),
    "max_pool2d": (
        ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"), _pool
    ),
    "avg_pool2d": (("input", "kernel_size", "stride", "padding", "ceil_mode"), _pool),
    "lp_pool2d": (("input", "norm_type", "kernel_size", "stride"), None),
    "adaptive_avg_pool2d": (("input", "output_size"), _adaptive_pool),
    "add": (("input", "other"), _broadcast),
    "mul": (("input", "other"), _broadcast),
    "cat": (("tensors", "dim"), _concatenation),
    "pad": (("input", "pad"), _padding),
}  # fmt: skip


def bind(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of torch's function `name` by their names."""
    names, _ = _FUNCTIONS.get(name, ((), None))
    return {**dict(zip(names, args, strict=False)), **kwargs}


def output_shape(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Shape | None:
    """Return the shape of what torch's function `name` would return; None if it has to be asked."""
    function = _FUNCTIONS.get(name, ((), None))[1]
    try:
        return function(bind(name, args, kwargs)) if function else None
    except (KeyError, AttributeError, TypeError):  # called in a way that is not foreseen here
        return None


def spread(value: Any, count: int) -> tuple[Any, ...]:
    """Return one number for each of `count` axes."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return values * count if len(values) == 1 else values
