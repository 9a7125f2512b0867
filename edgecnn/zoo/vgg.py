"""VGG (Simonyan, Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image Recognition").

State-dict keys: torchvision's `vgg11` to `vgg19_bn`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.zoo.blocks import AdaptivePool
from edgecnn.zoo.width import scale

#: Width of each stage, and table 1 of the paper (columns A, B, D, E): 3x3 convolutions per stage.
WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """Five stages of 3x3 convolutions, each halved by pooling, and three linear layers.

    With batch normalization, which is younger than the paper, every convolution is followed by one.
    """

    def __init__(
        self, *, depth: int, batch_norm: bool, alpha: float, num_classes: int, in_channels: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for wanted, convolutions in zip(WIDTHS, DEPTHS[depth], strict=True):
            outputs = scale(wanted, alpha)
            for _ in range(convolutions):
                layers.append(nn.Conv2d(channels, outputs, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(outputs))
                layers.append(nn.ReLU())
                channels = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        # The side of the maps at 224 pixels: other resolutions keep the shape of the linear layers.
        self.avgpool = AdaptivePool(7)
        hidden = scale(4096, alpha)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, hidden), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, classes)."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def vgg(*, depth: int, batch_norm: bool, alpha: float, num_classes: int, in_channels: int) -> VGG:
    """Build VGG with `depth` weight layers."""
    return VGG(
        depth=depth, batch_norm=batch_norm, alpha=alpha, num_classes=num_classes, in_channels=in_channels
    )
