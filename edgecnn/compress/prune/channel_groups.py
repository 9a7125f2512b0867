"""Groups of channels that can be removed, and what a network costs without some of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgecnn.compress.prune.channel_labels import FIXED, Channels, Labels, trace
from edgecnn.zoo.cost import Cost

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Group:
    """Channels with the same readers and writers: any number of them may go, as long as some stay."""

    #: Labels of the channels, each an index of a mask.
    labels: Labels
    #: Channels that a label has in the narrowest layer that writes it: 1, or more where channels are tied.
    each: int
    #: Numbers of labels that may stay, from the least to all of them.
    counts: tuple[int, ...]


class Groups:
    """The channels of one network: what may go, what that leaves, and what it then costs.

    `align` is the multiple that channel counts should have. A layer keeps its own count, or a multiple of
    `align` below it; so a layer of no more than `align` channels stays as it is.
    """

    def __init__(self, network: nn.Module, example: Tensor, align: int) -> None:
        self._channels: Channels = trace(network, example)
        self._shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(network)}
        self._trained = {name for name, item in network.named_parameters() if item.requires_grad}
        self.labels = 1 + max((int(item.max()) for item in self.axes.values()), default=0)
        self.groups = _grouped(self.axes, align, self.transposed)

    @property
    def axes(self) -> Mapping[tuple[str, int], Labels]:
        """(Tensor, axis): the label of each position; labels that are in no group stay."""
        return self._channels.axes

    @property
    def transposed(self) -> frozenset[str]:
        """Weights whose first axis counts what they read, and the second what they write."""
        return self._channels.transposed

    def everything(self) -> Mask:
        """Return the mask that keeps every channel."""
        return np.ones(self.labels, bool)

    def smallest(self) -> Mask:
        """Return a mask with as few channels as may be; which of a group stay means nothing."""
        keep = self.everything()
        for group in self.groups:
            keep[group.labels[group.counts[0] :]] = False
        return keep

    def shapes(self, keep: Mask) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter and buffer under a mask of labels."""
        shapes = {name: list(shape) for name, shape in self._shapes.items()}
        for (name, axis), labels in self.axes.items():
            shapes[name][axis] = int(keep[labels].sum())
        return {name: tuple(shape) for name, shape in shapes.items()}

    def cost(self, keep: Mask) -> Cost:
        """Return parameters and multiply-accumulates of the network under a mask, for one image."""
        sizes = {name: math.prod(shape) for name, shape in self.shapes(keep).items()}
        macs = sum(sizes[name] * positions for name, positions in self._channels.positions.items())
        return Cost(sum(sizes[name] for name in self._trained), macs)


def named_tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return parameters and buffers by the modules' names, which need not be those of the state dict."""
    return [*network.named_parameters(), *network.named_buffers()]


def sliced(tensors: list[tuple[str, Tensor]], groups: Groups, keep: Mask) -> dict[str, Tensor]:
    """Return tensors without the channels that a mask leaves out."""
    found = {name: tensor.detach() for name, tensor in tensors}
    for (name, axis), labels in groups.axes.items():
        kept = torch.from_numpy(np.flatnonzero(keep[labels])).to(found[name].device)
        found[name] = found[name].index_select(axis, kept)
    return found


def _grouped(axes: Mapping[tuple[str, int], Labels], align: int, transposed: frozenset[str]) -> list[Group]:
    """Return the groups, in the order in which the network computes them."""
    where: dict[int, list[tuple[tuple[str, int], int]]] = {}
    for key, labels in axes.items():
        for label, count in zip(
            *(item.tolist() for item in np.unique(labels, return_counts=True)), strict=True
        ):
            where.setdefault(label, []).append((key, count))
    where.pop(FIXED, None)
    together: dict[tuple[tuple[tuple[str, int], int], ...], list[int]] = {}
    for label in sorted(where):
        together.setdefault(tuple(where[label]), []).append(label)
    groups = []
    for members, alike in together.items():
        # A grouped convolution's inputs are counted within one of its groups, a flattened map's by position.
        each = min(count for (name, axis), count in members if axis == (name in transposed))
        step = align // math.gcd(align, each)
        counts = (*range(step, len(alike), step), len(alike))
        if len(counts) > 1:
            groups.append(Group(np.array(alike), each, counts))
    return groups
