"""LeNet-5 (LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.zoo.width import scale


class LeNet5(nn.Module):
    """Convolution, pooling, convolution, pooling, three linear layers; tanh; (N, C, 32, 32) in.

    C3 reads all six maps of S2 instead of the paper's partial table, and pooling is the plain average.
    """

    def __init__(self, *, alpha: float, num_classes: int, in_channels: int, resolution: int) -> None:
        super().__init__()
        # The paper's layers are narrower than 8 channels: rounding to 8 would widen them.
        c1, c3, f5, f6 = (scale(channels, alpha, divisor=1) for channels in (6, 16, 120, 84))
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, c1, 5), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(c1, c3, 5), nn.Tanh(), nn.AvgPool2d(2),
        )  # fmt: skip
        side = ((resolution - 4) // 2 - 4) // 2
        self.classifier = nn.Sequential(
            nn.Linear(c3 * side * side, f5), nn.Tanh(),
            nn.Linear(f5, f6), nn.Tanh(),
            nn.Linear(f6, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, 32, 32) to logits (N, classes)."""
        return self.classifier(torch.flatten(self.features(x), 1))


def lenet5(*, alpha: float, num_classes: int, in_channels: int, resolution: int) -> LeNet5:
    """Build LeNet-5: 61,706 parameters at alpha 1 and a resolution of 32."""
    return LeNet5(alpha=alpha, num_classes=num_classes, in_channels=in_channels, resolution=resolution)
