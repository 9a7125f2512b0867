"""What a network costs: parameters and multiply-accumulates."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgecnn.image_size import Size, SizeLike
from edgecnn.zoo.input_errors import fitting


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-accumulates of convolution and linear layers for one image."""

    params: int
    macs: int


def count(network: nn.Module, in_channels: int, resolution: SizeLike) -> Cost:
    """Count by a forward pass on torch's meta device: no arithmetic is done, no memory is taken.

    A convolution costs out.numel() * in_channels / groups * kh * kw, a linear layer
    out.numel() * in_features. Raises InvalidValueError if the network cannot take such an input.
    """
    macs = 0

    def add(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal macs
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1]
            macs += out.numel() * module.in_channels // module.groups * kernel
        elif isinstance(module, nn.Linear):
            macs += out.numel() * module.in_features

    meta = copy.deepcopy(network).to("meta").eval()
    for module in meta.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(add)
    size = Size.of(resolution)
    with torch.no_grad(), fitting(size):
        meta(torch.empty(1, in_channels, *size, device="meta"))
    return Cost(sum(p.numel() for p in network.parameters() if p.requires_grad), macs)
