"""What PyTorch's operators do to the channels that go through them: a table, by kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

ATEN = torch.ops.aten

#: Operators that move values: what they do to values they do to labels.
MOVES = {
    ATEN.view, ATEN._unsafe_view, ATEN.permute, ATEN.transpose, ATEN.t, ATEN.unsqueeze, ATEN.squeeze,
    ATEN.expand, ATEN.cat, ATEN.constant_pad_nd, ATEN.roll, ATEN.slice, ATEN.select, ATEN.split,
    ATEN.flip,
}  # fmt: skip
#: Operators that treat each channel of (N, C, H, W) by itself.
CHANNELWISE = {
    ATEN.max_pool2d_with_indices, ATEN.avg_pool2d, ATEN._adaptive_avg_pool2d, ATEN.adaptive_max_pool2d,
    ATEN.upsample_nearest2d, ATEN.upsample_bilinear2d,
}  # fmt: skip
#: Operators that take a shape from a tensor, but no value.
FACTORIES = {ATEN.empty_like, ATEN.zeros_like, ATEN.ones_like, ATEN.full_like, ATEN.rand_like}
REDUCTIONS = {ATEN.mean, ATEN.sum, ATEN.amax}
#: Operators on single values that torch does not tag as such.
ELEMENTWISE = {
    ATEN.clone, ATEN.detach, ATEN.alias, ATEN._to_copy, ATEN.native_dropout, ATEN.hardswish,
    ATEN._prelu_kernel,
}  # fmt: skip


def regrouped(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return which axes of `old` a view turns into which sizes of `new`, axes of one element left out."""
    left = [(axis, size) for axis, size in enumerate(old) if size != 1]
    right = [size for size in new if size != 1]
    found: list[tuple[list[int], list[int]]] = []
    while left:
        axis, a = left.pop(0)
        axes, sizes, b = [axis], [right.pop(0)], 0
        b = sizes[0]
        while a != b:
            if a < b:
                axis, size = left.pop(0)
                axes.append(axis)
                a *= size
            else:
                sizes.append(right.pop(0))
                b *= sizes[-1]
        found.append((axes, sizes))
    return found


def tensors_in(values: Any) -> list[Tensor]:
    """Return the tensors among an operator's arguments or results, those in lists too."""
    flat: list[Tensor] = []
    for item in values:
        if isinstance(item, Tensor):
            flat.append(item)
        elif isinstance(item, (tuple, list)):
            flat += tensors_in(item)
    return flat
