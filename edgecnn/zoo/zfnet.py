"""ZFNet (Zeiler, Fergus 2013, "Visualizing and Understanding Convolutional Networks")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.image_size import Size, SizeLike
from edgecnn.zoo.alexnet import response_norm, three_linear
from edgecnn.zoo.width import scale


class ZFNet(nn.Module):
    """Figure 3 of the paper: AlexNet with a 7x7 first kernel at stride 2, and no groups.

    Feature maps have sides 110, 55, 26 and 13 for an input of 224, which takes a padding of one pixel
    in the first layer and pooling windows that may reach over the border. The constants of the contrast
    normalization are not printed: they are AlexNet's.
    """

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> None:
        super().__init__()
        c1, c2, c3, c4, c5, hidden = (scale(wanted, alpha) for wanted in (96, 256, 384, 384, 256, 4096))
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, c1, 7, 2, 1), nn.ReLU(), _pool(), response_norm(),
            nn.Conv2d(c1, c2, 5, 2), nn.ReLU(), _pool(), response_norm(),
            nn.Conv2d(c2, c3, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c3, c4, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c4, c5, 3, padding=1), nn.ReLU(), _pool(),
        )  # fmt: skip
        sides = [(side + 2 - 7) // 2 + 1 for side in Size.of(resolution)]
        sides = [(_pooled(side) - 5) // 2 + 1 for side in sides]
        sides = [_pooled(_pooled(side)) for side in sides]
        self.classifier = three_linear(c5, sides, hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, 224, 224) to logits (N, classes)."""
        return self.classifier(torch.flatten(self.features(x), 1))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _pooled(side: int) -> int:
    """Return the side of the output of `_pool`: every window starts within the input."""
    return -(-(side - 3) // 2) + 1


def zfnet(*, alpha: float, num_classes: int, in_channels: int, resolution: SizeLike) -> ZFNet:
    """Build ZFNet: 62,357,608 parameters at alpha 1 and a resolution of 224."""
    return ZFNet(alpha=alpha, num_classes=num_classes, in_channels=in_channels, resolution=resolution)
