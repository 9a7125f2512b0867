"""Batch normalization over the batch of all processes.

PyTorch's own SyncBatchNorm needs a GPU. With this, several processes compute what one would with the
same global batch, on any backend.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Sum(torch.autograd.Function):
    """Sum over the processes. Every process's loss depends on every summand, so gradients add up too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _mean(value: Tensor) -> Tensor:
    """Return the mean over the processes, all of which have as many images: the loader sees to it."""
    total: Tensor = _Sum.apply(value)
    return total / dist.get_world_size()


class _Synchronized(nn.BatchNorm2d):
    """A BatchNorm2d whose statistics in training are those of all processes' images."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        axes = (0, 2, 3)
        given = input.float()  # in half precision squares would overflow
        mean = _mean(given.mean(axes))
        centred = given - mean[:, None, None]
        variance = _mean(centred.square().mean(axes))
        self._track(mean.detach(), variance.detach(), input.numel() // input.shape[1])
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        result: Tensor = centred * scale[:, None, None]
        if self.bias is not None:
            result = result + self.bias[:, None, None]
        return result.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        count *= dist.get_world_size()
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(1, count - 1), share)


@contextlib.contextmanager
def synchronized(network: nn.Module) -> Iterator[None]:
    """Normalize over all processes inside; afterwards the network has its own layers again."""
    layers = [module for module in network.modules() if type(module) is nn.BatchNorm2d]
    for layer in layers:
        layer.__class__ = _Synchronized
    try:
        yield
    finally:
        for layer in layers:
            layer.__class__ = nn.BatchNorm2d
