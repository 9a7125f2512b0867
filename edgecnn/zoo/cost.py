"""What a network costs: parameters and multiply-accumulates."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.image_size import Size, SizeLike
from edgecnn.zoo import network_outputs
from edgecnn.zoo.input_errors import fitting


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-accumulates of convolution and linear layers for one image."""

    params: int
    macs: int


@dataclass(frozen=True)
class Trial:
    """What one image costs, and what comes of it."""

    cost: Cost
    #: By name, see `network_outputs.named`; their shapes count, not their values.
    outputs: dict[str, Tensor]


def count(network: nn.Module, in_channels: int, resolution: SizeLike) -> Cost:
    """Return what one image costs. Raises InvalidValueError if the network cannot take such an input."""
    return trial(network, in_channels, resolution).cost


def trial(network: nn.Module, in_channels: int, resolution: SizeLike) -> Trial:
    """Make a forward pass on torch's meta device: no arithmetic is done, no memory is taken.

    A network that does not run there, for it makes tensors of its own on another device, runs really.
    A convolution costs out.numel() * in_channels / groups * kh * kw, a linear layer
    out.numel() * in_features. Raises InvalidValueError if the network cannot take such an input.
    """
    size = Size.of(resolution)
    with torch.no_grad(), fitting(size):
        image = torch.zeros(1, in_channels, *size)
        try:
            macs, outputs = _counted(copy.deepcopy(network).to("meta"), image.to("meta"))
        except Exception:  # whatever it is, the real run has it too or not
            macs, outputs = _counted(copy.deepcopy(network), image)
        params = sum(p.numel() for p in network.parameters() if p.requires_grad)
        return Trial(Cost(params, macs), network_outputs.named(outputs))


def _counted(network: nn.Module, image: Tensor) -> tuple[int, Any]:
    """Return the multiply-accumulates of an image, and the outputs."""
    macs = 0

    def add(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal macs
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1]
            macs += out.numel() * module.in_channels // module.groups * kernel
        elif isinstance(module, nn.ConvTranspose2d):  # each value that it reads goes into a filter's window
            macs += given[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            macs += out.numel() * module.in_features

    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            module.register_forward_hook(add)
    outputs = network.eval()(image)
    return macs, outputs
