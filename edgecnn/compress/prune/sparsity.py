"""2:4 sparsity: two of four neighbouring weights are zero, which some GPUs multiply at twice the rate.

Mishra et al. 2021, Accelerating Sparse Deep Neural Networks, arXiv:2104.08378. TensorRT takes a layer for its
sparse kernels if, for each output channel and each position of the filter, every four consecutive input
channels have two zeros at least.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from edgecnn.errors import InvalidValueError, PruningError


def is_2_4(weight: Tensor) -> bool:
    """Return whether a weight, (outputs, inputs, ...), has two zeros in every four consecutive inputs."""
    return weight.shape[1] % 4 == 0 and bool(((_quads(weight) != 0).sum(2) <= 2).all())


def mask_2_4(weight: Tensor) -> Tensor:
    """Return the mask, of the weight's shape, that keeps the two largest of every four consecutive inputs.

    Of equal weights the first are kept. Raises InvalidValueError if the inputs are no multiple of four.
    """
    if weight.shape[1] % 4:
        raise InvalidValueError(f"{weight.shape[1]} input channels do not fall into fours")
    quads = _quads(weight.detach()).abs()
    order = quads.argsort(dim=2, descending=True, stable=True)
    mask = torch.zeros_like(quads, dtype=torch.bool).scatter_(2, order[:, :, :2], True)
    return mask.reshape(weight.shape)


def _quads(weight: Tensor) -> Tensor:
    """Return (outputs, inputs / 4, 4, positions of the filter)."""
    return weight.reshape(weight.shape[0], -1, 4, weight[0, 0].numel())


@dataclass(frozen=True)
class SparsityMask:
    """The masks of a network, to be put on again after each step of an optimizer."""

    #: Layer and mask of its weight.
    masks: tuple[tuple[nn.Conv2d | nn.Linear, Tensor], ...]
    #: Layer that stays dense: why.
    dense: dict[str, str]

    @classmethod
    def by_magnitude(cls, network: nn.Module) -> SparsityMask:
        """Choose the masks of all layers that can have one, by the size of their weights, and apply them.

        A weight that is 2:4 sparse keeps its zeros. Raises PruningError if no layer can be sparse.
        """
        masks: list[tuple[nn.Conv2d | nn.Linear, Tensor]] = []
        dense: dict[str, str] = {}
        for name, module in network.named_modules():
            if not isinstance(module, (nn.Conv2d, nn.Linear)):
                continue
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                dense[name] = "a grouped convolution"
            elif module.weight.shape[1] % 4:
                dense[name] = f"{module.weight.shape[1]} input channels do not fall into fours"
            else:
                masks.append((module, mask_2_4(module.weight)))
        if not masks:
            raise PruningError("no layer of this network can be 2:4 sparse: none has fours of input channels")
        found = cls(tuple(masks), dense)
        found.apply()
        return found

    @torch.no_grad()
    def apply(self) -> None:
        """Set the masked weights to zero. Call it after each step of the optimizer, which moves them.

        Folding a batch normalization afterwards multiplies whole output channels, and so keeps every zero.
        """
        for module, mask in self.masks:
            module.weight.mul_(mask.to(module.weight.device))

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Apply the masks after each step of whatever optimizer runs, and once at the end."""
        handle = register_optimizer_step_post_hook(lambda *_: self.apply())
        try:
            yield
        finally:
            handle.remove()
            self.apply()

    @property
    def share(self) -> float:
        """Share of the masked layers' weights that is zero."""
        weights = sum(mask.numel() for _, mask in self.masks)
        return sum(int((module.weight == 0).sum()) for module, _ in self.masks) / weights
