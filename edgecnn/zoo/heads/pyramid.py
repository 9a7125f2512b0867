"""Feature pyramid network (Lin et al. 2016, arXiv:1612.03144), with RetinaNet's two further levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

#: From torchvision's names, old and new, to ours.
OTHER_NAMES = (
    (r"^backbone\.body\.", "backbone.network."),
    (r"^backbone\.fpn\.extra_blocks\.", "neck."),
    (r"^backbone\.fpn\.(inner|layer)_blocks\.(\d+)(\.0)?\.", r"neck.\1_blocks.\2."),
)


class FeaturePyramid(nn.Module):
    """Each map with what is known from the coarser ones, all of one width; two coarser ones at the end."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.layer_blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)
        self.p6 = nn.Conv2d(width, width, 3, 2, 1)
        self.p7 = nn.Conv2d(width, width, 3, 2, 1)
        self.relu = nn.ReLU()

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map (N, channels, H, W) each, finest first, to (N, width, H, W) each and two coarser ones."""
        inner = [layer(x) for layer, x in zip(self.inner_blocks, maps, strict=True)]
        for at in range(len(inner) - 2, -1, -1):
            inner[at] = inner[at] + F.interpolate(inner[at + 1], size=inner[at].shape[2:])
        found = [layer(x) for layer, x in zip(self.layer_blocks, inner, strict=True)]
        sixth = self.p6(found[-1])
        return [*found, sixth, self.p7(self.relu(sixth))]
