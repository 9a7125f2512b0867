"""What an operation of torch is: its kind, its window, and its multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from edgecnn.zoo.analysis.output_shapes import bind, spread
from edgecnn.zoo.analysis.receptive import Field
from edgecnn.zoo.analysis.result import ACTIVATION, ATTENTION, ELEMENTWISE, NORMALIZATION

COPY, GLOBAL_POOL = "copy", "global pool"

#: Kind: the names of torch's functions for it, without underscores. Other operations that compute are of
#: the kind of their own name.
_KINDS = {
    NORMALIZATION: (
        "batch_norm", "layer_norm", "group_norm", "instance_norm", "local_response_norm", "rms_norm",
    ),
    ACTIVATION: (
        "relu", "relu6", "hardtanh", "clamp", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu",
        "mish", "hardswish", "sigmoid", "hardsigmoid", "tanh", "softplus", "softmax", "log_softmax",
    ),
    "add": ("add", "iadd", "radd"),
    "multiply": ("mul", "imul", "rmul"),
    "concat": ("cat", "concat", "concatenate"),
    COPY: (
        "reshape", "contiguous", "flatten", "roll", "clone", "to", "getitem", "stack", "repeat",
        "channel_shuffle", "index_select", "gather", "take",
    ),
}  # fmt: skip
_KIND = {name: kind for kind, names in _KINDS.items() for name in names}
_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
_POOLS = {"max_pool2d": "max pool", "avg_pool2d": "average pool", "lp_pool2d": "lp pool"}
_ADAPTIVE = {"adaptive_avg_pool2d": "average pool", "adaptive_max_pool2d": "max pool"}
_PRODUCTS = ("matmul", "bmm", "baddbmm", "einsum", "scaled_dot_product_attention")
#: After these a receptive field is not defined: elements see places that no single window holds.
_NO_FIELD = (*_PRODUCTS, "interpolate", "grid_sample", "conv_transpose2d")


def is_elementwise(name: str) -> bool:
    """Whether the output of torch's function `name` has its first argument's shape."""
    return _KIND.get(name) in ELEMENTWISE


@dataclass(frozen=True)
class Operation:
    """One operation: `kernel`, `stride` and `dilation` are those of its window, empty if it has none.

    `field` says what its output sees: a function of the windows below it, "all" or "none" otherwise.
    """

    kind: str
    macs: int = 0
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    sees: str = "window"

    def field(self, below: Field | None) -> Field | None:
        """Return the receptive field of the output, given that of what is read."""
        if self.sees == "none":
            return None
        if self.sees == "all":
            return (below or Field()).everything()
        if below is None or not self.kernel:
            return below
        return below.slide(self.kernel, self.stride, self.dilation) if len(self.kernel) == 2 else None


def describe(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], output: Tensor) -> Operation:
    """Return what torch's function `name` did when it was called with these arguments."""
    bound = bind(name, args, kwargs)
    if name in _CONVOLUTIONS:
        return _convolution(bound, output)
    if name == "linear":
        macs = output.numel() * bound["weight"].shape[1]
        # On tokens or maps with channels last it works place by place; on a flat vector it sees all of it.
        return Operation("linear", macs, sees="window" if output.ndim > 2 else "all")
    if name in _POOLS:
        kernel = spread(bound["kernel_size"], 2)
        stride = spread(bound.get("stride") or kernel, 2)
        return Operation(_POOLS[name], 0, kernel, stride, spread(bound.get("dilation", 1), 2))
    if name in _ADAPTIVE:
        return _adaptive_pool(_ADAPTIVE[name], args[0], output)
    if name == "mean" and _is_spatial(args[0].ndim, args[1] if len(args) > 1 else kwargs.get("dim")):
        return Operation(GLOBAL_POOL, sees="all")
    if name in _PRODUCTS:
        return Operation(ATTENTION, _product_macs(name, args, output), sees="none")
    return Operation(_KIND.get(name, name), sees="none" if name in _NO_FIELD else "window")


def _convolution(bound: Mapping[str, Any], output: Tensor) -> Operation:
    weight: Tensor = bound["weight"]
    kernel, axes, groups = tuple(weight.shape[2:]), weight.ndim - 2, bound.get("groups", 1)
    channels = weight.shape[1] * groups
    if groups == 1:
        kind = "1x1 conv" if math.prod(kernel) == 1 else "conv"
    else:
        kind = "depthwise conv" if groups == channels else "grouped conv"
    return Operation(
        kind,
        output.numel() * weight.shape[1] * math.prod(kernel),
        kernel,
        spread(bound.get("stride", 1), axes),
        spread(bound.get("dilation", 1), axes),
        groups,
    )


def _adaptive_pool(kind: str, image: Tensor, output: Tensor) -> Operation:
    """Windows of adaptive pooling: output i of n reads floor(i * size / n) to ceil((i + 1) * size / n)."""
    if output.shape[-2:].numel() == 1:
        return Operation(GLOBAL_POOL, sees="all")
    kernel, stride = [], []
    for size, count in zip(image.shape[-2:], output.shape[-2:], strict=True):
        kernel.append(max(-(-(i + 1) * size // count) - i * size // count for i in range(count)))
        stride.append(round(size / count))
    return Operation(kind, 0, tuple(kernel), tuple(stride), (1, 1))


def _is_spatial(axes: int, reduced: int | Sequence[int] | None) -> bool:
    """Whether a mean goes over all places: height and width of a map, or the tokens of a sequence."""
    if reduced is None:
        return True
    dims = {dim % axes for dim in ((reduced,) if isinstance(reduced, int) else reduced)}
    return len(dims) >= 2 if axes > 3 else dims == {axes - 2}


def _product_macs(name: str, args: Sequence[Any], output: Tensor) -> int:
    if name == "scaled_dot_product_attention":
        query, key = args[0], args[1]
        return int((query.numel() + output.numel()) * key.shape[-2])
    if name in ("matmul", "bmm"):
        return int(output.numel() * args[0].shape[-1])
    return 0
