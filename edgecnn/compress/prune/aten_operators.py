"""What PyTorch's operators do to the channels that go through them: a table, by kind."""

from __future__ import annotations

import torch

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
