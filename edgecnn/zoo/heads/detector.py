"""What detectors share: raw outputs for every anchor of every map, flattened in one order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

#: By the name of a layer, or the beginning of several: the mean of each of its columns, and their deviation.
Typical = Mapping[str, tuple[tuple[float, ...], float]]

#: Patterns, and what they become: from other libraries' names of the tensors to ours.
OtherNames = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]

#: Share of positives that scores begin with (Lin et al. 2017, arXiv:1708.02002, section 4.1).
PRIOR = 0.01


def flattened(outputs: Sequence[Tensor], columns: int) -> Tensor:
    """Return maps of (N, anchors * columns, H, W) as (N, all anchors, columns).

    Anchors go row by row through each map, those of one cell one after the other.
    """
    rows = [item.permute(0, 2, 3, 1).reshape(item.shape[0], -1, columns) for item in outputs]
    return torch.cat(rows, 1)


def draw_small(head: nn.Module, generator: torch.Generator, deviation: float = 0.01) -> None:
    """Draw the weights of a head's convolutions so small that it begins without an opinion."""
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, deviation, generator=generator)


class Detector(nn.Module):
    """A backbone, a neck that gives the maps that are read, and a head that reads them."""

    #: Patterns and what they become, in this order: from other libraries' names of the tensors to ours.
    OTHER_NAMES: OtherNames = ()

    def __init__(self, backbone: nn.Module, neck: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head

    def maps(self, x: Tensor) -> Sequence[Tensor]:
        """Map (N, C, H, W) to the maps that the head reads, finest first."""
        found: Sequence[Tensor] = self.neck(self.backbone(x))
        return found

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map (N, C, H, W) to raw outputs by name, (N, anchors, columns) each."""
        outputs: dict[str, Tensor] = self.head(self.maps(x))
        return outputs

    @property
    def typical(self) -> Typical:
        """What the layers that predict give in a trained network, about."""
        of_head: Typical = self.head.typical  # type: ignore[assignment]
        return {f"head.{name}": values for name, values in of_head.items()}

    @property
    def predictors(self) -> tuple[str, ...]:
        """What the names of the tensors begin with that another number of classes changes."""
        return tuple(self.typical)

    def reset_weights(self, generator: torch.Generator) -> None:
        """Draw the head's weights as its paper says, after `initialize` drew all."""
        reset = getattr(self.head, "reset_weights", None)
        if reset is not None:
            reset(generator)
