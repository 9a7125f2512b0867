"""Convolutions that are trained as several branches and run as one (Ding et al. 2021, arXiv:2101.03697).

Between a convolution's branches and their sum there is nothing but batch normalization, which in evaluation
is linear: the sum is one convolution. `fold` puts that in the place of the branches.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: What the lineage calls the form of a network without branches.
FOLDED = "folded"
#: What the folded convolution of a block is called, in timm too.
_CONV = "reparam_conv"


class Branch(nn.Module):
    """A convolution with batch normalization."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.bn(self.conv(x))


class Reparameterized(nn.Module, ABC):
    """A block whose output is act(se(sum of its branches)): branches of convolutions, and maybe the identity.

    A subclass makes the branches in its constructor and names them; `act` and `attn` come last.
    """

    attn: nn.Module
    act: nn.Module
    #: Batch normalization of the input itself, where the block keeps its shape.
    identity: nn.BatchNorm2d | None

    def __init__(self) -> None:
        super().__init__()
        #: What takes the place of the branches.
        self.reparam_conv: nn.Conv2d | None = None

    @abstractmethod
    def branches(self) -> list[Branch]:
        """Return the branches with a convolution, the one of the largest kernel first."""

    @abstractmethod
    def branch_names(self) -> tuple[str, ...]:
        """Return the names of the modules that folding takes away."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        if self.reparam_conv is not None:
            return self.act(self.attn(self.reparam_conv(x)))
        total = sum((branch(x) for branch in self.branches()[1:]), self.branches()[0](x))
        if self.identity is not None:
            total = total + self.identity(x)
        return self.act(self.attn(total))

    @torch.no_grad()
    def fold(self) -> None:
        """Put one convolution in the place of the branches; nothing is left to do where that was done.

        It is computed in double precision and rounded once.
        """
        if self.reparam_conv is not None:
            return
        convs = [branch.conv for branch in self.branches()]
        first = convs[0]
        side = first.kernel_size[0]
        parts = [_folded(branch.conv.weight, branch.bn, side) for branch in self.branches()]
        if self.identity is not None:
            parts.append(_folded(_identity_kernel(first), self.identity, side))
        folded = nn.Conv2d(
            first.in_channels, first.out_channels, side, first.stride[0], side // 2, groups=first.groups,
            device=first.weight.device, dtype=first.weight.dtype,
        )  # fmt: skip
        folded.weight.copy_(torch.stack([kernel for kernel, _ in parts]).sum(0))
        assert folded.bias is not None
        folded.bias.copy_(torch.stack([bias for _, bias in parts]).sum(0))
        for name in self.branch_names():
            delattr(self, name)
        self.identity = None
        self.reparam_conv = folded.train(self.training)


def _identity_kernel(like: nn.Conv2d) -> Tensor:
    """Return the 1x1 kernel that gives back each channel, in the groups of `like`."""
    per_group = like.in_channels // like.groups
    weight = like.weight
    ones = torch.eye(per_group, device=weight.device, dtype=weight.dtype)
    return ones.repeat(like.groups, 1)[:, :, None, None]


def _folded(kernel: Tensor, norm: nn.BatchNorm2d, side: int) -> tuple[Tensor, Tensor]:
    """Return kernel, padded to `side`, and bias of a convolution followed by batch normalization."""
    assert norm.running_var is not None and norm.running_mean is not None
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    border = (side - kernel.shape[-1]) // 2
    bias = norm.bias.double() - norm.running_mean.double() * factor
    return F.pad(kernel.double() * factor[:, None, None, None], [border] * 4), bias


def blocks(network: nn.Module) -> Iterator[Reparameterized]:
    """Yield the blocks of a network that have branches, folded or not."""
    return (module for module in network.modules() if isinstance(module, Reparameterized))


def fold(network: nn.Module) -> int:
    """Fold every block in place; return how many there were with branches. Training is over then."""
    unfolded = [block for block in blocks(network) if block.reparam_conv is None]
    for block in unfolded:
        block.fold()
    return len(unfolded)


def folded_copy(network: nn.Module) -> nn.Module:
    """Return a network without branches: a folded copy, or `network` itself where it has none."""
    if all(block.reparam_conv is not None for block in blocks(network)):
        return network
    copied = copy.deepcopy(network)
    fold(copied)
    return copied


def is_folded(keys: Collection[str]) -> bool:
    """Return whether the names of a state dict are those of the folded form."""
    return any(f".{_CONV}." in f".{key}" for key in keys)
