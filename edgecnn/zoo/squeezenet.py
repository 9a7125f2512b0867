"""SqueezeNet (Iandola et al. 2016): 1.0, and the authors' later 1.1 with 2.4 times fewer operations.

State-dict keys: torchvision's `squeezenet1_0` and `squeezenet1_1`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.zoo.width import scale


class Fire(nn.Module):
    """A 1x1 squeeze layer, then 1x1 and 3x3 expand layers side by side (figure 1 of the paper)."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, 2 * expanded, H, W)."""
        x = self.act(self.squeeze(x))
        return torch.cat([self.act(self.expand1x1(x)), self.act(self.expand3x3(x))], 1)


#: (squeeze, expand) of fire2 to fire9: table 1 of the paper.
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


class SqueezeNet(nn.Module):
    """A convolution, eight fire modules and a convolution that is the classifier; no linear layer.

    `stem` is (channels, kernel) of the first layer, `pools` the indices of the fire modules that a
    pooling stands before.
    """

    def __init__(
        self,
        *,
        stem: tuple[int, int],
        pools: tuple[int, ...],
        alpha: float,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        wanted, kernel = stem
        channels = scale(wanted, alpha)
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, kernel, 2), nn.ReLU()]
        for index, (squeezed, expanded) in enumerate(FIRES):
            if index in pools:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            expand = scale(expanded, alpha)
            layers.append(Fire(channels, scale(squeezed, alpha), expand))
            channels = 2 * expand
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(channels, num_classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes), none of them negative: they come after a ReLU."""
        return torch.flatten(self.classifier(self.features(x)), 1)


def squeezenet1_0(*, alpha: float, num_classes: int, in_channels: int) -> SqueezeNet:
    """Build SqueezeNet 1.0 of the paper: 1,248,424 parameters at alpha 1."""
    return SqueezeNet(
        stem=(96, 7), pools=(0, 3, 7), alpha=alpha, num_classes=num_classes, in_channels=in_channels
    )


def squeezenet1_1(*, alpha: float, num_classes: int, in_channels: int) -> SqueezeNet:
    """Build SqueezeNet 1.1: 1,235,496 parameters at alpha 1; pooling comes earlier than in 1.0."""
    return SqueezeNet(
        stem=(64, 3), pools=(0, 2, 4), alpha=alpha, num_classes=num_classes, in_channels=in_channels
    )
